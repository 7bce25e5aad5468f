//! What workers say: whatever it is and in whatever pieces it comes, its lines are the same, each is bounded, and none can write
//! to a log but as text of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::worker::output::{Lines, shown};

fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(Vec<u8>, bool)> {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.take(piece, |line, cut| all.push((line.to_vec(), cut)));
    }
    lines.end(|line, cut| all.push((line.to_vec(), cut)));
    all
}

fuzz_target!(|said: &[u8]| {
    let whole = lines(std::iter::once(said));
    let size = said.first().map_or(1, |byte| usize::from(*byte) + 1);
    assert_eq!(lines(said.chunks(size)), whole);
    for (line, cut) in whole {
        assert!(line.len() <= 2048 && !line.is_empty());
        assert!(!cut || line.len() >= 2047, "only what is too long is cut");
        let text = shown(&line);
        assert!(!text.contains(char::is_control), "{text:?}");
    }
});
