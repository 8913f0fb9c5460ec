//! Integers whose size differs between machines.

use busbar_types::Type;

#[derive(Type)]
struct A {
    a: u8,
    b: usize,
}

#[derive(Type)]
enum B {
    A(Vec<Option<isize>>),
}

fn main() {}
