//! Certificates to try everything with: good ones, and each kind of bad one.

use std::sync::LazyLock;
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use super::pair::Certificate;
use super::{Content, Files};
use crate::model::HostName;

/// A certificate and its key, as PEM.
pub(super) struct Sample {
    pub(super) chain: String,
    pub(super) key: String,
}

/// The first two are good for `a.test`; what is wrong with each other one is said beside it.
pub(super) static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a CA");
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("a root").pem();
    let issuer = Issuer::new(params, key);
    let issue = |names: &[&str], days: (i64, i64), is_fetched: bool| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) = (day(days.0), day(days.1));
        if is_fetched {
            params.custom_extensions.push(fetched_from());
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("a leaf").pem();
        let chain = match is_fetched {
            true => leaf,
            false => leaf + &ca,
        };
        (chain, key.serialize_pem())
    };
    let own_key = KeyPair::generate().expect("a key");
    let mut own = CertificateParams::new(vec!["a.test".into()]).expect("a name");
    (own.not_before, own.not_after) = (day(-10), day(80));
    let own = own.self_signed(&own_key).expect("a certificate").pem();
    let all = [
        issue(&["a.test"], (-10, 80), false),
        issue(&["a.test", "b.test"], (-1, 89), false),
        issue(&["*.test"], (-5, 85), false),
        // Soon no longer, and no longer.
        issue(&["a.test"], (-20, 1), false),
        issue(&["a.test", "b.test"], (-90, -1), false),
        // Not yet.
        issue(&["a.test"], (2, 90), false),
        // Of somebody else.
        issue(&["b.test"], (-10, 80), false),
        // Without its issuer.
        issue(&["a.test"], (-10, 80), true),
        (own, own_key.serialize_pem()),
    ];
    let sample = |(chain, key)| Sample { chain, key };
    all.into_iter().map(sample).collect()
});

/// Where a leaf's issuer is fetched (RFC 5280 section 4.2.2.1).
fn fetched_from() -> CustomExtension {
    let place = b"http://ca.test/";
    let issuers = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let description = [&issuers[..], &[0x86, 15], place].concat();
    let inner = [&[0x30, 27][..], &description].concat();
    let content = [&[0x30, 29][..], &inner].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// The day on which the samples are made.
static TODAY: LazyLock<OffsetDateTime> = LazyLock::new(OffsetDateTime::now_utc);

fn day(days: i64) -> OffsetDateTime {
    *TODAY + Duration::days(days)
}

/// So many hours from the day of the samples.
pub(super) fn hour(hours: i64) -> SystemTime {
    SystemTime::from(*TODAY + Duration::hours(hours))
}

/// The sample by itself, as it is shown.
pub(super) fn certificate(index: usize) -> Certificate {
    let sample = &SAMPLES[index];
    let files = Files {
        chain: "a.pem".into(),
        key: "a.key".into(),
        passwords: Vec::new(),
    };
    let content = Content::of(Some(sample.chain.as_bytes()), Some(sample.key.as_bytes()));
    Certificate::read(&files, &content).expect("a whole pair")
}

/// What a client that asks for a host finds good about a certificate at a moment: the more, the better. Told apart here by other
/// means than where it is decided.
pub(super) fn worth(certificate: &Certificate, host: &str, now: SystemTime) -> [bool; 3] {
    let host = HostName::parse(host).expect("a host");
    let covers = certificate.covers(&host);
    let is_trusted = certificate.issuer == "CN=a CA";
    let is_complete = certificate.chain_fault.is_none();
    [
        covers,
        is_trusted && is_complete,
        certificate.is_valid_at(now),
    ]
}

/// Whether the key is the certificate's.
pub(super) fn matches(certificate: &Certificate) -> bool {
    certificate.key.keys_match().is_ok()
}
