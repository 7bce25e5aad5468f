//! A ClientHello as QUIC carries it is read as the same one is over TCP, however much of it has come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::tls::hello::{Reading, read, read_message};
use portunus::tls::ja4::ja4_over_quic;

fuzz_target!(|bytes: &[u8]| {
    let whole = read_message(bytes);
    if let Reading::Hello(hello) = &whole {
        assert!(ja4_over_quic(hello).starts_with('q'));
        assert!(!hello.offered_alpn().contains(|c: char| c.is_control()));
    }
    assert!(
        !matches!(whole, Reading::NotTls(_)),
        "nobody else writes there"
    );
    // What has come so far never decides otherwise than all of it.
    for part in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match read_message(&bytes[..part]) {
            Reading::Incomplete => {}
            decided => assert_eq!(decided, whole),
        }
    }
    if !bytes.is_empty() {
        let mut records = Vec::new();
        for part in bytes.chunks(1 << 14) {
            records.extend([22, 3, 1]);
            records.extend((part.len() as u16).to_be_bytes());
            records.extend(part);
        }
        assert_eq!(read(&records), whole, "over TCP it is another");
    }
});
