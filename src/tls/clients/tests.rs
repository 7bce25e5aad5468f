//! Which certificates are refused, why, and when they are looked at again.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

use super::*;
use crate::certificate::describe;
use crate::config::Doubt;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Ca {
    fn new(name: &str, above: Option<&Ca>) -> Self {
        Self::until(name, above, 2090)
    }

    fn until(name: &str, above: Option<&Ca>, year: i32) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let own = match above {
            None => params.self_signed(&key),
            Some(above) => params.signed_by(&key, &above.issuer),
        }
        .expect("a CA");
        Self {
            issuer: Issuer::new(params, key),
            der: own.der().clone(),
            pem: own.pem(),
        }
    }

    fn issue(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2060, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        leaf.der().clone()
    }
}

fn clients_with(
    pem: &str,
    old: Option<&Clients>,
    change: impl FnOnce(&mut ClientCertificates),
) -> Clients {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).expect("the CAs");
    let mut settings = ClientCertificates {
        mode: ClientMode::Require,
        ca: file,
        crl: Vec::new(),
        depth: 3,
        crl_missing: Doubt::Refuse,
        crl_expired: Doubt::Refuse,
    };
    change(&mut settings);
    let cas = Arc::new(ClientCas::load(&settings).expect("good files"));
    // One place, whatever lies there.
    settings.ca = "/ca.pem".into();
    Clients::new(&settings, &cas, old)
}

fn clients(pem: &str, old: Option<&Clients>) -> Clients {
    clients_with(pem, old, |_| {})
}

/// Seconds of a day of a year that is far away from the present.
fn year(year: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
}

fn refused(clients: &Clients, chain: &[CertificateDer<'static>], now: SystemTime) -> Objection {
    let outcome = clients.admit(Some(chain), true, now);
    outcome.map(drop).expect_err("the certificate is refused")
}

#[test]
fn every_refusal_names_the_certificate_and_what_is_wrong_with_it() {
    let (own, other) = (Ca::new("own", None), Ca::new("other", None));
    let clients = clients(&own.pem, None);
    let now = SystemTime::now();
    let refused = |chain: &[CertificateDer<'static>], now| {
        let objection = refused(&clients, chain, now);
        assert_eq!(objection.subject.as_deref(), Some("CN=alice"));
        assert_eq!(objection.fingerprint.map(|print| print.len()), Some(64));
        assert!(objection.sentence.contains("CN=alice (serial "));
        objection.sentence
    };
    let alice = own.issue("alice", |_| {});
    assert!(
        clients
            .admit(Some(std::slice::from_ref(&alice)), true, now)
            .is_ok()
    );
    let said = refused(std::slice::from_ref(&alice), year(2061));
    assert!(said.contains("expired at 2060-01-01T00:00:00Z"), "{said}");
    let said = refused(&[alice], year(2010));
    assert!(
        said.contains("not valid before 2024-01-01T00:00:00Z"),
        "{said}"
    );
    let said = refused(&[other.issue("alice", |_| {})], now);
    assert!(
        said.contains("CN=other, which issued it, is no CA in"),
        "{said}"
    );
    let namesake = Ca::new("own", None).issue("alice", |_| {});
    let said = refused(&[namesake], now);
    assert!(said.contains("not signed with its issuer's key"), "{said}");
    let server = own.issue("alice", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let said = refused(&[server], now);
    assert!(said.contains("lacks clientAuth"), "{said}");
}

#[test]
fn chains_are_followed_as_far_as_depth_says() {
    let root = Ca::new("root", None);
    let upper = Ca::new("upper", Some(&root));
    let lower = Ca::new("lower", Some(&upper));
    let chain = [
        lower.issue("alice", |_| {}),
        lower.der.clone(),
        upper.der.clone(),
        root.der.clone(),
    ];
    let now = SystemTime::now();
    let at = |depth, pem: &str| {
        let clients = clients_with(pem, None, |settings| settings.depth = depth);
        clients.admit(Some(&chain), true, now)
    };
    let told = at(2, &root.pem).expect("two between");
    let told = told.certificate.as_ref().expect("shown");
    assert_eq!(told.chain.len(), 3);
    let refused = at(1, &root.pem).map(drop).expect_err("one too many");
    assert!(
        refused.sentence.contains("CN=upper, which issued CN=lower"),
        "{}",
        refused.sentence
    );
    assert!(
        refused
            .sentence
            .contains("2 more came with it than `depth` allows")
    );
    // A CA below the root is trusted by itself.
    assert!(at(0, &lower.pem).is_ok());
    let missing = clients(&root.pem, None)
        .admit(Some(&chain[..1]), true, now)
        .map(drop)
        .expect_err("nothing leads to the root");
    assert!(
        missing.sentence.contains("CN=lower, which issued it"),
        "{}",
        missing.sentence
    );
    assert!(missing.sentence.contains("no certificate that leads there"));
}

#[test]
fn a_ca_that_expires_is_trusted_no_longer_and_no_reload_is_needed() {
    let (short, long) = (Ca::until("short", None, 2035), Ca::new("long", None));
    let clients = clients(&format!("{}{}", short.pem, long.pem), None);
    let (alice, bob) = (short.issue("alice", |_| {}), long.issue("bob", |_| {}));
    let admit = |der: &CertificateDer<'static>, now| {
        clients
            .admit(Some(std::slice::from_ref(der)), true, now)
            .map(drop)
    };
    for (now, good) in [(year(2030), true), (year(2040), false), (year(2031), true)] {
        assert_eq!(admit(&alice, now).is_ok(), good);
        assert!(admit(&bob, now).is_ok());
    }
    let said = admit(&alice, year(2040))
        .expect_err("its CA has expired")
        .sentence;
    assert!(
        said.contains("CN=short in ") && said.contains("2035-01-01"),
        "{said}"
    );
    // Then nobody's CA is valid, which is no reason to let anybody in.
    assert!(admit(&bob, year(2092)).is_err());
}

#[test]
fn who_need_not_show_a_certificate_must_still_show_a_good_one() {
    let own = Ca::new("own", None);
    let requested = clients_with(&own.pem, None, |settings| {
        settings.mode = ClientMode::Request
    });
    let now = SystemTime::now();
    let identity = requested.admit(None, false, now).expect("nothing shown");
    assert!(identity.certificate.is_none());
    let bad = Ca::new("other", None).issue("alice", |_| {});
    assert!(requested.admit(Some(&[bad]), true, now).is_err());
    let required = clients(&own.pem, None);
    for shown in [None, Some(&[][..])] {
        let refused = required
            .admit(shown, true, now)
            .map(drop)
            .expect_err("nothing shown");
        assert_eq!(refused.alert, rustls::AlertDescription::CertificateRequired);
    }
}

#[test]
fn connections_that_stand_are_judged_by_what_takes_effect_and_not_before() {
    let (own, other) = (Ca::new("own", None), Ca::new("other", None));
    let now = SystemTime::now();
    let before = clients(&own.pem, None);
    let alice = own.issue("alice", |_| {});
    let identity = before.admit(Some(&[alice]), false, now).expect("good");
    let both = clients(&format!("{}{}", own.pem, other.pem), Some(&before));
    both.take_effect();
    assert_eq!(identity.objection(now), None);
    let without = clients(&other.pem, Some(&both));
    assert_eq!(identity.objection(now), None);
    without.take_effect();
    let said = identity.objection(now).expect("its CA is gone");
    assert!(said.contains("CN=own"), "{said}");
    both.take_effect();
    assert_eq!(identity.objection(now), None);
}

#[test]
fn what_must_end_resumption_has_an_identity_of_its_own() {
    let (own, other) = (Ca::new("own", None), Ca::new("other", None));
    let first = clients(&own.pem, None);
    assert_eq!(first.identity(), clients(&own.pem, None).identity());
    assert_eq!(first.identity(), clients(&own.pem, Some(&first)).identity());
    assert_ne!(
        first.identity(),
        clients(&other.pem, Some(&first)).identity()
    );
    let requested = clients_with(&own.pem, Some(&first), |settings| {
        settings.mode = ClientMode::Request;
    });
    assert_ne!(first.identity(), requested.identity());
}

#[tokio::test]
async fn objections_reach_whoever_watches_and_nobody_else() {
    let own = Ca::new("own", None);
    let clients = clients(&own.pem, None);
    let verifier = clients.verifier();
    let bad = Ca::new("other", None).issue("alice", |_| {});
    let now = rustls::pki_types::UnixTime::now();
    let look = || verifier.verify_client_cert(&bad, &[], now).is_ok();
    assert!(!look());
    let one = watched(async {
        tokio::task::yield_now().await;
        let found = look();
        tokio::task::yield_now().await;
        found
    });
    let two = watched(async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        true
    });
    let ((one, objection), (two, none)) = tokio::join!(one, two);
    assert!(!one && two && none.is_none());
    let subject = objection.expect("an objection").subject;
    assert_eq!(subject, describe(&bad).map(|parts| parts.subject));
    let (found, objection) = watched_now(look);
    assert!(!found && objection.is_some());
}
