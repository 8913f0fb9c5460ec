//! Files stay readable: bounded lines of code, bounded width, long tests in a file of their own.

use super::Violation;
use crate::tree::{Language, Source, Tree};

const FILE_LINES_MAX: usize = 600;
const INLINE_TEST_LINES_MAX: usize = 150;
const LINE_WIDTH_MAX: usize = 100;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.sources.iter().flat_map(check_source).collect()
}

/// The part of a file before its `#[cfg(test)] mod tests`.
pub(super) fn without_tests(source: &Source) -> &str {
    if source.language != Language::Rust {
        return &source.text;
    }
    let end = ["\n#[cfg(test)]\nmod ", "\n#[cfg(all(test", "\n#[cfg(all(loom, test"]
        .iter()
        .filter_map(|marker| source.text.find(marker))
        .min();
    end.map_or(&source.text, |end| &source.text[..end])
}

/// Whether a line holds code rather than nothing or a comment.
pub(super) fn is_code(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with("//") || line.starts_with("/*") || line.starts_with('*'))
}

fn check_source(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let width = line.chars().count();
        if width > LINE_WIDTH_MAX && !is_unbreakable(line) {
            let message = format!("{width} columns, at most {LINE_WIDTH_MAX}");
            violations.push(Violation::new(&*source.path, index + 1, message));
        }
    }
    if source.is_test() {
        return violations;
    }
    let code = without_tests(source);
    let count = |text: &str| text.lines().filter(|line| is_code(line)).count();
    let lines = count(code);
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines of code, at most {FILE_LINES_MAX}");
        violations.push(Violation::new(&*source.path, 1, message));
    }
    let test_lines = count(&source.text[code.len()..]);
    if test_lines > INLINE_TEST_LINES_MAX {
        let line = code.lines().count() + 2;
        let message = format!("{test_lines} lines of tests: move them to a sibling tests.rs");
        violations.push(Violation::new(&*source.path, line, message));
    }
    violations
}

/// A lone string, a row of a table or an address cannot be broken without hurting its readers.
fn is_unbreakable(line: &str) -> bool {
    let line = line.trim();
    let is_row = ["//! |", "/// |", "* |"].iter().any(|start| line.starts_with(start));
    is_row || line.starts_with(['"', '\'', '`']) || line.contains("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, language: Language, text: String) -> Vec<(usize, String)> {
        let violations = check_source(&Source { path: path.into(), language, text });
        violations.into_iter().map(|violation| (violation.line, violation.message)).collect()
    }

    #[test]
    fn wide_lines_are_named() {
        let text = format!("//! Doc.\nlet a = {};\n", "1 + ".repeat(30));
        let found = check_text("a.rs", Language::Rust, text);
        assert_eq!(found, [(2, "129 columns, at most 100".to_owned())]);
    }

    #[test]
    fn a_lone_string_may_be_wide() {
        let text = format!("    \"{}\",\n", "x".repeat(200));
        assert_eq!(check_text("a.rs", Language::Rust, text), []);
    }

    #[test]
    fn comments_and_tests_do_not_count_as_code() {
        let mut text = "// comment\n".repeat(700) + &"code();\n".repeat(600);
        assert_eq!(check_text("lib/a.ts", Language::Script, text.clone()), []);
        text.push_str("more();\n");
        let message = "601 lines of code, at most 600".to_owned();
        assert_eq!(check_text("lib/a.ts", Language::Script, text.clone()), [(1, message)]);
        assert_eq!(check_text("__test__/a.spec.ts", Language::Script, text), []);
    }

    #[test]
    fn long_inline_tests_move_out() {
        let tests = "    check();\n".repeat(200);
        let text = format!("fn a() {{}}\n\n#[cfg(test)]\nmod tests {{\n{tests}}}\n");
        let message = "203 lines of tests: move them to a sibling tests.rs".to_owned();
        assert_eq!(check_text("a.rs", Language::Rust, text), [(3, message)]);
    }
}
