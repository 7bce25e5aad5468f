//! Any bytes from a FastCGI application are events or a fault, and the same however they are cut; and what its standard output says
//! is a head that can be passed on, or is refused.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portunus::handler::fastcgi::head::{Gather, Head, HeadFault};
use portunus::handler::fastcgi::record::{Event, RecordFault, Records};

/// What is said, with streams put together; how it ended; and the head.
type All = (
    Vec<u8>,
    Vec<u8>,
    Vec<(u32, u8)>,
    Option<RecordFault>,
    Result<Option<(Head, Vec<u8>)>, HeadFault>,
);

fn read(bytes: &[u8], piece: usize) -> All {
    let (mut out, mut err, mut ends, mut fault) = (Vec::new(), Vec::new(), Vec::new(), None);
    let (mut records, mut buffer) = (Records::default(), BytesMut::new());
    let (mut gather, mut head) = (Gather::default(), Ok(None::<(Head, Vec<u8>)>));
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match records.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Event::Stdout(piece))) => {
                    match &mut head {
                        Ok(None) => {
                            head = gather
                                .push(&piece)
                                .map(|whole| whole.map(|(head, rest)| (head, rest.to_vec())));
                        }
                        Ok(Some((_, rest))) => rest.extend_from_slice(&piece),
                        Err(_) => {}
                    }
                    out.extend_from_slice(&piece);
                }
                Ok(Some(Event::Stderr(piece))) => err.extend_from_slice(&piece),
                Ok(Some(Event::StdoutEnd)) => {}
                Ok(Some(Event::End {
                    application,
                    protocol,
                })) => ends.push((application, protocol)),
                Err(found) => {
                    fault = Some(found);
                    return (out, err, ends, fault, head);
                }
            }
        }
    }
    (out, err, ends, fault, head)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(piece).max(1)), whole);
    // Without records around it, too.
    if let Ok(Some((head, _))) = Gather::default().push(bytes) {
        assert!((200..600).contains(&head.status.as_u16()));
        assert!(!head.fields.contains_key("status"));
        for value in head.fields.values() {
            assert!(!value.as_bytes().contains(&b'\n') && !value.as_bytes().contains(&b'\r'));
        }
    }
});
