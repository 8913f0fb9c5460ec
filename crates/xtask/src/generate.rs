//! `cargo xtask generate`: the files that follow from the table of error codes.

use std::fmt::Write as _;
use std::{fs, io};

use busbar_proto::Code;

use crate::tree;

/// A file and what it must contain.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) path: &'static str,
    pub(crate) text: String,
}

/// Writes all generated files.
pub(crate) fn run() -> io::Result<bool> {
    for file in files() {
        fs::write(tree::root().join(file.path), file.text)?;
    }
    Ok(true)
}

/// All generated files.
pub(crate) fn files() -> [Generated; 2] {
    [
        Generated { path: "lib/codes.ts", text: typescript() },
        Generated { path: "docs/errors.md", text: markdown() },
    ]
}

fn typescript() -> String {
    let mut text = String::from(
        "/**
 * The table of error codes, as `err.code` and `err.retryable` show them.
 *
 * Generated from crates/busbar-proto/src/code.rs by `cargo xtask generate`.
 */

/** What is known about one error code. */
export interface CodeInfo {
  /** Its number on the wire and, negated, at the native edge. */
  readonly number: number;
  /** Whether the same call may succeed later without any change by the caller. */
  readonly retryable: boolean;
}

/**
 * Every error code.
 *
 * @example
 * ```ts
 * import { CODES } from 'busbar';
 *
 * const retryable = Object.entries(CODES).filter(([, info]) => info.retryable);
 * console.log(retryable.map(([code]) => code));
 * ```
 */
export const CODES = {
",
    );
    for code in Code::ALL {
        text.push_str(&comment(code.doc()));
        let (number, retryable) = (code.number(), code.is_retryable());
        let info = format_args!("{{ number: {number}, retryable: {retryable} }}");
        push(&mut text, format_args!("  {}: {info},\n", code.as_str()));
    }
    text.push_str(
        "} as const;

/** The `code` of a {@link BusbarError}: `ERR_…`, or `ABORT_ERR` as Node itself has it. */
export type ErrorCode = keyof typeof CODES;

/** The code with a given number. */
export const CODE_BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map(
  (Object.keys(CODES) as ErrorCode[]).map((code) => [CODES[code].number, code]),
);
",
    );
    text
}

fn markdown() -> String {
    let mut text = String::from(
        "# Error codes

Every error that Busbar throws, rejects with or emits is a `BusbarError` with one of these codes
as `err.code`. `err.retryable` says whether the same call may succeed later without any change by
the caller.

<!-- Generated from crates/busbar-proto/src/code.rs by `cargo xtask generate`. -->

| code | number | retryable | meaning |
|---|---|---|---|
",
    );
    for code in Code::ALL {
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        let (name, number, doc) = (code.as_str(), code.number(), code.doc().replace('|', "\\|"));
        push(&mut text, format_args!("| `{name}` | {number} | {retryable} | {doc} |\n"));
    }
    text
}

/// A doc comment, broken into lines of at most 100 columns.
fn comment(doc: &str) -> String {
    let mut text = String::from("  /**\n");
    let mut line = String::from("   *");
    for word in doc.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            text.push_str(&line);
            text.push('\n');
            line.replace_range("   *".len().., "");
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n   */\n"
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("invariant: writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D10] both generated tables hold each code with its own number and retry flag
    #[test]
    fn every_code_is_in_both_tables() {
        let [typescript, markdown] = files();
        for code in Code::ALL {
            let (name, number, retryable) = (code.as_str(), code.number(), code.is_retryable());
            let row = format!("  {name}: {{ number: {number}, retryable: {retryable} }},\n");
            assert_eq!(typescript.text.matches(&row).count(), 1, "{row}");
            let flag = if retryable { "yes" } else { "no" };
            let row = format!("| `{name}` | {number} | {flag} | ");
            assert_eq!(markdown.text.matches(&row).count(), 1, "{row}");
        }
    }

    #[test]
    fn comments_are_broken_at_words() {
        let doc = format!("{} end.", "word ".repeat(30).trim_end());
        let text = comment(&doc);
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        let words: Vec<_> = text.split_whitespace().filter(|word| !word.contains('*')).collect();
        assert_eq!(words.join(" "), doc);
    }

    #[test]
    fn no_doc_can_end_the_comment_it_stands_in() {
        assert!(Code::ALL.iter().all(|code| !code.doc().contains("*/")));
    }
}
