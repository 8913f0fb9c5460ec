//! `Duration` has an archived form, but no description.

use std::time::Duration;

use busbar_types::Type;

#[derive(Type)]
struct A {
    a: u8,
    b: Vec<Option<Duration>>,
}

fn main() {}
