//! The schema as text for the `capnp` tool. A plan goes in. Everything is named from the file's
//! scope on, with a dot in front where another name could shadow it; ordinals count in the order
//! of declaration, which is the order in which the plan was laid out.

use std::collections::BTreeSet;
use std::fmt::{Arguments, Write};

use super::plan::{Body, Choice, Elem, Member, Node, NodeId, Plan, Pointee, Slot};
use crate::schema::{Scalar, Schema};

pub(super) fn print(schema: &Schema, plan: &Plan) -> String {
    let root = schema.root();
    let nested = plan.nested().map(|node| node.name.as_str()).collect();
    let mut printer = Printer { plan, nested, out: String::new(), indent: 0, ordinal: 0 };
    printer.line(format_args!("# {} with schema hash {:016x}.", root.name, root.hash));
    printer.line(format_args!("# Made from its definition in Rust: changes belong there."));
    printer.line(format_args!("@0x{:016x};", plan.file_id));
    for node in plan.top_level() {
        printer.out.push('\n');
        printer.node(node);
    }
    printer.out
}

struct Printer<'a> {
    plan: &'a Plan,
    /// Names that are not of the file's scope.
    nested: BTreeSet<&'a str>,
    out: String,
    indent: usize,
    ordinal: u32,
}

impl<'a> Printer<'a> {
    fn node(&mut self, node: &Node) {
        if let Body::Enumeration(enumeration) = &node.body {
            self.open(format_args!("enum {} @0x{:016x}", node.name, node.id));
            for (number, name) in enumeration.names.iter().enumerate() {
                self.line(format_args!("{name} @{number};"));
            }
            return self.close();
        }
        self.open(format_args!("struct {} @0x{:016x}", node.name, node.id));
        self.ordinal = 0;
        match &node.body {
            Body::Record(members) => members.iter().for_each(|member| self.member(member)),
            Body::Choice(choice) => self.choice(choice),
            Body::Enumeration(_) => {}
        }
        for &nested in &node.nested {
            self.node(self.plan.node(nested));
        }
        self.close();
    }

    fn choice(&mut self, choice: &Choice) {
        // A union needs two members. With one variant its group is all there is, and becomes a
        // member of a union when a second variant is added.
        if choice.tag.is_some() {
            self.open(format_args!("union"));
        }
        for arm in &choice.arms {
            if arm.members.is_empty() {
                self.field(&arm.name, "Void");
                continue;
            }
            self.open(format_args!("{} :group", arm.name));
            arm.members.iter().for_each(|member| self.member(member));
            self.close();
        }
        if choice.tag.is_some() {
            self.close();
        }
    }

    fn member(&mut self, member: &Member) {
        self.slot(&member.name, &member.slot);
    }

    fn slot(&mut self, name: &str, slot: &Slot) {
        match slot {
            Slot::Void => self.field(name, "Void"),
            Slot::Data { scalar, .. } => self.field(name, word(*scalar)),
            Slot::Enum { node, .. } => self.field(name, self.path(*node)),
            Slot::Pointer { to, .. } => self.field(name, &self.pointee(to)),
            Slot::Wide { is_signed, .. } => {
                if !name.is_empty() {
                    self.open(format_args!("{name} :group"));
                }
                self.field("low", "UInt64");
                self.field("high", if *is_signed { "Int64" } else { "UInt64" });
                if !name.is_empty() {
                    self.close();
                }
            }
            Slot::Option { some, .. } => {
                match name {
                    "" => self.open(format_args!("union")),
                    name => self.open(format_args!("{name} :union")),
                }
                self.field("none", "Void");
                self.slot("some", some);
                self.close();
            }
        }
    }

    fn pointee(&self, pointee: &Pointee) -> String {
        let of = |elem: &str| format!("List({elem})");
        match pointee {
            Pointee::Text => String::from("Text"),
            Pointee::Data => String::from("Data"),
            Pointee::Struct(node) => self.path(*node).to_owned(),
            Pointee::List(elem) => match &**elem {
                Elem::Void => of("Void"),
                Elem::Scalar(scalar) => of(word(*scalar)),
                Elem::Enum(node) | Elem::Struct(node) => of(self.path(*node)),
                Elem::Pointer(pointee) => of(&self.pointee(pointee)),
            },
        }
    }

    fn path(&self, node: NodeId) -> &'a str {
        let path = &self.plan.node(node).path;
        let bare = path.trim_start_matches('.');
        let first = bare.split('.').next().unwrap_or_default();
        if self.nested.contains(first) { path } else { bare }
    }

    fn field(&mut self, name: &str, type_text: &str) {
        let ordinal = self.ordinal;
        // `:.` would be read as one operator.
        let space = if type_text.starts_with('.') { " " } else { "" };
        self.line(format_args!("{name} @{ordinal} :{space}{type_text};"));
        self.ordinal += 1;
    }

    fn open(&mut self, head: Arguments<'_>) {
        self.line(format_args!("{head} {{"));
        self.indent += 1;
    }

    fn close(&mut self) {
        self.indent -= 1;
        self.line(format_args!("}}"));
    }

    fn line(&mut self, line: Arguments<'_>) {
        let indent = self.indent * 2;
        writeln!(self.out, "{:indent$}{line}", "")
            .expect("invariant: writing to a String cannot fail");
    }
}

fn word(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "Bool",
        Scalar::U8 => "UInt8",
        Scalar::U16 => "UInt16",
        Scalar::U32 | Scalar::Char => "UInt32",
        Scalar::U64 | Scalar::U128 => "UInt64",
        Scalar::I8 => "Int8",
        Scalar::I16 => "Int16",
        Scalar::I32 => "Int32",
        Scalar::I64 | Scalar::I128 => "Int64",
        Scalar::F32 => "Float32",
        Scalar::F64 => "Float64",
    }
}
