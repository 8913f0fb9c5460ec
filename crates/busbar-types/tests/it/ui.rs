//! What the compiler says: declarations that must pass, and errors at the token to blame.

/// [T06 T27] declarations that pass, and errors with their spans
#[test]
fn the_derive_says_what_is_wrong_where() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
