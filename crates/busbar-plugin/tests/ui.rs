//! What `#[plugin]` refuses, each at the token to blame.

/// [T23] mistakes in a plugin are told where they are
#[test]
fn mistakes_have_messages() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
