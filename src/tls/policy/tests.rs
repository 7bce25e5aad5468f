//! Ticket keys: whose they are, and how long they live.

use std::path::Path;

use super::*;
use crate::certificate::{Folder, dev};
use crate::config::{self, CertificateSource};
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

/// What a binding asks for where nothing is written.
fn asked() -> BindingTls {
    let text = "[[binding]]\nhostname = \"a.test\"\nsite = \"a\"\n[[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n\
                [[pool]]\nname = \"a\"\nhandler = { type = \"library\" }\n";
    let loaded = config::parse(text, Path::new("/etc/portunus/bindings.toml"));
    let config = loaded.config.expect("a configuration");
    config.bindings[0].tls.clone().expect("an https binding")
}

fn policy(
    tls: &BindingTls,
    protocols: &[AlpnProtocol],
    source: &Source,
    old: Option<&Policy>,
) -> Policy {
    let key = key("a.test");
    Policy::new(key, tls, protocols, source.clone(), None, Vec::new(), old).expect("a policy")
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
    let one = policy(&asked(), BOTH, &source, None);
    let other = policy(&asked(), BOTH, &source, None);
    assert!(takes_tickets_of(&one, &one, &certificate));
    assert!(!takes_tickets_of(&other, &one, &certificate));
    assert!(!takes_tickets_of(&one, &other, &certificate));
}

#[test]
fn a_reload_keeps_the_key_of_what_stays_the_same_and_of_nothing_else() {
    let (source, certificate) = source();
    let old = policy(&asked(), BOTH, &source, None);
    let mut other_folder = asked();
    other_folder.certificate = CertificateSource::Folder("elsewhere".into());
    for same in [asked(), other_folder] {
        let same = policy(&same, BOTH, &source, Some(&old));
        assert!(takes_tickets_of(&same, &old, &certificate));
    }
    let changed = |change: &dyn Fn(&mut BindingTls)| {
        let mut tls = asked();
        change(&mut tls);
        policy(&tls, BOTH, &source, Some(&old))
    };
    for other in [
        changed(&|tls| tls.min_version = TlsVersion::V1_3),
        changed(&|tls| tls.cipher_suites.truncate(1)),
        changed(&|tls| tls.groups.truncate(2)),
        policy(&asked(), &BOTH[..1], &source, Some(&old)),
    ] {
        assert!(!takes_tickets_of(&other, &old, &certificate));
    }
}

#[test]
fn handshakes_are_counted_on_over_a_reload() {
    let (source, _) = source();
    let old = policy(&asked(), BOTH, &source, None);
    assert_eq!(old.handshakes(), Handshakes::default());
    old.count(false);
    let mut stricter = asked();
    stricter.min_version = TlsVersion::V1_3;
    let new = policy(&stricter, BOTH, &source, Some(&old));
    new.count(true);
    // One that began before the reload.
    old.count(true);
    let counted = Handshakes {
        full: 1,
        resumed: 2,
    };
    assert_eq!(new.handshakes(), counted);
}

#[test]
fn every_suite_and_group_that_can_be_named_is_there_in_the_order_of_its_list() {
    let (source, certificate) = source();
    let mut tls = asked();
    let default = policy(&tls, BOTH, &source, None);
    let config = default.config(&certificate).expect("a configuration");
    let rustls = aws_lc_rs::default_provider();
    let suites = |provider: &CryptoProvider| -> Vec<_> {
        provider
            .cipher_suites
            .iter()
            .map(|suite| suite.suite())
            .collect()
    };
    let groups = |provider: &CryptoProvider| -> Vec<_> {
        provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect()
    };
    // All that rustls has, in an order of our own.
    let sorted = |provider: &CryptoProvider| {
        let mut suites = suites(provider);
        suites.sort_by_key(|suite| u16::from(*suite));
        suites
    };
    assert_eq!(suites(config.crypto_provider()), tls.cipher_suites);
    assert_eq!(sorted(config.crypto_provider()), sorted(&rustls));
    assert_eq!(groups(config.crypto_provider()), groups(&rustls));
    tls.cipher_suites.reverse();
    tls.groups = aws_lc_rs::ALL_KX_GROUPS
        .iter()
        .map(|group| group.name())
        .collect();
    assert!(
        tls.groups
            .iter()
            .all(|group| !group_name(*group).is_empty())
    );
    let other = policy(&tls, BOTH, &source, None);
    let config = other.config(&certificate).expect("a configuration");
    assert_eq!(suites(config.crypto_provider()), tls.cipher_suites);
    assert_eq!(groups(config.crypto_provider()), tls.groups);
}

#[test]
fn each_certificate_has_one_configuration_however_often_it_is_shown() {
    let (source, certificate) = source();
    let (_, other) = self::source();
    let policy = policy(&asked(), BOTH, &source, None);
    let config = |certificate| policy.config(certificate).expect("a configuration");
    assert!(Arc::ptr_eq(&config(&certificate), &config(&certificate)));
    assert!(!Arc::ptr_eq(&config(&certificate), &config(&other)));
}
