//! Staples: shown while they are current; and certificates that ask for one.

use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::super::{Content, Files};
use super::*;

fn certificate(features: Option<&[u8]>) -> Certificate {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["a.test".into()]).expect("a name");
    params.custom_extensions.extend(features.map(|features| {
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features.to_vec())
    }));
    let own = params.self_signed(&key).expect("a certificate");
    let pem = own.pem() + &key.serialize_pem();
    let files = Files {
        chain: "a.pem".into(),
        key: "a.pem".into(),
        passwords: Vec::new(),
    };
    Certificate::read(&files, &Content::of(Some(pem.as_bytes()), None)).expect("a certificate")
}

#[test]
fn a_staple_is_shown_until_its_time_is_over_and_not_a_moment_longer() {
    let certificate = certificate(None);
    let now = SystemTime::now();
    let shown = |seconds| {
        certificate
            .shown(now + Duration::from_secs(seconds))
            .ocsp
            .clone()
    };
    assert_eq!(shown(0), None);
    certificate.staple(b"one", now + Duration::from_secs(10));
    assert_eq!(shown(0).as_deref(), Some(&b"one"[..]));
    assert_eq!(shown(9).as_deref(), Some(&b"one"[..]));
    assert_eq!(shown(10), None);
    certificate.staple(b"two", now + Duration::from_secs(20));
    assert_eq!(shown(10).as_deref(), Some(&b"two"[..]));
    certificate.unstaple();
    assert_eq!(shown(0), None);
    assert_eq!(
        certificate.key.ocsp, None,
        "what is kept is kept as it was read"
    );
}

#[test]
fn a_certificate_that_requires_a_staple_is_known() {
    for (features, requires) in [
        (None, false),
        (Some(&[0x30, 3, 2, 1, 5][..]), true),
        (Some(&[0x30, 6, 2, 1, 17, 2, 1, 5]), true),
        // status_request_v2 alone, which nobody speaks any more.
        (Some(&[0x30, 3, 2, 1, 17]), false),
        (Some(&[0x30, 4, 2, 2, 1, 5]), false),
        (Some(&[0x30, 0]), false),
        (Some(&[0x30, 3, 2, 9, 5]), false),
        (Some(&[]), false),
    ] {
        assert_eq!(
            certificate(features).requires_staple(),
            requires,
            "{features:?}"
        );
    }
}
