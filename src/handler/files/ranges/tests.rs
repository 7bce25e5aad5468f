use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange { start, end }
}

#[test]
fn a_field_asks_for_the_bytes_it_names() {
    use Ranges::{One, Several, Unsatisfiable};
    let table: &[(&str, u64, Option<Ranges>)] = &[
        ("bytes=0-0", 10, Some(One(range(0, 1)))),
        ("bytes=0-9", 10, Some(One(range(0, 10)))),
        ("bytes=2-", 10, Some(One(range(2, 10)))),
        ("bytes=-3", 10, Some(One(range(7, 10)))),
        ("bytes=-30", 10, Some(One(range(0, 10)))),
        ("bytes=5-500", 10, Some(One(range(5, 10)))),
        ("Bytes=007-08", 10, Some(One(range(7, 9)))),
        ("bytes= 1-2 ", 10, Some(One(range(1, 3)))),
        (
            "bytes=0-99999999999999999999999999",
            10,
            Some(One(range(0, 10))),
        ),
        (
            "bytes=-99999999999999999999999999",
            10,
            Some(One(range(0, 10))),
        ),
        ("bytes=99999999999999999999999999-", 10, Some(Unsatisfiable)),
        ("bytes=0-18446744073709551615", 10, Some(One(range(0, 10)))),
        ("bytes=10-", 10, Some(Unsatisfiable)),
        ("bytes=-0", 10, Some(Unsatisfiable)),
        ("bytes=0-0", 0, Some(Unsatisfiable)),
        ("bytes=-0", 0, Some(Unsatisfiable)),
        ("bytes=-5", 0, None),
        ("bytes=0-1,20-30", 10, Some(One(range(0, 2)))),
        (
            "bytes=0-1, 4-5,\t8-",
            10,
            Some(Several(vec![range(0, 2), range(4, 6), range(8, 10)])),
        ),
        (
            "bytes=8-,0-1",
            10,
            Some(Several(vec![range(8, 10), range(0, 2)])),
        ),
        (
            "bytes=,0-1,,2-3,",
            10,
            Some(Several(vec![range(0, 2), range(2, 4)])),
        ),
        // Overlapping: the whole file instead.
        ("bytes=0-5,5-9", 10, None),
        ("bytes=0-,0-,0-", 10, None),
        ("bytes=0-1,-10", 10, None),
        // Malformed.
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=,,", 10, None),
        ("bytes=-", 10, None),
        ("bytes=--1", 10, None),
        ("bytes=5-4", 10, None),
        ("bytes=5", 10, None),
        ("bytes=0-1;2-3", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1- 2", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=0x1-0x2", 10, None),
        ("bytes=0-1,nonsense", 10, None),
        ("bytes =0-1", 10, None),
        ("lines=0-1", 10, None),
    ];
    for (field, size, expected) in table {
        assert_eq!(
            &parse(field.as_bytes(), *size),
            expected,
            "{field} of {size}"
        );
    }
}

#[test]
fn more_ranges_than_the_cap_are_as_none() {
    let ranges = |count: u64| {
        let list: Vec<_> = (0..count).map(|n| format!("{}-{}", n * 2, n * 2)).collect();
        parse(format!("bytes={}", list.join(",")).as_bytes(), 1_000)
    };
    let Some(Ranges::Several(kept)) = ranges(RANGES_MAX as u64) else {
        panic!("as many as the cap allows are served");
    };
    assert_eq!(kept.len(), RANGES_MAX);
    assert_eq!(ranges(RANGES_MAX as u64 + 1), None);
    assert_eq!(
        parse(format!("bytes=0-1{}", ",".repeat(60_000)).as_bytes(), 10),
        None
    );
}

#[test]
fn two_range_fields_are_as_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(requested(&headers, 10), Ranges::Whole);
    headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(requested(&headers, 10), Ranges::One(range(0, 2)));
    headers.append(RANGE, HeaderValue::from_static("bytes=4-5"));
    assert_eq!(requested(&headers, 10), Ranges::Whole);
}

/// One range of the reference: what was written, and which bytes of a file of `size` it means, byte for byte.
#[derive(Clone, Debug)]
enum Written {
    Within(u64, u64),
    From(u64),
    Last(u64),
}

impl Written {
    fn text(&self) -> String {
        match self {
            Written::Within(first, last) => format!("{first}-{last}"),
            Written::From(first) => format!("{first}-"),
            Written::Last(count) => format!("-{count}"),
        }
    }

    fn takes(&self, byte: u64, size: u64) -> bool {
        match *self {
            Written::Within(first, last) => first <= byte && byte <= last,
            Written::From(first) => first <= byte,
            Written::Last(count) => size - byte <= count,
        }
    }
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        (0..60u64, 0..60u64).prop_map(|(a, b)| Written::Within(a.min(b), a.max(b))),
        (0..60u64).prop_map(Written::From),
        (0..60u64).prop_map(Written::Last),
    ]
}

/// The bytes of each range, one set a range, by asking every byte of the file.
fn reference(list: &[Written], size: u64) -> Option<Vec<Vec<u64>>> {
    if list.len() > RANGES_MAX {
        return None;
    }
    if size == 0
        && list
            .iter()
            .any(|w| matches!(w, Written::Last(count) if *count > 0))
    {
        return None;
    }
    let sets: Vec<Vec<u64>> = list
        .iter()
        .map(|w| (0..size).filter(|byte| w.takes(*byte, size)).collect())
        .filter(|set: &Vec<u64>| !set.is_empty())
        .collect();
    let takers = |byte: u64| sets.iter().filter(|set| set.contains(&byte)).count();
    (0..size).all(|byte| takers(byte) <= 1).then_some(sets)
}

proptest! {
    #[test]
    fn well_formed_fields_mean_what_the_reference_says(
        list in proptest::collection::vec(written(), 1..20),
        size in 0..50u64,
    ) {
        let texts: Vec<_> = list.iter().map(Written::text).collect();
        let parsed = parse(format!("bytes={}", texts.join(", ")).as_bytes(), size);
        let kept = parsed.map(|ranges| match ranges {
            Ranges::Unsatisfiable => vec![],
            Ranges::One(one) => vec![one],
            Ranges::Several(several) => several,
            Ranges::Whole => unreachable!("parse says so by None"),
        });
        let sets = kept.map(|kept| -> Vec<Vec<u64>> {
            kept.iter().map(|range| (range.start..range.end).collect()).collect()
        });
        prop_assert_eq!(sets, reference(&list, size));
    }

    #[test]
    fn no_field_asks_for_a_byte_outside_the_file(
        field in "(bytes=)?[-0-9, ;a]{0,80}",
        size in prop_oneof![0..40u64, Just(u64::MAX), any::<u64>()],
    ) {
        let kept = match parse(field.as_bytes(), size) {
            Some(Ranges::One(one)) => vec![one],
            Some(Ranges::Several(several)) => several,
            _ => vec![],
        };
        prop_assert!(kept.len() <= RANGES_MAX);
        for range in kept {
            prop_assert!(range.start < range.end && range.end <= size);
        }
    }

    #[test]
    fn no_bytes_bring_the_parser_down(
        field in proptest::collection::vec(any::<u8>(), 0..60),
        size in any::<u64>(),
    ) {
        parse(&field, size);
        parse(&[b"bytes=", field.as_slice()].concat(), size);
    }
}
