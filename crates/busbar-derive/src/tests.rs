//! What the derive makes of declarations, whole, against what it made when somebody last looked at
//! it: `BLESS=1 cargo test -p busbar-derive` writes it down anew.

use std::{env, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::parse_quote;

use super::expand;

/// Tokens a statement a line, so that a difference shows as one.
#[derive(Default)]
struct Printer {
    out: String,
    line: String,
    indent: usize,
}

impl Printer {
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.out += &format!("{:1$}{2}\n", "", self.indent * 2, self.line.trim_end());
            self.line.clear();
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for tree in tokens {
            match tree {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.line.push('{');
                    self.end_line();
                    self.indent += 1;
                    self.tokens(group.stream());
                    self.end_line();
                    self.indent -= 1;
                    self.line.push_str("} ");
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => {
                    self.line.push(';');
                    self.end_line();
                }
                tree => {
                    let text = tree.to_string();
                    self.line += &text;
                    let is_joint = matches!(&tree, TokenTree::Punct(punct)
                        if punct.spacing() == proc_macro2::Spacing::Joint || text == "#");
                    if !is_joint {
                        self.line.push(' ');
                    }
                }
            }
        }
    }
}

fn printed(tokens: TokenStream) -> String {
    let mut printer = Printer::default();
    printer.tokens(tokens);
    printer.end_line();
    printer.out
}

/// [T12] the expansions of a struct with every option and of an enum are those that were looked at
#[test]
fn expansions_are_as_recorded() {
    let declarations = [
        parse_quote! {
            #[busbar(name = "market.Order", alias = "market.Old", generate(capnp, json, ts))]
            #[busbar(archive_derive(PartialEq), crate = ::busbar_types)]
            pub struct Order {
                #[busbar(number)]
                pub id: u64,
                #[busbar(intern, alias = "ticker")]
                symbol: String,
                #[busbar(default = [-1, 2])]
                list: Vec<i8>,
                #[busbar(recursive)]
                next: Option<Box<Self>>,
            }
        },
        parse_quote! {
            #[busbar(name = "market.Side", crate = ::busbar_types)]
            enum Side {
                #[busbar(default_variant)]
                Unknown,
                Buy { price: f64 } = 4,
                Sell(u8, String),
            }
        },
    ];
    let expansions = declarations.map(|it| printed(expand(it).expect("it is well-formed")));
    let found = expansions.join("\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/expansions.txt");
    if env::var_os("BLESS").is_some() {
        fs::write(path, &found).expect("the recorded expansions");
    }
    let recorded = fs::read_to_string(path).expect("the recorded expansions");
    for (index, (line, recorded)) in found.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(line, recorded, "line {}", index + 1);
    }
    assert_eq!(found.lines().count(), recorded.lines().count());
}
