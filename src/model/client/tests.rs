//! RFC 9440's fields, and when a certificate is looked at again.

use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

fn certificate(chain: &[&[u8]]) -> ClientCertificate {
    let parts = ClientCertificateParts {
        subject: "CN=alice".into(),
        issuer: "CN=CA".into(),
        serial: "0A".into(),
        fingerprint: "00".into(),
        names: Vec::new(),
        not_before: UNIX_EPOCH,
        not_after: UNIX_EPOCH + Duration::from_secs(1000),
    };
    ClientCertificate::new(parts, chain.iter().map(|der| (*der).into()).collect())
}

/// What a Byte Sequence stands for, by the letter of RFC 8941 section 4.2.7.
fn decoded(member: &str) -> Vec<u8> {
    let inner = member.strip_prefix(':').and_then(|m| m.strip_suffix(':'));
    let inner = inner.expect("a Byte Sequence stands between colons");
    assert_eq!(inner.len() % 4, 0, "it is padded");
    let mut bits: Vec<bool> = Vec::new();
    let mut symbols = 0;
    for symbol in inner.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other} is not of the alphabet"),
        };
        symbols += 1;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let whole = symbols * 6 / 8 * 8;
    assert!(
        bits[whole..].iter().all(|bit| !bit),
        "what is left over is zero"
    );
    bits[..whole]
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::from(*bit)))
        .collect()
}

#[test]
fn the_examples_of_rfc_4648_are_written_so() {
    for (bytes, text) in [
        ("", "::"),
        ("f", ":Zg==:"),
        ("fo", ":Zm8=:"),
        ("foo", ":Zm9v:"),
        ("foob", ":Zm9vYg==:"),
        ("fooba", ":Zm9vYmE=:"),
        ("foobar", ":Zm9vYmFy:"),
    ] {
        assert_eq!(certificate(&[bytes.as_bytes()]).field(), text);
    }
}

#[test]
fn a_chain_is_a_list_of_those_behind_the_first() {
    assert_eq!(certificate(&[b"a"]).chain_field(), None);
    let chain = certificate(&[b"a", b"b", b"foo"]);
    assert_eq!(chain.field(), ":YQ==:");
    assert_eq!(chain.chain_field().expect("two more"), ":Yg==:, :Zm9v:");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(chain in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..200), 1..5,
    )) {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let certificate = certificate(&chain);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        prop_assert_eq!(decoded(&text(certificate.field())), chain[0]);
        let rest: Vec<Vec<u8>> = certificate
            .chain_field()
            .map(|value| text(value).split(", ").map(decoded).collect())
            .unwrap_or_default();
        prop_assert_eq!(rest, chain[1..].to_vec());
    }
}

/// Says what it is told to, and counts how often it is asked.
#[derive(Default)]
struct Scripted {
    revision: AtomicU64,
    says: Mutex<Option<String>>,
    asked: AtomicU64,
}

impl Judge for Scripted {
    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn objection(&self, _: &ClientCertificate) -> Option<String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.says.lock().unwrap().clone()
    }
}

#[test]
fn a_certificate_is_looked_at_again_once_for_each_revision_until_it_is_bad() {
    let judge = Arc::new(Scripted::default());
    let asked = || judge.asked.load(Ordering::Relaxed);
    let terms = ClientTerms::new("required");
    let identity = ClientIdentity::new(terms, Some(certificate(&[b"a"])), judge.clone(), 0);
    assert_eq!((identity.objection(UNIX_EPOCH), asked()), (None, 0));
    judge.revision.store(7, Ordering::Relaxed);
    assert_eq!((identity.objection(UNIX_EPOCH), asked()), (None, 1));
    assert_eq!((identity.objection(UNIX_EPOCH), asked()), (None, 1));
    judge.revision.store(8, Ordering::Relaxed);
    *judge.says.lock().unwrap() = Some("revoked".into());
    assert_eq!(identity.objection(UNIX_EPOCH).as_deref(), Some("revoked"));
    assert_eq!(identity.objection(UNIX_EPOCH).as_deref(), Some("revoked"));
}

#[test]
fn a_certificate_that_expires_meanwhile_is_no_longer_good() {
    let judge = Arc::new(Scripted::default());
    let terms = ClientTerms::new("required");
    let identity = ClientIdentity::new(terms, Some(certificate(&[b"a"])), judge, 0);
    let second = |second| UNIX_EPOCH + Duration::from_secs(second);
    assert_eq!(identity.objection(second(1000)), None);
    assert!(identity.objection(second(1001)).is_some());
}
