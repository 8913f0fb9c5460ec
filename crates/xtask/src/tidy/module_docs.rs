//! Every source file begins by saying what it is for.

use super::Violation;
use crate::tree::{Language, Source, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.sources.iter().filter_map(check_source).collect()
}

fn check_source(source: &Source) -> Option<Violation> {
    let starts: &[&str] = match source.language {
        Language::Rust => &["//! "],
        Language::Script if source.path.ends_with("ts") => &["/**"],
        // Plain JavaScript is run, not documented: an ordinary comment does.
        Language::Script => &["/**", "// "],
    };
    let first = source.text.lines().find(|line| !line.starts_with("#!"))?;
    (!starts.iter().any(|start| first.starts_with(start))).then(|| {
        let message = format!("must begin with what it is for, `{}…`", starts[0]);
        Violation::new(&*source.path, 1, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(path: &str, language: Language, text: &str) -> bool {
        check_source(&Source { path: path.into(), language, text: text.into() }).is_none()
    }

    #[test]
    fn the_first_line_is_the_doc() {
        assert!(passes("a.rs", Language::Rust, "//! What.\n"));
        assert!(!passes("a.rs", Language::Rust, "// What.\n"));
        assert!(!passes("a.rs", Language::Rust, "use std::io;\n//! Late.\n"));
        assert!(passes("a.ts", Language::Script, "/**\n * What.\n */\n"));
        assert!(passes("a.ts", Language::Script, "#!/usr/bin/env node\n/** What. */\n"));
        assert!(!passes("a.ts", Language::Script, "import a from 'a';\n"));
        assert!(!passes("a.ts", Language::Script, "// What.\n"));
        assert!(passes("a.mjs", Language::Script, "// What.\n"));
    }
}
