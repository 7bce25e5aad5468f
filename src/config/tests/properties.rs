//! Promises for every text there is.

use std::fmt::Write;

use proptest::prelude::*;

use super::super::values::{parse_duration, parse_size, show_duration, show_size};
use super::super::*;
use super::read;

const EXAMPLES: [&str; 4] = [
    include_str!("../../../config/bindings.toml"),
    include_str!("../../../config/many-sites.toml"),
    include_str!("../../../config/production.toml"),
    include_str!("../../../config/proxy.toml"),
];

/// What a mutation writes into an example.
const PIECES: [&str; 18] = [
    "",
    "\"",
    "'",
    "[",
    "]]",
    "{",
    "}",
    "=",
    "\n",
    "\r\n",
    "#",
    "\u{feff}",
    "ä",
    "0",
    "-1",
    "[[site.route]]",
    "= {}",
    "\"\"\"",
];

/// Nothing panics, a configuration is there exactly when there is no error, and every place is in the file.
fn holds_its_promises(text: &str) {
    let loaded = read(text);
    assert_eq!(loaded.config.is_some(), !loaded.has_errors());
    for found in &loaded.diagnostics {
        let line = loaded.source.line(found.line);
        assert!(found.line == 0 || line.is_some(), "{found:?}");
        assert!(found.line == 0 || found.column >= 1, "{found:?}");
    }
    assert_eq!(
        loaded.render(false).is_empty(),
        loaded.diagnostics.is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        holds_its_promises(&text);
    }

    #[test]
    fn any_text_of_tomls_own_signs_is_read_or_refused(text in "[\\[\\]{}=\"'#.,a-c0-2\n \\\\]{0,80}") {
        holds_its_promises(&text);
    }

    #[test]
    fn a_damaged_example_is_read_or_refused(
        example in 0..EXAMPLES.len(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut chars: Vec<char> = EXAMPLES[example].chars().collect();
        for (at, length, piece) in cuts {
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            chars.splice(start..end, PIECES[piece].chars());
            if chars.is_empty() {
                break;
            }
        }
        holds_its_promises(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn durations_and_sizes_are_shown_as_they_are_read(number in 0..u64::from(u32::MAX)) {
        let duration = std::time::Duration::from_millis(number);
        prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        let shown = show_size(number);
        prop_assert_eq!(parse_size(&shown).or_else(|| shown.parse().ok()), Some(number));
    }
}

#[test]
fn depth_is_bounded() {
    holds_its_promises(&format!("a = {}", "[".repeat(100_000)));
    holds_its_promises(&format!("a = {}", "{a=".repeat(100_000)));
    holds_its_promises(&format!("{}a = 1", "a.".repeat(100_000)));
    holds_its_promises(&format!("[{}a]", "a.".repeat(100_000)));
}

fn bindings(count: usize, hostname: impl Fn(usize) -> String) -> String {
    let mut text = format!("{}{}", super::SITE, super::POOL);
    for number in 0..count {
        writeln!(
            text,
            "[[binding]]\nhostname = \"{}\"\nsite = \"www\"",
            hostname(number)
        )
        .unwrap();
    }
    text
}

#[test]
fn ten_thousand_bindings_load() {
    let loaded = read(&bindings(10_000, |number| {
        format!("host-{number}.example.test")
    }));
    assert_eq!(loaded.render(false), "");
    assert_eq!(loaded.config.unwrap().bindings.len(), 10_000);
}

#[test]
fn ten_thousand_conflicts_are_reported_each() {
    let loaded = read(&bindings(10_001, |_| "www.test".to_owned()));
    assert_eq!(loaded.diagnostics.len(), 10_000);
    assert!(loaded.render(false).contains("two bindings take"));
}

#[test]
fn a_place_and_its_offset_are_one() {
    let source = Source::new("a.toml", "ä = 1\r\nb = \"ö\"\n");
    for (offset, _) in source.text().char_indices().filter(|(_, c)| *c != '\n') {
        assert_eq!(source.offset(source.place(offset)), Some(offset));
    }
    assert_eq!(source.offset(Place { line: 4, column: 1 }), None);
    assert_eq!(source.offset(Place { line: 0, column: 0 }), None);
}
