//! Whatever docs/requirements.md calls done is shown by a test that names it.
//!
//! A test names requirements in its title, in brackets: `/// [D07 D08] …` above a Rust `#[test]`,
//! `test('[D07] …'` in TypeScript, `"[D42] …"` in a benchmark.

use std::collections::BTreeMap;

use super::Violation;
use crate::tree::{Language, Source, Tree};

const PATH: &str = "docs/requirements.md";

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Requirement<'a> {
    id: &'a str,
    line: usize,
    is_done: bool,
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let text = tree.read(PATH);
    let requirements = requirements(&text);
    let mut cited: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for source in tree.sources.iter().filter(|source| may_hold_tests(&source.path)) {
        for (id, line) in citations(source) {
            cited.entry(id).or_insert((&source.path, line));
        }
    }
    judge(&requirements, &cited)
}

fn judge(
    requirements: &[Requirement<'_>],
    cited: &BTreeMap<&str, (&str, usize)>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    if requirements.is_empty() {
        violations.push(Violation::new(PATH, 1, "holds no requirement"));
    }
    for row in requirements.iter().filter(|row| row.is_done && !cited.contains_key(row.id)) {
        let message = format!("{} is called done, but no test title cites it", row.id);
        violations.push(Violation::new(PATH, row.line, message));
    }
    for (id, (path, line)) in cited {
        if !requirements.iter().any(|row| row.id == *id) {
            let message = format!("{id} is cited, but {PATH} has no such row");
            violations.push(Violation::new(*path, *line, message));
        }
    }
    violations
}

/// Rows look like `| D01 | capability | exactly | status |`.
fn requirements(text: &str) -> Vec<Requirement<'_>> {
    let rows = text.lines().enumerate().filter_map(|(index, line)| {
        let cells = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        let (id, rest) = cells.split_once('|')?;
        let status = rest.rsplit('|').next()?;
        Some(Requirement { id: id.trim(), line: index + 1, is_done: status.trim() == "done" })
    });
    rows.filter(|row| is_id(row.id)).collect()
}

fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 3 && bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit)
}

fn may_hold_tests(path: &str) -> bool {
    ["__test__/", "benches/", "crates/", "examples/", "scripts/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// The ids in the titles of a file's tests, with their lines.
fn citations(source: &Source) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let title = match source.language {
            Language::Rust if source.path.starts_with("benches/") => quoted(line),
            Language::Rust => rust_title(&lines[index..]),
            Language::Script => quoted(line),
        };
        for id in title.into_iter().flat_map(bracketed) {
            found.push((id, index + 1));
        }
    }
    found
}

/// The text of a doc comment that documents a test.
fn rust_title<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let doc = lines[0].trim().strip_prefix("/// ")?;
    let attributes = lines[1..].iter().map(|line| line.trim());
    let mut attributes = attributes
        .skip_while(|line| line.starts_with("///"))
        .take_while(|line| line.starts_with("#["));
    attributes.any(|line| line == "#[test]" || line.contains("::test")).then_some(doc)
}

/// What follows the first quotation mark of a line that calls something or names a case.
fn quoted(line: &str) -> Option<&str> {
    let code = line.trim_start();
    if code.starts_with("//") || code.starts_with('*') {
        return None;
    }
    line.find(['\'', '"', '`']).map(|start| &line[start + 1..])
}

/// The ids of a title that starts with `[D07 D08]`; none if anything else is in the brackets.
fn bracketed(title: &str) -> Vec<&str> {
    let inside = title.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(ids, _)| ids);
    let ids: Vec<&str> = inside.unwrap_or_default().split_whitespace().collect();
    if ids.iter().all(|id| is_id(id)) { ids } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(path: &str, language: Language, text: &str) -> Vec<(String, usize)> {
        let source = Source { path: path.into(), language, text: text.into() };
        citations(&source).into_iter().map(|(id, line)| (id.to_owned(), line)).collect()
    }

    #[test]
    fn the_table_is_read_with_its_status() {
        let text = "# Head\n\n| id | what | status |\n|---|---|---|\n| D01 | a | done |\n\
                    | D02 | b: not done | not yet |\n";
        assert_eq!(
            requirements(text),
            [
                Requirement { id: "D01", line: 5, is_done: true },
                Requirement { id: "D02", line: 6, is_done: false },
            ]
        );
    }

    #[test]
    fn rust_titles_stand_above_a_test() {
        let text = "/// [D07 D08] parses\n/// and more\n#[test]\nfn a() {}\n\
                    /// [D09] no test\nfn b() {}\n\
                    /// [D10] async\n#[tokio::test]\nasync fn c() {}\n// \"[D11]\"\n";
        let expected = [("D07", 1), ("D08", 1), ("D10", 7)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(cited("crates/a.rs", Language::Rust, text), expected);
    }

    #[test]
    fn typescript_titles_are_quoted() {
        let text = "// test('[D01] comment'\ntest('[D02 D03] one', (t) => {\n\
                    test.serial(`[D04] two`, run);\n  '[not ids] D05',\n  const a = ['D06'];\n";
        let expected = [("D02", 2), ("D03", 2), ("D04", 3)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(cited("__test__/a.spec.ts", Language::Script, text), expected);
    }

    #[test]
    fn done_without_a_test_and_a_test_without_a_row_are_violations() {
        let rows = [
            Requirement { id: "D01", line: 5, is_done: true },
            Requirement { id: "D02", line: 6, is_done: true },
            Requirement { id: "D03", line: 7, is_done: false },
        ];
        let cited = BTreeMap::from([("D01", ("a.rs", 1)), ("Z99", ("b.rs", 2))]);
        let found = judge(&rows, &cited);
        assert_eq!(
            found,
            [
                Violation::new(PATH, 6, "D02 is called done, but no test title cites it"),
                Violation::new("b.rs", 2, format!("Z99 is cited, but {PATH} has no such row")),
            ]
        );
        assert_eq!(judge(&[], &BTreeMap::new()).len(), 1, "an empty table proves nothing");
    }
}
