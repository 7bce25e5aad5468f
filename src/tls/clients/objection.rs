//! Why a client's certificate is refused, in a sentence.
//!
//! rustls tells an error that fits into an alert; which certificate it is about is known only to the verifier, which one
//! configuration shares among all its handshakes. So a handshake is made under a [`watched`] roof, where the verifier leaves what
//! it knows for whoever awaits the end.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use crate::certificate::{ClientCas, date, describe};
use crate::model::{ClientCertificateParts, Reason, Refusal};

/// Why a client's certificate is refused.
#[derive(Debug)]
pub(in crate::tls) struct Objection {
    /// For a person.
    pub(in crate::tls) sentence: String,
    /// The certificate's subject, where there is one that can be read.
    pub(in crate::tls) subject: Option<String>,
    /// The certificate's fingerprint.
    pub(in crate::tls) fingerprint: Option<String>,
    /// The alert that says it best.
    pub(in crate::tls) alert: rustls::AlertDescription,
}

tokio::task_local! {
    static LEFT: RefCell<Option<Objection>>;
}

/// Awaits a handshake, and what its verifier had to object.
pub(in crate::tls) async fn watched<F: Future>(handshake: F) -> (F::Output, Option<Objection>) {
    let inside = async { (handshake.await, LEFT.with(RefCell::take)) };
    LEFT.scope(RefCell::default(), inside).await
}

/// The same of a step that does not wait.
pub(in crate::tls) fn watched_now<T>(step: impl FnOnce() -> T) -> (T, Option<Objection>) {
    LEFT.sync_scope(RefCell::default(), || (step(), LEFT.with(RefCell::take)))
}

/// Leaves an objection for whoever watches; nobody may.
pub(super) fn remember(objection: Objection) {
    let _ = LEFT.try_with(|left| *left.borrow_mut() = Some(objection));
}

impl Objection {
    /// As the error log counts it.
    pub(in crate::tls) fn refusal(&self) -> Refusal {
        Refusal::new(Reason::TlsClientCertificate, self.sentence.clone())
    }

    /// The client of a resumed session has shown none.
    pub(super) fn none_shown() -> Self {
        Self {
            sentence: NONE_SHOWN.to_owned(),
            subject: None,
            fingerprint: None,
            alert: rustls::AlertDescription::CertificateRequired,
        }
    }

    pub(super) fn unreadable(chain: &[CertificateDer<'_>]) -> Self {
        let error = CertificateError::BadEncoding.into();
        let shown = chain.first().and_then(|der| describe(der));
        Self::new(&error, shown, "it cannot be read")
    }

    /// The client cannot show that the key is its own.
    pub(super) fn to_proof(error: &Error, certificate: &CertificateDer<'_>) -> Self {
        let why = format!(
            "the client did not prove that it holds the key: its signature of the handshake is wrong ({error})"
        );
        Self::new(error, describe(certificate), &why)
    }

    /// `rest`: what came with the certificate and was looked at; `left_out`: how many were not.
    pub(super) fn to_certificate(
        error: &Error,
        end_entity: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        left_out: usize,
        cas: &ClientCas,
        now: SystemTime,
    ) -> Self {
        let shown: Vec<_> = (std::iter::once(end_entity).chain(rest))
            .filter_map(|der| describe(der))
            .collect();
        let case = Case {
            shown: &shown,
            left_out,
            cas,
            now,
        };
        let why = case.why(error);
        Self::new(error, describe(end_entity), &why)
    }

    fn new(error: &Error, shown: Option<ClientCertificateParts>, why: &str) -> Self {
        let mut sentence = "the client's certificate".to_owned();
        if let Some(shown) = &shown {
            // A write to a String cannot fail.
            let _ = write!(sentence, " {} (serial {})", shown.subject, shown.serial);
        }
        let _ = write!(sentence, " is refused: {why}");
        let (subject, fingerprint) = shown.map_or((None, None), |shown| {
            (Some(shown.subject), Some(shown.fingerprint))
        });
        Self {
            sentence,
            subject,
            fingerprint,
            alert: match error {
                Error::InvalidCertificate(error) => error.clone().into(),
                _ => rustls::AlertDescription::CertificateUnknown,
            },
        }
    }
}

/// What there is to be looked at.
struct Case<'a> {
    /// The certificate and those that came with it.
    shown: &'a [ClientCertificateParts],
    left_out: usize,
    cas: &'a ClientCas,
    now: SystemTime,
}

impl Case<'_> {
    fn why(&self, error: &Error) -> String {
        use CertificateError as E;
        let error = match error {
            Error::InvalidCertificate(error) => error,
            Error::InvalidCertRevocationList(error) => {
                return format!("its CA's list of revoked certificates cannot be used: {error:?}");
            }
            other => return other.to_string(),
        };
        match error {
            E::Expired | E::ExpiredContext { .. } => self.expired(),
            E::NotValidYet | E::NotValidYetContext { .. } => self.not_yet_valid(),
            E::UnknownIssuer => self.unknown_issuer(),
            E::Revoked if self.shown.len() > 1 => {
                "it has been revoked, or a CA's that came with it".to_owned()
            }
            E::Revoked => "it has been revoked".to_owned(),
            E::UnknownRevocationStatus => format!(
                "no list of revoked certificates is there of every CA that issued it ({}); give `crl` one, or set `crl_missing`",
                self.issuers()
            ),
            E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
                self.list_expired()
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                "its extended key usage lacks clientAuth".to_owned()
            }
            E::BadSignature => "it is not signed with its issuer's key".to_owned(),
            E::BadEncoding => "it cannot be read".to_owned(),
            other => other.to_string(),
        }
    }

    fn expired(&self) -> String {
        let found = self.shown.iter().position(|one| one.not_after < self.now);
        match found.map(|index| (index, &self.shown[index])) {
            Some((0, own)) => format!("it expired at {}", date(own.not_after)),
            Some((_, other)) => format!(
                "{}, which came with it, expired at {}",
                other.subject,
                date(other.not_after)
            ),
            None => "it has expired".to_owned(),
        }
    }

    fn not_yet_valid(&self) -> String {
        let found = self.shown.iter().position(|one| one.not_before > self.now);
        match found.map(|index| (index, &self.shown[index])) {
            Some((0, own)) => format!("it is not valid before {}", date(own.not_before)),
            Some((_, other)) => format!(
                "{}, which came with it, is not valid before {}",
                other.subject,
                date(other.not_before)
            ),
            None => "it is not valid yet".to_owned(),
        }
    }

    /// The issuer that is missing: that of the last certificate that follows from the client's own.
    fn unknown_issuer(&self) -> String {
        let Some(mut top) = self.shown.first() else {
            return "no known CA issued it".to_owned();
        };
        for next in &self.shown[1..] {
            if next.subject == top.issuer && next.subject != top.subject {
                top = next;
            }
        }
        let issuer = &top.issuer;
        let file = self.cas.file.display();
        let known = self.cas.cas.iter().find(|ca| ca.subject == *issuer);
        let mut why = match known {
            Some(ca) if !ca.is_valid(self.now) => format!(
                "its issuer {issuer} in {file} is valid from {} to {} only",
                date(ca.not_before),
                date(ca.not_after)
            ),
            Some(_) => {
                format!("the CA {issuer} in {file} has the name of its issuer, and another key")
            }
            None if std::ptr::eq(top, &self.shown[0]) => {
                format!("{issuer}, which issued it, is no CA in {file}")
            }
            None => format!(
                "{issuer}, which issued {} that came with it, is no CA in {file}",
                top.subject
            ),
        };
        if self.left_out > 0 {
            // A write to a String cannot fail.
            let _ = write!(
                why,
                "; {} more came with it than `depth` allows",
                self.left_out
            );
        } else if known.is_none() {
            why.push_str(", and no certificate that leads there came with it");
        }
        why
    }

    fn list_expired(&self) -> String {
        let issued = |issuer: &str| self.shown.iter().any(|one| one.issuer == issuer);
        let expired = (self.cas.lists.iter())
            .find(|list| list.next_update <= self.now && issued(&list.issuer));
        match expired {
            Some(list) => format!(
                "the list of revoked certificates of {} in {} is out of date since {}",
                list.issuer,
                list.file.display(),
                date(list.next_update)
            ),
            None => "its CA's list of revoked certificates is out of date".to_owned(),
        }
    }

    fn issuers(&self) -> String {
        let issuers: Vec<_> = self.shown.iter().map(|one| one.issuer.as_str()).collect();
        issuers.join("; ")
    }
}

pub(in crate::tls) const NONE_SHOWN: &str =
    "the binding requires a client certificate, and the client sent none";
