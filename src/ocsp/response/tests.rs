//! What a response must be to be shown, and every way in which it may not be.

use proptest::prelude::*;
use rasn_ocsp::OcspResponseStatus;
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use time::OffsetDateTime;

use super::super::tests::{Ca, HOUR, Says, Signer, whole};
use super::*;

const RESPONDER: Option<&str> = Some("http://ca.test/ocsp");

fn ca() -> (Ca, Subject) {
    let ca = Ca::new("test CA");
    let subject = Subject::of(&ca.leaf(RESPONDER).key.cert).unwrap();
    (ca, subject)
}

fn verdict(change: impl FnOnce(&mut Says)) -> Result<Verified, Unfit> {
    let (ca, subject) = ca();
    let mut says = Says::good();
    change(&mut says);
    read(
        &says.signed_by(&ca.signer(), &subject),
        &subject,
        SystemTime::now(),
    )
}

type Choose = fn(&Ca) -> Signer;

fn signed_by(choose: impl FnOnce(&Ca) -> Signer) -> Result<Verified, Unfit> {
    let (ca, subject) = ca();
    let response = Says::good().signed_by(&choose(&ca), &subject);
    read(&response, &subject, SystemTime::now())
}

#[test]
fn a_response_of_the_issuers_own_is_taken_however_it_names_things() {
    for (sha256, brings, by_key) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (false, false, true),
        (true, true, true),
    ] {
        let verified = verdict(|says| {
            (says.sha256, says.brings, says.by_key) = (sha256, brings, by_key);
        });
        let verified = verified.unwrap();
        assert_eq!(verified.revoked, None);
        assert_eq!(verified.until, verified.next_update);
    }
}

#[test]
fn a_response_of_one_whom_the_issuer_has_named_is_taken_as_long_as_that_one_may_sign() {
    let verified = signed_by(|ca| ca.delegate(|_| {})).unwrap();
    assert_eq!(verified.until, verified.next_update);
    let soon = OffsetDateTime::now_utc() + time::Duration::minutes(5);
    let verified = signed_by(|ca| ca.delegate(|params| params.not_after = soon)).unwrap();
    assert!(verified.until < verified.next_update);
}

#[test]
fn a_response_of_anybody_else_is_not_taken() {
    let no_purpose = |ca: &Ca| ca.delegate(|params| params.extended_key_usages = Vec::new());
    let other_purpose = |ca: &Ca| {
        ca.delegate(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    };
    let over = |ca: &Ca| {
        ca.delegate(|params| {
            params.not_after = OffsetDateTime::now_utc() - time::Duration::minutes(1);
        })
    };
    let to_come = |ca: &Ca| {
        ca.delegate(|params| {
            params.not_before = OffsetDateTime::now_utc() + time::Duration::hours(1);
        })
    };
    // Alike in name, and another's in truth.
    let other_ca = |_: &Ca| Ca::new("other CA").delegate(|_| {});
    let false_ca = |_: &Ca| Ca::new("test CA").delegate(|_| {});
    let false_self = |_: &Ca| Ca::new("test CA").signer();
    let signers: [(Choose, Unfit); 7] = [
        (
            no_purpose,
            Unfit::Signer("its certificate is not for OCSP signing"),
        ),
        (
            other_purpose,
            Unfit::Signer("its certificate is not for OCSP signing"),
        ),
        (over, Unfit::Signer("its certificate is not valid now")),
        (to_come, Unfit::Signer("its certificate is not valid now")),
        (other_ca, Unfit::Signer("its certificate is another CA's")),
        (
            false_ca,
            Unfit::Signer("its certificate is not signed by the issuer"),
        ),
        (false_self, Unfit::Signature),
    ];
    for (choose, expected) in signers {
        assert_eq!(signed_by(choose), Err(expected));
    }
    let (ca, subject) = ca();
    let mut says = Says::good();
    says.brings = false;
    let unbrought = says.signed_by(&ca.delegate(|_| {}), &subject);
    assert_eq!(
        read(&unbrought, &subject, SystemTime::now()),
        Err(Unfit::Signer("its certificate is not there"))
    );
}

#[test]
fn a_signature_that_does_not_fit_is_not_taken() {
    assert_eq!(verdict(|says| says.tampered = true), Err(Unfit::Signature));
    let (ca, subject) = ca();
    let mut says = Says::good();
    says.tampered = true;
    let tampered = says.signed_by(&ca.delegate(|_| {}), &subject);
    assert_eq!(
        read(&tampered, &subject, SystemTime::now()),
        Err(Unfit::Signature)
    );
}

#[test]
fn a_response_about_another_certificate_is_not_taken() {
    assert_eq!(
        verdict(|says| says.serial = Some(1)),
        Err(Unfit::OtherCertificate)
    );
    // Another CA's certificate, which a responder of both might be asked for.
    let (ca, _) = ca();
    let other = Ca::new("other CA");
    let of_other = Subject::of(&other.leaf(RESPONDER).key.cert).unwrap();
    let subject = Subject::of(&ca.leaf(RESPONDER).key.cert).unwrap();
    let response = Says::good().signed_by(&ca.signer(), &of_other);
    assert_eq!(
        read(&response, &subject, SystemTime::now()),
        Err(Unfit::OtherCertificate)
    );
}

#[test]
fn a_response_counts_within_its_time_only() {
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);
    assert_eq!(
        verdict(|says| says.next_update = Some(now - minute)),
        Err(Unfit::Expired)
    );
    assert_eq!(verdict(|says| says.next_update = None), Err(Unfit::NoEnd));
    assert_eq!(
        verdict(|says| says.this_update = now + HOUR / 2),
        Err(Unfit::Future)
    );
    assert_eq!(
        verdict(|says| says.produced_at = now + HOUR / 2),
        Err(Unfit::Future)
    );
    // Clocks differ a little.
    assert!(verdict(|says| says.this_update = now + minute).is_ok());
    let backwards = verdict(|says| {
        says.this_update = now + minute * 4;
        says.next_update = Some(now + minute * 2);
    });
    assert_eq!(backwards, Err(Unfit::Expired));
}

#[test]
fn revoked_is_known_and_unknown_is_no_answer() {
    let (ca, subject) = ca();
    let response = Says::revoked().signed_by(&ca.signer(), &subject);
    let verified = read(&response, &subject, SystemTime::now()).unwrap();
    assert_eq!(verified.revoked.unwrap().reason, "keyCompromise");
    assert_eq!(
        verdict(|says| says.status = CertStatus::Unknown(())),
        Err(Unfit::Unknown)
    );
}

#[test]
fn a_responder_that_gives_no_answer_is_told_by_its_own_word() {
    let (_, subject) = ca();
    let now = SystemTime::now();
    for (status, word) in [
        (OcspResponseStatus::MalformedRequest, "malformedRequest"),
        (OcspResponseStatus::InternalError, "internalError"),
        (OcspResponseStatus::TryLater, "tryLater"),
        (OcspResponseStatus::SigRequired, "sigRequired"),
        (OcspResponseStatus::Unauthorized, "unauthorized"),
    ] {
        assert_eq!(
            read(&whole(status, None), &subject, now),
            Err(Unfit::NoAnswer(word))
        );
    }
    let empty = whole(OcspResponseStatus::Successful, None);
    assert!(matches!(
        read(&empty, &subject, now),
        Err(Unfit::Unreadable(_))
    ));
    let hollow = whole(OcspResponseStatus::Successful, Some(Vec::new()));
    assert!(matches!(
        read(&hollow, &subject, now),
        Err(Unfit::Unreadable(_))
    ));
}

#[test]
fn garbage_and_what_is_too_long_are_told_apart_from_answers() {
    let (ca, subject) = ca();
    let now = SystemTime::now();
    let good = Says::good().signed_by(&ca.signer(), &subject);
    assert!(read(&good, &subject, now).is_ok());
    for garbage in [
        &b""[..],
        b"<html>",
        &[0x30, 0x80],
        &[0x30; 1000],
        &good[..good.len() - 1],
        &[&good[..], b"!"].concat(),
    ] {
        let found = read(garbage, &subject, now);
        assert!(matches!(found, Err(Unfit::Unreadable(_))), "{found:?}");
    }
    assert_eq!(
        read(&vec![0x30; RESPONSE_BYTES_MAX + 1], &subject, now),
        Err(Unfit::TooLong)
    );
}

#[test]
fn the_request_is_one_that_can_be_read() {
    let (_, subject) = ca();
    let request: rasn_ocsp::OcspRequest = rasn::der::decode(&subject.request().unwrap()).unwrap();
    let [asked] = &request.tbs_request.request_list[..] else {
        panic!("one certificate: {request:?}");
    };
    assert!(subject.is(&asked.req_cert));
}

#[test]
fn a_certificate_that_cannot_be_asked_for_says_why() {
    use super::super::subject::Unable;
    let ca = Ca::new("test CA");
    let of = |certificate: &crate::certificate::Certificate| {
        Subject::of(&certificate.key.cert).map(|_| ())
    };
    assert_eq!(of(&ca.leaf(None)), Err(Unable::NoResponder));
    assert_eq!(of(&ca.leaf(RESPONDER)), Ok(()));
    let unreachable = [
        "https://ca.test/",
        "ldap://ca.test/",
        "nonsense",
        "http://me@ca.test/",
    ];
    for responder in unreachable {
        let found = of(&ca.leaf(Some(responder)));
        assert_eq!(found, Err(Unable::Responder(responder.into())));
    }
    let alone = ca.leaf_with(RESPONDER, |_| {}, "");
    assert_eq!(of(&alone), Err(Unable::NoIssuer("CN=test CA".into())));
    let strangers = ca.leaf_with(RESPONDER, |_| {}, &Ca::new("other CA").pem);
    assert_eq!(of(&strangers), Err(Unable::NoIssuer("CN=test CA".into())));
    // In disorder, but there.
    let behind = Ca::new("other CA").pem + &ca.pem;
    assert_eq!(of(&ca.leaf_with(RESPONDER, |_| {}, &behind)), Ok(()));
}

#[test]
fn names_of_every_alphabet_are_compared_as_they_are() {
    let (ca, subject) = ca();
    let rename = |params: &mut rcgen::CertificateParams| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, "CH");
        name.push(DnType::OrganizationName, "Zürich & Söhne 株式会社");
    };
    let response = Says::good().signed_by(&ca.delegate(rename), &subject);
    assert!(read(&response, &subject, SystemTime::now()).is_ok());
}

/// What a response says, and nothing of how it was signed.
fn is_the_same(a: &Verified, b: &Verified) -> bool {
    (a.revoked, a.this_update, a.next_update) == (b.revoked, b.this_update, b.next_update)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done to a response, it is refused, or says what it said before.
    #[test]
    fn no_change_of_a_response_makes_it_say_something_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
        delegated: bool,
    ) {
        let (ca, subject) = FIXED.with(|(ca, subject)| (ca.clone(), subject.clone()));
        let signer = if delegated { ca.delegate(|_| {}) } else { ca.signer() };
        let now = SystemTime::now();
        let good = Says::good().signed_by(&signer, &subject);
        let before = read(&good, &subject, now).unwrap();
        let mut bytes = good;
        for (index, byte, what) in changes {
            let at = index.index(bytes.len());
            match what {
                0 => bytes[at] ^= byte.max(1),
                1 => bytes.insert(at, byte),
                // One byte is left, for the next change to find.
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if let Ok(after) = read(&bytes, &subject, now) {
            prop_assert!(is_the_same(&before, &after), "{before:?} {after:?}");
        }
    }
}

thread_local! {
    /// One for all cases: keys take a while to make.
    static FIXED: (std::rc::Rc<Ca>, Subject) = {
        let (ca, subject) = ca();
        (std::rc::Rc::new(ca), subject)
    };
}
