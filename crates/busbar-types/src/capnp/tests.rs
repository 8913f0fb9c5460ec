//! Schemas from a seed, held against what the `capnp` tool makes of their text.

mod random;
mod tool;

use std::collections::BTreeMap;

use self::random::Rng;
use self::tool::Tool;
use super::plan::{Body, Member, Node, Plan, Slot};
use super::*;
use crate::schema::Scalar;

/// What there is to know about the layout of a struct: its size, and where its fields and tags are.
type Facts = BTreeMap<u64, Vec<String>>;

/// Our layout, in the words of `capnp compile -ocapnp`.
fn facts_of(plan: &Plan) -> Facts {
    let nodes = plan.nodes().filter(|node| !matches!(node.body, Body::Enumeration(_)));
    nodes.map(|node| (node.id, struct_facts(node))).collect()
}

fn struct_facts(node: &Node) -> Vec<String> {
    let bytes = usize::from(node.size.data_words) * WORD;
    let mut facts = vec![format!("{bytes} bytes, {} ptrs", node.size.pointers)];
    match &node.body {
        Body::Record(members) => member_facts(members, "", &mut facts),
        Body::Choice(choice) => {
            facts.extend(choice.tag.map(|tag| span("tag bits ", tag, 16)));
            for (number, arm) in choice.arms.iter().enumerate() {
                let tag = match choice.tag {
                    Some(_) => format!("union tag = {number}"),
                    None => String::new(),
                };
                match (&arm.members[..], &*tag) {
                    ([], "") => facts.push(String::from("bits[0, 0)")),
                    ([], tag) => facts.push(format!("bits[0, 0), {tag}")),
                    (_, "") => {}
                    (_, tag) => facts.push(tag.to_owned()),
                }
                member_facts(&arm.members, "", &mut facts);
            }
        }
        Body::Enumeration(_) => unreachable!("left out"),
    }
    facts.sort();
    facts
}

fn member_facts(members: &[Member], tag: &str, facts: &mut Vec<String>) {
    members.iter().for_each(|member| slot_facts(&member.slot, tag, facts));
}

/// `tag` is what is said of members of a union.
fn slot_facts(slot: &Slot, tag: &str, facts: &mut Vec<String>) {
    match slot {
        Slot::Void => facts.push(format!("bits[0, 0){tag}")),
        Slot::Data { scalar, offset } => {
            let bits = if *scalar == Scalar::Bool { 1 } else { scalar.size_bytes() * 8 };
            facts.push(span("bits", *offset, bits) + tag);
        }
        Slot::Enum { offset, .. } => facts.push(span("bits", *offset, 16) + tag),
        Slot::Pointer { index, .. } => facts.push(format!("ptr[{index}]{tag}")),
        Slot::Wide { low, high, .. } => {
            facts.extend((!tag.is_empty()).then(|| tag[2..].to_owned()));
            facts.extend([low, high].map(|offset| span("bits", *offset, 64)));
        }
        Slot::Option { tag: at, some } => {
            facts.push(span("tag bits ", *at, 16));
            facts.push(String::from("bits[0, 0), union tag = 0"));
            slot_facts(some, ", union tag = 1", facts);
        }
    }
}

fn span(what: &str, offset: u32, bits: u32) -> String {
    format!("{what}[{}, {})", offset * bits, (offset + 1) * bits)
}

/// The layout in the comments of `capnp compile -ocapnp`.
fn facts_in(printed: &str) -> Facts {
    let mut facts = Facts::new();
    let mut structs: Vec<Option<u64>> = Vec::new();
    for line in printed.lines().map(str::trim) {
        let (code, comment) = line.split_once("  # ").unwrap_or((line, ""));
        if code == "}" {
            structs.pop();
            continue;
        }
        if code.ends_with('{') {
            let id = code.strip_prefix("struct ").map(|head| {
                let id = head.split_once("@0x").expect("an id").1.trim_end_matches(" {");
                u64::from_str_radix(id, 16).expect("an id")
            });
            // Groups and unions belong to the struct around them.
            structs.push(id.or_else(|| structs.last().copied().flatten()));
        }
        let Some(id) = structs.last().copied().flatten() else { continue };
        let found = facts.entry(id).or_default();
        if !comment.is_empty() {
            // How lists of such structs were once packed is not what this is about.
            found.push(comment.split(", packed as").next().unwrap_or_default().to_owned());
        }
    }
    facts.values_mut().for_each(|facts| facts.sort());
    facts
}

/// [T03] the layout of 4,000 random structs is what the schema compiler makes of their text
#[test]
fn layouts_are_those_of_the_compiler() {
    let mut fields = 0;
    for seed in 0..4 {
        let capnp = Capnp::new(&random::schema(&mut Rng(seed), 1000)).expect("a plan");
        let Some(tool) = Tool::new(&capnp.text()) else { return };
        let printed = tool.run(&["compile", "-ocapnp", "schema.capnp"], &[]);
        let theirs = facts_in(&String::from_utf8(printed).expect("UTF-8"));
        let ours = facts_of(&capnp.plan);
        assert!(ours.len() > 500, "{} structs", ours.len());
        for (id, facts) in &ours {
            assert_eq!(theirs.get(id), Some(facts), "seed {seed}, struct @0x{id:016x}");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
        fields += ours.values().map(|facts| facts.len() - 1).sum::<usize>();
    }
    assert!(fields > 20_000, "{fields} fields");
}
