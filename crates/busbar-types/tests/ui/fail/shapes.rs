//! Declarations and fields that no archive can hold.

use busbar_types::Type;

#[derive(Type)]
union A {
    a: u8,
}

#[derive(Type)]
struct B<T> {
    a: T,
}

#[derive(Type)]
enum C {}

#[derive(Type)]
struct D {
    a: &'static str,
}

#[derive(Type)]
struct E {
    a: fn(),
}

fn main() {}
