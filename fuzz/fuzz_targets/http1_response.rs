//! Whatever an upstream says, a head of it that is passed on says one thing alone of where its content ends, and nothing that is
//! between us and the upstream; chunks are the same in whatever pieces they come.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use portunus::chunked::{Chunked, Part};
use portunus::handler::proxy::response::{Framing, read};

fuzz_target!(|bytes: &[u8]| {
    let begun = [b"HTTP/1.1 200 OK\r\n", bytes].concat();
    for said in [bytes, &begun] {
        for asked in [Method::GET, Method::HEAD] {
            look(said, &asked);
        }
    }
    let whole = data(bytes, bytes.len().max(1));
    for step in [1, 7] {
        assert_eq!(whole, data(bytes, step), "steps of {step}");
    }
});

fn look(said: &[u8], asked: &Method) {
    let said = Bytes::copy_from_slice(said);
    let Ok(Some(head)) = read(&said, asked, &mut HeaderMap::new()) else {
        return;
    };
    let end = said.len() - head.rest.len();
    assert_eq!(said[end..], head.rest);
    assert!(said[..end].ends_with(b"\n"));
    assert!(!head.headers.contains_key("transfer-encoding"));
    let lengths = head.headers.get_all("content-length").iter().count();
    assert!(lengths <= 1);
    assert!(
        lengths == 0 || head.framing == Framing::Length(0),
        "{head:?}"
    );
    assert!(!head.keeps || head.framing != Framing::UntilClose);
    // A head that ends earlier is none.
    assert!(matches!(
        read(&said.slice(..end - 1), asked, &mut HeaderMap::new()),
        Ok(None)
    ));
}

/// The data of a chunked body that is read so many bytes at a time: none where it breaks.
fn data(bytes: &[u8], step: usize) -> Option<(Vec<u8>, bool)> {
    let mut chunked = Chunked::new();
    let mut data = Vec::new();
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() && !chunked.is_done() {
            let length = match chunked.part(piece, 100).ok()? {
                Part::Framing(length) => length,
                Part::Data(length) => {
                    data.extend_from_slice(&piece[..length]);
                    length
                }
            };
            assert!(length > 0);
            piece = &piece[length..];
        }
    }
    Some((data, chunked.is_done()))
}
