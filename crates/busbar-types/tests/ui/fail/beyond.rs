//! Defaults that fields cannot hold, names that schemas do not take, recursion that is none.

use busbar_types::Type;

#[derive(Type)]
struct A {
    #[busbar(default = 1e39)]
    a: f32,
}

#[derive(Type)]
struct B {
    #[busbar(default = 340282366920938463463374607431768211455)]
    a: f32,
}

#[derive(Type)]
struct C {
    #[busbar(default = 1e400)]
    a: f64,
}

#[derive(Type)]
#[busbar(name = "market.Ⓐ")]
struct D {
    a: u8,
}

#[derive(Type)]
struct E {
    a: u8,
}

#[derive(Type)]
struct F {
    #[busbar(recursive)]
    a: Vec<E>,
}

#[derive(Type)]
struct G {
    #[busbar(recursive)]
    a: Vec<u8>,
}

fn main() {}
