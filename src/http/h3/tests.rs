//! Frames are the same frames however their bytes are cut.

use proptest::prelude::*;

use super::frames::{Frame, Frames, HEADERS, Seen};

/// A number in as many bytes as `size` asks for, and no fewer than it needs.
fn number(value: u64, size: u8) -> Vec<u8> {
    let least = match value {
        0..0x40 => 0,
        0x40..0x4000 => 1,
        0x4000..0x4000_0000 => 2,
        _ => 3,
    };
    let size = size.max(least);
    let mut bytes = value.to_be_bytes()[8 - (1 << size)..].to_vec();
    bytes[0] |= size << 6;
    bytes
}

fn followed(mut frames: Frames, pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
    let mut seen = Vec::new();
    for piece in pieces {
        frames.follow(piece, |what| {
            if let Seen::Frame(frame) = what {
                seen.push(frame);
            }
        });
    }
    (seen, frames.may_end())
}

/// The fields of each HEADERS frame that is whole.
fn fields(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut frames, mut seen) = (Frames::of_request(), Vec::new());
    let mut block = Vec::new();
    for piece in pieces {
        frames.follow(piece, |what| {
            if let Seen::Fields { part, whole, .. } = what {
                block.extend_from_slice(part);
                if whole {
                    seen.push(std::mem::take(&mut block));
                }
            }
        });
    }
    seen
}

#[test]
fn what_follows_on_a_stream_without_frames_is_no_frame() {
    let seen = followed(Frames::of_one_way(), &[&[2, 0, 5, 1, 2]]);
    assert_eq!(seen, (vec![], true));
    let control = followed(Frames::of_one_way(), &[&[0, 4, 0]]);
    assert_eq!(control, (vec![Frame { kind: 4, length: 0 }], true));
}

#[test]
fn a_stream_ends_only_between_frames() {
    for cut in [1, 2, 3, 4] {
        let (_, may_end) = followed(Frames::of_request(), &[&[0, 3, 1, 2, 3][..cut]]);
        assert!(!may_end, "{cut}");
    }
    assert!(followed(Frames::of_request(), &[&[0, 3, 1, 2, 3]]).1);
    assert!(followed(Frames::of_request(), &[]).1);
}

proptest! {
    #[test]
    fn splitting_the_bytes_anywhere_shows_the_same_frames(
        frames in prop::collection::vec((prop_oneof![0_u64..3, 0_u64..1 << 40], 0_u8..4, 0_u8..4, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (kind, kind_size, length_size, payload) in &frames {
            bytes.extend(number(*kind, *kind_size));
            bytes.extend(number(payload.len() as u64, *length_size));
            bytes.extend(payload);
        }
        let (whole, may_end) = followed(Frames::of_request(), &[&bytes]);
        prop_assert!(may_end);
        let wanted: Vec<Frame> = frames
            .iter()
            .map(|(kind, _, _, payload)| Frame { kind: *kind, length: payload.len() as u64 })
            .collect();
        prop_assert_eq!(&whole, &wanted);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(followed(Frames::of_request(), &pieces).0, whole);
        let blocks: Vec<Vec<u8>> = frames
            .into_iter()
            .filter(|(kind, _, _, payload)| *kind == HEADERS && !payload.is_empty())
            .map(|(_, _, _, payload)| payload)
            .collect();
        prop_assert_eq!(fields(&pieces), blocks);
    }
}
