//! Options that contradict their field.

use busbar_types::Type;

#[derive(Type)]
struct A {
    #[busbar(default = 256)]
    a: u8,
}

#[derive(Type)]
struct B {
    #[busbar(number)]
    a: u32,
}

#[derive(Type)]
struct C {
    #[busbar(intern)]
    a: u32,
}

#[derive(Type)]
struct D {
    #[busbar(number, bigint)]
    a: u64,
}

#[derive(Type)]
enum E {
    #[busbar(default_variant)]
    A(u8),
}

#[derive(Type)]
struct F {
    #[busbar(default = 1 + 1)]
    a: u8,
}

fn main() {}
