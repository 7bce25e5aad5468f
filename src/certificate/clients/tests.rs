//! What is read of CAs and lists, and what is said of those that are no good.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, DnValue, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::*;
use crate::config::{ClientMode, Doubt};
use crate::model::AlternativeName;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn ca_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a CA").pem();
    Ca {
        issuer: Issuer::new(params, key),
        pem,
    }
}

fn ca(name: &str) -> Ca {
    ca_with(name, |_| {})
}

impl Ca {
    fn list(&self, until_year: i32, serials: &[u8]) -> rcgen::CertificateRevocationList {
        CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(until_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: (serials.iter())
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(vec![*serial]),
                    revocation_time: date_time_ymd(2024, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .expect("a list")
    }
}

struct Files {
    folder: TempDir,
    settings: ClientCertificates,
}

impl Files {
    fn new(ca: impl AsRef<[u8]>, lists: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let crl: Vec<_> = (0..lists.len())
            .map(|number| folder.path().join(format!("{number}.crl")))
            .collect();
        for (file, list) in crl.iter().zip(lists) {
            fs::write(file, list).expect("a list");
        }
        let file = folder.path().join("ca.pem");
        fs::write(&file, ca).expect("a CA");
        Self {
            folder,
            settings: ClientCertificates {
                mode: ClientMode::Require,
                ca: file,
                crl,
                depth: 3,
                crl_missing: Doubt::Refuse,
                crl_expired: Doubt::Refuse,
            },
        }
    }

    fn load(&self) -> Result<ClientCas, ClientCaError> {
        ClientCas::load(&self.settings)
    }

    fn code(&self) -> &'static str {
        let error = self.load().expect_err("something is wrong");
        assert!(
            error
                .to_string()
                .contains(self.folder.path().to_str().expect("a path")),
            "{error} names the file"
        );
        assert!(!error.help().is_empty());
        error.code()
    }

    fn warnings(&self) -> Vec<&'static str> {
        let found = self
            .load()
            .expect("good files")
            .findings(0, SystemTime::now());
        assert!(found.iter().all(|finding| !finding.is_error()));
        found.iter().map(|finding| finding.code).collect()
    }
}

#[test]
fn cas_and_lists_are_read_in_every_form_they_come_in() {
    let (one, two) = (ca("one"), ca("two"));
    let pems = format!(
        "{}{}",
        one.list(2099, &[]).pem().expect("PEM"),
        two.list(2099, &[7]).pem().expect("PEM")
    );
    let mut ders = one.list(2099, &[]).der().to_vec();
    ders.extend_from_slice(two.list(2099, &[]).der());
    let both = format!("# ours\n{}\n{}", one.pem, two.pem);
    let read = Files::new(&both, &[pems.as_bytes(), &ders])
        .load()
        .expect("good files");
    let subjects: Vec<_> = read.cas.iter().map(|ca| ca.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=one", "CN=two"]);
    assert_eq!(read.lists.len(), 4);
    assert!(read.lists.iter().all(|list| list.is_of_a_ca));

    let der = rustls_pemfile::certs(&mut one.pem.as_bytes()).next();
    let der = der.expect("a certificate").expect("PEM");
    assert_eq!(Files::new(&der, &[]).load().expect("DER").cas.len(), 1);
}

#[test]
fn whatever_is_wrong_has_a_code_and_names_the_file() {
    let (own, other) = (ca("own"), ca("other"));
    let list = own.list(2099, &[]).pem().expect("PEM");
    let mut missing = Files::new(&own.pem, &[]);
    missing.settings.ca = missing.folder.path().join("nowhere.pem");
    assert_eq!(missing.code(), "client-ca-missing");
    missing.settings.ca = missing.folder.path().to_owned();
    assert_eq!(missing.code(), "client-ca-unreadable");
    assert_eq!(Files::new("", &[]).code(), "client-ca-empty");
    assert_eq!(Files::new(&list, &[]).code(), "client-ca-empty");
    let cut = &own.pem[..own.pem.len() / 2];
    assert_eq!(Files::new(cut, &[]).code(), "client-ca-broken");
    assert_eq!(
        Files::new([0x30, 3, 1, 1, 0], &[]).code(),
        "client-ca-broken"
    );
    let leaf = ca_with("leaf", |params| params.is_ca = IsCa::ExplicitNoCa);
    let with_leaf = format!("{}{}", own.pem, leaf.pem);
    assert_eq!(Files::new(with_leaf, &[]).code(), "client-ca-no-ca");
    let weak = ca_with("weak", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    assert_eq!(Files::new(&weak.pem, &[]).code(), "client-ca-no-ca");

    let mut missing = Files::new(&own.pem, &[]);
    missing.settings.crl = vec![missing.folder.path().join("nowhere.crl")];
    assert_eq!(missing.code(), "client-crl-missing");
    assert_eq!(Files::new(&own.pem, &[b""]).code(), "client-crl-empty");
    let pem = own.pem.as_bytes();
    assert_eq!(Files::new(&own.pem, &[pem]).code(), "client-crl-empty");
    assert_eq!(Files::new(&own.pem, &[b"0000"]).code(), "client-crl-broken");
    // The right name, and another key: a verifier would refuse every certificate for it.
    let namesake = ca("own").list(2099, &[]);
    assert_eq!(
        Files::new(&own.pem, &[namesake.der()]).code(),
        "client-crl-broken"
    );
    let both = format!("{}{}", other.pem, own.pem);
    Files::new(both, &[list.as_bytes()])
        .load()
        .expect("good files");
}

#[test]
fn what_can_be_used_and_should_be_known_is_warned_of() {
    let (own, other) = (ca("own"), ca("other"));
    let expired = ca_with("expired", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let list = |list: rcgen::CertificateRevocationList| list.der().to_vec();
    let good = list(own.list(2099, &[1]));
    assert_eq!(
        Files::new(&own.pem, &[&good]).warnings(),
        Vec::<&str>::new()
    );
    let late = list(own.list(2025, &[]));
    assert_eq!(
        Files::new(&own.pem, &[&late]).warnings(),
        ["client-crl-expired"]
    );
    let foreign = list(other.list(2099, &[]));
    assert_eq!(
        Files::new(&own.pem, &[&foreign]).warnings(),
        ["client-crl-foreign"]
    );
    assert_eq!(
        Files::new(format!("{}{}", own.pem, expired.pem), &[]).warnings(),
        ["client-ca-expired"]
    );
}

#[test]
fn what_is_out_of_date_does_not_take_the_place_of_what_is_not() {
    let own = ca("own");
    let load = |pem: &str, lists: &[&[u8]]| Files::new(pem, lists).load().expect("good files");
    let list = |year| own.list(year, &[]).der().to_vec();
    let now = SystemTime::now();
    let (good, late) = (
        load(&own.pem, &[&list(2099)]),
        load(&own.pem, &[&list(2025)]),
    );
    assert!(
        late.worse_than(&good, now)
            .expect("worse")
            .contains("CN=own")
    );
    assert_eq!(good.worse_than(&late, now), None);
    assert_eq!(late.worse_than(&late, now), None);
    assert_eq!(late.worse_than(&load(&own.pem, &[]), now), None);
    let both = load(&own.pem, &[&list(2025), &list(2099)]);
    assert_eq!(both.worse_than(&good, now), None);
    let expired = ca_with("own", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let expired = load(&expired.pem, &[]);
    assert!(expired.worse_than(&good, now).is_some());
    assert_eq!(good.worse_than(&expired, now), None);
}

#[test]
fn the_newest_list_is_asked_first() {
    let own = ca("own");
    let params = |day| CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, day),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(u64::from(day)),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = |day| {
        params(day)
            .signed_by(&own.issuer)
            .expect("a list")
            .der()
            .to_vec()
    };
    let read = Files::new(&own.pem, &[&list(1), &list(3), &list(2)]);
    let read = read.load().expect("good files");
    let days = |list: &RevocationList| {
        (list.this_update.duration_since(SystemTime::UNIX_EPOCH))
            .expect("after 1970")
            .as_secs()
            / 86_400
    };
    let days: Vec<_> = read.lists.iter().map(days).collect();
    assert!(days.is_sorted_by(|one, next| one > next), "{days:?}");
}

#[test]
fn a_certificate_is_described() {
    let own = ca("own CA");
    let mut params =
        CertificateParams::new(vec!["alice.test".into(), "192.0.2.7".into()]).expect("names");
    params.subject_alt_names.push(rcgen::SanType::URI(
        "spiffe://shop.test/web".try_into().expect("ASCII"),
    ));
    params.subject_alt_names.push(rcgen::SanType::Rfc822Name(
        "alice@shop.test".try_into().expect("ASCII"),
    ));
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, text) in [
        (DnType::CountryName, "DE"),
        (DnType::OrganizationName, "Shop, \"Ltd\"; #1 "),
        (DnType::CommonName, " alice\n"),
    ] {
        params
            .distinguished_name
            .push(kind, DnValue::Utf8String(text.into()));
    }
    params.serial_number = Some(SerialNumber::from(vec![0xab, 0x01]));
    params.not_after = date_time_ymd(2031, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &own.issuer).expect("a leaf");
    let found = describe(leaf.der()).expect("it can be read");
    assert_eq!(
        found.subject,
        "CN=\\ alice\\0A,O=Shop\\, \\\"Ltd\\\"\\; #1\\ ,C=DE"
    );
    assert_eq!(found.issuer, "CN=own CA");
    assert_eq!(found.serial, "AB01");
    assert_eq!(found.fingerprint.len(), 64);
    assert_eq!(date(found.not_after), "2031-01-01T00:00:00Z");
    let names: Vec<_> = found.names.iter().map(AlternativeName::to_string).collect();
    assert_eq!(
        names,
        [
            "dns:alice.test",
            "ip:192.0.2.7",
            "uri:spiffe://shop.test/web",
            "email:alice@shop.test"
        ]
    );
    assert!(found.not_after - Duration::from_secs(1) > found.not_before);
    assert!(describe(b"no certificate").is_none());
}

#[test]
fn openssl_s_own_certificate_is_described_as_openssl_does() {
    let der = include_bytes!("../../../fuzz/corpus/client_certificate/openssl");
    let found = describe(der).expect("it can be read");
    // As `openssl x509 -subject -serial -nameopt RFC2253,-esc_msb,utf8` writes it, but for the order within one part.
    assert_eq!(
        found.subject,
        "emailAddress=a@shop.test,CN=älice \\<x\\>,DC=test,OU=a+UID=b,O=Shop\\, \\\"Ltd\\\",C=DE"
    );
    assert_eq!(found.serial, "474C28E52BB5946A3E029E18F1916F2EB76D0FE0");
}

/// What a value of RFC 4514 stands for.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let pair = behind
            .get(..2)
            .filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(behind[0]);
                rest = &behind[1..];
            }
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

proptest! {
    #[test]
    fn a_name_is_what_was_written_and_never_two_parts_or_two_lines(value in any::<String>()) {
        let mut text = String::new();
        distinguished::write_value(&value, &mut text);
        prop_assert_eq!(unescaped(&text), value);
        prop_assert!(!text.contains(|symbol: char| symbol.is_control()));
        let plain = text.replace("\\\\", "").replace("\\,", "").replace("\\+", "").replace("\\\"", "");
        prop_assert!(!plain.contains([',', '+', '"']));
        prop_assert!(!text.starts_with(['#', ' ']));
    }
}
