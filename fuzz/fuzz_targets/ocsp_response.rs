//! Any bytes are a response that may be shown or none; and no change of one makes it say something else.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use portunus::ocsp::{Subject, Verified, read};
use rustls_pki_types::CertificateDer;

static LEAF: &[u8] = include_bytes!("../fixtures/ocsp/leaf.der");
static ISSUER: &[u8] = include_bytes!("../fixtures/ocsp/issuer.der");
/// By OpenSSL, signed by a responder that the issuer has named, and valid for four days from 21 November 2026.
static RESPONSE: &[u8] = include_bytes!("../fixtures/ocsp/response.der");

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let chain = [CertificateDer::from(LEAF), CertificateDer::from(ISSUER)];
    Subject::of(&chain).expect("a certificate that names its responder")
});

static TRUTH: LazyLock<Verified> =
    LazyLock::new(|| read(RESPONSE, &SUBJECT, now()).expect("a good response"));

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_300_000)
}

fuzz_target!(|bytes: &[u8]| {
    let response = match bytes.split_first() {
        // The good one, with some of its bytes changed: place (two bytes), what to do, a byte.
        Some((0, edits)) => {
            let mut response = RESPONSE.to_vec();
            for edit in edits.chunks_exact(4) {
                let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % response.len();
                match edit[2] % 4 {
                    0 => response[at] = edit[3],
                    1 => response[at] ^= edit[3],
                    2 => response.insert(at, edit[3]),
                    _ if response.len() > 1 => drop(response.remove(at)),
                    _ => {}
                }
            }
            response
        }
        _ => bytes.to_vec(),
    };
    if let Ok(verified) = read(&response, &SUBJECT, now()) {
        let said = (verified.revoked, verified.this_update, verified.next_update);
        assert_eq!(said, (TRUTH.revoked, TRUTH.this_update, TRUTH.next_update));
    }
});
