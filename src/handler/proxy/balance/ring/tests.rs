use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<(String, u32)> {
    (0..count)
        .map(|index| (format!("http://10.0.0.{index}:80"), 1))
        .collect()
}

fn ring(upstreams: &[(String, u32)]) -> Ring {
    Ring::new(
        upstreams
            .iter()
            .map(|(name, weight)| (name.as_str(), *weight)),
    )
}

fn owner(ring: &Ring, key: u64, open: impl Fn(usize) -> bool) -> usize {
    ring.find(key, open).expect("one is open")
}

#[test]
fn keys_spread_as_weights_say() {
    let mut upstreams = names(5);
    upstreams[0].1 = 3;
    let ring = ring(&upstreams);
    let mut counts = [0_u32; 5];
    for key in 0_u64..70_000 {
        counts[owner(&ring, hash(&key.to_le_bytes()), |_| true)] += 1;
    }
    for (index, count) in counts.into_iter().enumerate() {
        let share = if index == 0 { 30_000 } else { 10_000 };
        assert!(count.abs_diff(share) < share / 4, "{counts:?}");
    }
}

#[test]
fn nobody_is_found_where_nobody_is_open() {
    assert_eq!(ring(&names(3)).find(7, |_| false), None);
    assert_eq!(ring(&[]).find(7, |_| true), None);
    let drained = [("a".to_owned(), 0), ("b".to_owned(), 1)];
    assert_eq!(ring(&drained).find(7, |_| true), Some(1));
}

#[test]
fn the_same_key_finds_the_same_upstream_in_every_version() {
    let ring = ring(&names(4));
    let found: Vec<_> = (0_u64..12)
        .map(|key| owner(&ring, hash(&key.to_le_bytes()), |_| true))
        .collect();
    assert_eq!(found, [3, 0, 0, 1, 3, 2, 0, 3, 1, 0, 3, 1]);
}

proptest! {
    /// Only the keys of whoever goes find another upstream, and they come back with him; in whatever order they are named.
    #[test]
    fn only_the_keys_of_the_one_that_goes_move(
        count in 2_usize..12,
        gone in 0_usize..12,
        keys in proptest::collection::vec(any::<u64>(), 1..200),
    ) {
        let gone = gone % count;
        let upstreams = names(count);
        let whole = ring(&upstreams);
        let mut left = upstreams.clone();
        left.remove(gone);
        left.reverse();
        let without = ring(&left);
        let mut heirs: HashMap<usize, u32> = HashMap::new();
        for key in keys {
            let before = owner(&whole, key, |_| true);
            let ejected = owner(&whole, key, |index| index != gone);
            let removed = &left[owner(&without, key, |_| true)].0;
            prop_assert_eq!(&upstreams[ejected].0, removed);
            if before != gone {
                prop_assert_eq!(before, ejected);
            } else {
                *heirs.entry(ejected).or_default() += 1;
            }
        }
        prop_assert!(!heirs.contains_key(&gone));
    }
}
