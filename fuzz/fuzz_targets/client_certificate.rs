//! A certificate that a client shows: whatever it is, it is described on one line or not at all, and RFC 9440's fields hold it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::certificate::describe_chain;

fuzz_target!(|der: &[u8]| {
    let Some(certificate) = describe_chain(&[der, der]) else {
        return;
    };
    for text in [
        &certificate.subject,
        &certificate.issuer,
        &certificate.serial,
    ] {
        assert!(
            !text.contains(char::is_control),
            "{text:?} is more than a line"
        );
    }
    assert_eq!(certificate.fingerprint.len(), 64);
    let field = Some(certificate.field());
    assert_eq!(
        field,
        certificate.chain_field(),
        "both tell of the same bytes"
    );
});
