//! Options that do not exist, each at its own place.

use busbar_types::Type;

#[derive(Type)]
#[busbar(nmae = "a.B")]
struct A {
    a: u8,
}

#[derive(Type)]
struct B {
    #[busbar(skip)]
    a: u8,
}

#[derive(Type)]
enum C {
    #[busbar(default)]
    A,
}

#[derive(Type)]
#[busbar(generate(xml))]
struct D;

#[derive(Type)]
#[busbar(name = "no-type name")]
struct E;

fn main() {}
