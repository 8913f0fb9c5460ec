//! Functions fit on a screen, in both languages.
//!
//! Told by layout, not by grammar: a function starts on a line that declares one and ends at the
//! next line of the same indentation that starts with `}`. Formatted code has no other shape.

use super::Violation;
use super::sizes::{is_code, without_tests};
use crate::tree::{Language, Source, Tree};

const FUNCTION_LINES_MAX: usize = 70;

/// Words that may stand before `fn`.
const RUST_QUALIFIERS: &[&str] = &["pub", "const", "async", "unsafe", "extern", "\"C\""];

/// Words that open a block in TypeScript without declaring a function.
const SCRIPT_BLOCKS: &[&str] =
    &["if", "for", "while", "switch", "catch", "else", "do", "try", "return", "class", "interface"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.sources.iter().filter(|source| !source.is_test()).flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = without_tests(source).lines().collect();
    let mut violations = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        if !declares_function(line, source.language) {
            continue;
        }
        let body = body_lines(&lines[start..]);
        if body > FUNCTION_LINES_MAX {
            let message = format!("function of {body} lines, at most {FUNCTION_LINES_MAX}");
            violations.push(Violation::new(&*source.path, start + 1, message));
        }
    }
    violations
}

/// Lines of code between a function's first line and the brace that ends it.
fn body_lines(lines: &[&str]) -> usize {
    let indentation = indentation(lines[0]);
    let ends = |line: &&str| {
        let code = line.trim();
        let is_end = code.starts_with('}') || (code.starts_with(')') && code.ends_with(';'));
        is_end && self::indentation(line) == indentation
    };
    if lines[0].ends_with([';', '}']) {
        return 0;
    }
    let end = lines.iter().skip(1).position(ends).unwrap_or(lines.len() - 1);
    lines[1..=end].iter().filter(|line| is_code(line)).count()
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn declares_function(line: &str, language: Language) -> bool {
    match language {
        Language::Rust => declares_rust_function(line),
        Language::Script => declares_script_function(line),
    }
}

fn declares_rust_function(line: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| RUST_QUALIFIERS.contains(word) || word.starts_with("pub("));
    words.next() == Some("fn")
}

fn declares_script_function(line: &str) -> bool {
    let code = line.trim();
    if !is_code(line) {
        return false;
    }
    let first: &str = code.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let opens = code.ends_with(") {") || code.ends_with("=> {") || code.ends_with('(');
    let is_typed_method = code.ends_with('{') && code.contains("): ");
    let is_named = code.contains("function ") || code.contains("=> {") || {
        let head = code.split('(').next().unwrap_or_default();
        code.contains('(') && !head.contains(['=', '.', '"', '\'', '`'])
    };
    (opens || is_typed_method) && is_named && !SCRIPT_BLOCKS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(language: Language, text: String) -> Vec<usize> {
        let source = Source { path: "src/a".into(), language, text };
        check_source(&source).into_iter().map(|violation| violation.line).collect()
    }

    fn with_body(head: &str, body_lines: usize) -> String {
        format!("{head}\n{}}}\n", "    step();\n".repeat(body_lines))
    }

    #[test]
    fn declarations_are_recognised() {
        for line in ["fn a() {", "    pub(crate) const fn b(", "pub unsafe extern \"C\" fn c() {"] {
            assert!(declares_rust_function(line), "{line}");
        }
        for line in ["let a = fn_name();", "// fn a() {", "impl Fn() for A {"] {
            assert!(!declares_rust_function(line), "{line}");
        }
        for line in [
            "export function listen(address: string): Promise<Listener> {",
            "export async function dial(",
            "  async close(options: CloseOptions = {}): Promise<void> {",
            "  get state(): PipeState {",
            "  const wake = (count: number) => {",
            "  constructor(port: Port) {",
        ] {
            assert!(declares_script_function(line), "{line}");
        }
        for line in ["  if (a) {", "  for (const a of b) {", "class A {", "  a.b();"] {
            assert!(!declares_script_function(line), "{line}");
        }
    }

    #[test]
    fn seventy_lines_fit_and_more_do_not() {
        for (language, head) in
            [(Language::Rust, "fn a() {"), (Language::Script, "export function a(): void {")]
        {
            assert_eq!(check_text(language, with_body(head, 70)), [0; 0]);
            assert_eq!(check_text(language, with_body(head, 71)), [1]);
        }
    }

    #[test]
    fn comments_are_free() {
        let text = format!("fn a() {{\n{}}}\n", "    // why\n".repeat(100));
        assert_eq!(check_text(Language::Rust, text), [0; 0]);
    }

    #[test]
    fn a_declaration_without_body_ends_at_its_semicolon() {
        let text = format!("fn a(\n    b: u8,\n) -> u8;\n{}}}\n", "    step();\n".repeat(90));
        assert_eq!(check_text(Language::Rust, text), [0; 0]);
    }

    #[test]
    fn a_signature_over_several_lines_is_followed_to_its_body() {
        let text = with_body("fn a(\n    b: u8,\n) -> u8 {", 75);
        assert_eq!(check_text(Language::Rust, text), [1]);
    }
}
