//! Ticket keys: whose they are, and how long they live.

use super::*;
use crate::certificate::{Folder, dev};
use crate::model::{HostPattern, Scheme};

const BOTH: &[AlpnProtocol] = &[AlpnProtocol::H2, AlpnProtocol::Http1];

fn key(hostname: &str) -> Arc<BindingKey> {
    Arc::new(BindingKey {
        scheme: Scheme::Https,
        ip: None,
        port: 443,
        hostname: HostPattern::parse(hostname).expect("a host"),
    })
}

fn source() -> (Source, Arc<Certificate>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    dev::make(folder.path(), &["a.test".into()]).expect("a certificate");
    let folder = Folder::load(folder.path()).expect("the folder");
    let host = HostName::parse("a.test").expect("a host");
    let certificate = Arc::clone(folder.find(&host).expect("its certificate"));
    (Source::Named(Arc::clone(&certificate).into()), certificate)
}

fn policy(
    version: TlsVersion,
    protocols: &[AlpnProtocol],
    source: &Source,
    old: Option<&Policy>,
) -> Policy {
    Policy::new(key("a.test"), version, protocols, source.clone(), true, old).expect("a policy")
}

/// Whether what `issuer` gives its clients is taken by `other`.
fn takes_tickets_of(other: &Policy, issuer: &Policy, certificate: &Arc<Certificate>) -> bool {
    let ticketer = |policy: &Policy| {
        let config = policy.config(certificate).expect("a configuration");
        Arc::clone(&config.ticketer)
    };
    let ticket = ticketer(issuer).encrypt(b"a session").expect("a ticket");
    match ticketer(other).decrypt(&ticket) {
        Some(plain) => plain == b"a session",
        None => false,
    }
}

#[test]
fn a_binding_takes_its_own_tickets_and_no_others() {
    let (source, certificate) = source();
    let one = policy(TlsVersion::V1_2, BOTH, &source, None);
    let other = policy(TlsVersion::V1_2, BOTH, &source, None);
    assert!(takes_tickets_of(&one, &one, &certificate));
    assert!(!takes_tickets_of(&other, &one, &certificate));
    assert!(!takes_tickets_of(&one, &other, &certificate));
}

#[test]
fn a_reload_keeps_the_key_of_what_stays_the_same_and_of_nothing_else() {
    let (source, certificate) = source();
    let old = policy(TlsVersion::V1_2, BOTH, &source, None);
    let same = policy(TlsVersion::V1_2, BOTH, &source, Some(&old));
    assert!(takes_tickets_of(&same, &old, &certificate));
    let stricter = policy(TlsVersion::V1_3, BOTH, &source, Some(&old));
    assert!(!takes_tickets_of(&stricter, &old, &certificate));
    let fewer = policy(TlsVersion::V1_2, &BOTH[..1], &source, Some(&old));
    assert!(!takes_tickets_of(&fewer, &old, &certificate));
}

#[test]
fn each_certificate_has_one_configuration_however_often_it_is_shown() {
    let (source, certificate) = source();
    let (_, other) = self::source();
    let policy = policy(TlsVersion::V1_2, BOTH, &source, None);
    let config = |certificate| policy.config(certificate).expect("a configuration");
    assert!(Arc::ptr_eq(&config(&certificate), &config(&certificate)));
    assert!(!Arc::ptr_eq(&config(&certificate), &config(&other)));
}
