//! The promises of what workers say.

use proptest::prelude::*;

use super::*;

fn lines(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    let mut lines = Lines::default();
    for piece in pieces {
        lines.take(piece, |line, cut| all.push((line.to_vec(), cut)));
    }
    lines.end(|line, cut| all.push((line.to_vec(), cut)));
    all
}

#[test]
fn a_line_is_whole_however_it_comes() {
    let said = lines(&[b"one\ntw", b"o\r\n", b"\n", b"three"]);
    let texts: Vec<_> = said.iter().map(|(line, _)| line.as_slice()).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let mut lines = Lines::default();
    for _ in 0..1000 {
        lines.take(&[b'x'; 4096], |_, _| panic!("no line ended"));
    }
    assert!(lines.line.capacity() <= 2 * LINE_MAX);
    let mut said = Vec::new();
    lines.take(b"\nnext\n", |line, cut| said.push((line.len(), cut)));
    assert_eq!(said, [(LINE_MAX, true), (4, false)]);
}

#[test]
fn what_is_no_text_is_escaped() {
    let line = shown(b"caf\xc3\xa9 \xff\x1b[31m\ta\0");
    assert_eq!(line, "caf\u{e9} \\xff\\u{1b}[31m a\\u{0}");
}

#[test]
fn a_flood_is_counted_and_told_of_now_and_then() {
    let start = Instant::now();
    let mut rate = Rate::new(start);
    let written = (0..50_000).filter(|_| rate.allows(start)).count();
    assert_eq!(written, 10_000);
    assert_eq!(rate.to_tell(start), Some(40_000));
    assert!(!rate.allows(start));
    assert_eq!(rate.to_tell(start), None, "once in ten seconds");
    let later = start + Duration::from_secs(1);
    let written = (0..1000).filter(|_| rate.allows(later)).count();
    assert_eq!(written, 333);
    assert_eq!(rate.untold(), Some(1 + 667));
    assert_eq!(rate.untold(), None);
}

#[test]
fn the_last_line_is_the_last_that_says_something() {
    let tail = Tail::default();
    assert_eq!(tail.last_line(), None);
    tail.push(b"Traceback\nKeyError: 'x'\n  \n\n");
    assert_eq!(tail.last_line().as_deref(), Some("KeyError: 'x'"));
}

proptest! {
    #[test]
    fn what_is_kept_is_the_end_of_what_was_said(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..8),
    ) {
        let tail = Tail::default();
        for piece in &pieces {
            tail.push(piece);
        }
        let all = pieces.concat();
        prop_assert_eq!(tail.bytes(), &all[all.len().saturating_sub(KEPT_MAX)..]);
    }
}
