//! Frames are the same frames however their bytes are cut.

use proptest::prelude::*;

use super::frames::{Frame, Frames};

fn followed(pieces: &[&[u8]], skip: usize) -> Vec<Frame> {
    let (mut frames, mut seen) = (Frames::new(skip), Vec::new());
    for piece in pieces {
        frames.follow(piece, |frame| seen.push(frame));
    }
    seen
}

proptest! {
    #[test]
    fn splitting_the_bytes_anywhere_shows_the_same_frames(
        frames in prop::collection::vec((0_u8..12, any::<u8>(), 0_u32..100, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        skip in 0_usize..30,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = vec![0; skip];
        for (kind, flags, stream, payload) in &frames {
            bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
            bytes.extend([*kind, *flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(payload);
        }
        let whole = followed(&[&bytes], skip);
        prop_assert_eq!(whole.len(), frames.len());
        for (seen, (kind, flags, stream, payload)) in whole.iter().zip(&frames) {
            prop_assert_eq!((seen.kind, seen.flags, seen.stream, seen.length as usize), (*kind, *flags, *stream, payload.len()));
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(followed(&pieces, skip), whole);
    }
}
