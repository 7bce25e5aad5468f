//! The documentation has every code.

use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/certificates.md");

const SOURCES: [&str; 6] = [
    include_str!("mod.rs"),
    include_str!("chain.rs"),
    include_str!("files.rs"),
    include_str!("leaf.rs"),
    include_str!("names.rs"),
    include_str!("../error.rs"),
];

/// What stands between these marks and looks like a code.
fn codes(text: &str, mark: char) -> BTreeSet<&str> {
    let is_code = |word: &&str| {
        (word.starts_with("certificate-") || word.starts_with("trust-"))
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    text.split(mark).filter(is_code).collect()
}

#[test]
fn every_code_is_documented_and_no_other() {
    let rows: String = (DOCUMENT.lines())
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next())
        .map(|cell| format!("`{cell}"))
        .collect();
    let sources = SOURCES.concat();
    assert_eq!(codes(&rows, '`'), codes(&sources, '"'));
}
