use proptest::prelude::*;

use super::*;

/// A record as an application writes it.
fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
    let mut out = header(kind, content.len() as u16).to_vec();
    out[6] = padding;
    out.extend_from_slice(content);
    out.extend(std::iter::repeat_n(0xa5, usize::from(padding)));
    out
}

/// Everything in `bytes`, read in pieces of these lengths in turn; pieces of one stream that follow each other are one.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Event>, Option<RecordFault>) {
    let mut records = Records::default();
    let (mut buffer, mut events) = (BytesMut::new(), Vec::<Event>::new());
    let mut rest = bytes;
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).clamp(1, rest.len()));
        rest = after;
        buffer.extend_from_slice(piece);
        loop {
            let event = match records.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(fault) => return (events, Some(fault)),
            };
            match (events.last_mut(), event) {
                (Some(Event::Stdout(before)), Event::Stdout(piece))
                | (Some(Event::Stderr(before)), Event::Stderr(piece)) => {
                    *before = [&before[..], &piece].concat().into();
                }
                (_, event) => events.push(event),
            }
        }
    }
    assert!(buffer.len() < HEADER_BYTES, "nothing is held back");
    (events, None)
}

#[derive(Clone, Debug)]
enum Said {
    Out(Vec<u8>),
    Err(Vec<u8>),
    End(u32, u8),
}

fn said() -> impl Strategy<Value = Said> {
    let text = || proptest::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        text().prop_map(Said::Out),
        text().prop_map(Said::Err),
        (any::<u32>(), any::<u8>()).prop_map(|(status, protocol)| Said::End(status, protocol)),
    ]
}

proptest! {
    #[test]
    fn records_are_understood_however_they_are_cut(
        all in proptest::collection::vec((said(), any::<u8>()), 0..12),
        cuts in proptest::collection::vec(1_usize..700, 1..8),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::<Event>::new());
        for (said, padding) in &all {
            match said {
                Said::Out(text) => {
                    bytes.extend(record(STDOUT, text, *padding));
                    match expected.last_mut() {
                        _ if text.is_empty() => expected.push(Event::StdoutEnd),
                        Some(Event::Stdout(before)) => *before = [&before[..], text].concat().into(),
                        _ => expected.push(Event::Stdout(text.clone().into())),
                    }
                }
                Said::Err(text) => {
                    bytes.extend(record(STDERR, text, *padding));
                    match expected.last_mut() {
                        _ if text.is_empty() => {}
                        Some(Event::Stderr(before)) => *before = [&before[..], text].concat().into(),
                        _ => expected.push(Event::Stderr(text.clone().into())),
                    }
                }
                Said::End(application, protocol) => {
                    let [a, b, c, d] = application.to_be_bytes();
                    bytes.extend(record(END_REQUEST, &[a, b, c, d, *protocol, 1, 2, 3], *padding));
                    expected.push(Event::End { application: *application, protocol: *protocol });
                }
            }
        }
        prop_assert_eq!(read(&bytes, &cuts), (expected, None));
    }

    #[test]
    fn any_bytes_are_events_or_a_fault_and_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(prop_oneof![Just(1_u8), Just(0_u8), Just(6_u8), any::<u8>()], 0..200),
        cuts in proptest::collection::vec(1_usize..20, 1..8),
    ) {
        prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[usize::MAX]));
    }

    #[test]
    fn pairs_are_read_as_they_were_written(pairs in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..300), proptest::collection::vec(any::<u8>(), 0..300)),
        0..10,
    )) {
        let mut out = Vec::new();
        for (name, value) in &pairs {
            write_pair(&mut out, name, value);
        }
        prop_assert_eq!(super::super::tests::pairs(&out), pairs);
    }
}

#[test]
fn what_is_no_record_to_a_client_is_told_apart() {
    for (bytes, fault) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            RecordFault::Version(b'H'),
        ),
        (vec![1, STDOUT, 0, 2, 0, 0, 0, 0], RecordFault::Request(2)),
        (vec![1, 10, 0, 1, 0, 0, 0, 0], RecordFault::Kind(10)),
        (record(END_REQUEST, &[0; 4], 0), RecordFault::EndLength(4)),
    ] {
        assert_eq!(read(&bytes, &[3]), (Vec::new(), Some(fault)));
    }
}

#[test]
fn long_parameters_go_in_records_that_are_full() {
    let mut out = Vec::new();
    write_params(&mut out, &vec![b'x'; CONTENT_BYTES_MAX + 5]);
    assert_eq!(out[..8], [1, PARAMS, 0, 1, 0xff, 0xff, 0, 0]);
    let second = &out[8 + CONTENT_BYTES_MAX..];
    assert_eq!(second[..8], [1, PARAMS, 0, 1, 0, 5, 0, 0]);
    assert_eq!(second[8 + 5..], [1, PARAMS, 0, 1, 0, 0, 0, 0]);
}
