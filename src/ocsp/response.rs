//! Reading a response as a strict client does (RFC 6960 section 3.2, RFC 5019): what is not certain is not shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rasn::types::Oid;
use rasn_ocsp::{
    CertStatus, OcspResponse, OcspResponseStatus, ResponderId, ResponseData, SingleResponse,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::fetch::RESPONSE_BYTES_MAX;
use super::signature::Signed;
use super::subject::{Subject, hashed};

/// A response that is about the certificate, signed by whom its CA trusts, and current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When the certificate was revoked, if it was.
    pub revoked: Option<Revoked>,
    /// Since when the response is true.
    pub this_update: SystemTime,
    /// When there will be a newer one.
    pub next_update: SystemTime,
    /// When it stops being of use: then, or when its signer's certificate ends.
    pub until: SystemTime,
}

/// That a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When.
    pub since: SystemTime,
    /// Why (RFC 5280 section 5.3.1), where the CA says it.
    pub reason: &'static str,
}

/// Why a response is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More than a response ever needs.
    #[error("the response is longer than {RESPONSE_BYTES_MAX} bytes")]
    TooLong,
    /// Not what RFC 6960 describes.
    #[error("the response cannot be read ({0})")]
    Unreadable(&'static str),
    /// The responder gives none.
    #[error("the responder gives no answer: {0}")]
    NoAnswer(&'static str),
    /// It is about another certificate.
    #[error("the response is about another certificate")]
    OtherCertificate,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
    /// It is not valid yet.
    #[error("the response is from the future: is this machine's clock right?")]
    Future,
    /// It is not valid any more.
    #[error("the response has expired")]
    Expired,
    /// It does not say until when it is valid.
    #[error("the response does not say until when it is valid")]
    NoEnd,
    /// Who signed it is neither the issuer nor named by it.
    #[error("the response is signed by nobody whom the certificate's issuer has named ({0})")]
    Signer(&'static str),
    /// The signature is not right.
    #[error("the response's signature is wrong, or of a kind that clients refuse")]
    Signature,
}

/// Reads a response for a certificate, as of `now`.
pub fn read(response: &[u8], subject: &Subject, now: SystemTime) -> Result<Verified, Unfit> {
    if response.len() > RESPONSE_BYTES_MAX {
        return Err(Unfit::TooLong);
    }
    let (signed, data) = open(response)?;
    let signer_until = verify(&signed, &data, subject, now)?;
    if time(data.produced_at.timestamp()) > now + SKEW {
        return Err(Unfit::Future);
    }
    // A responder may answer twice for one certificate, under two hashes: the newest counts.
    let answer = data
        .responses
        .iter()
        .filter(|answer| subject.is(&answer.cert_id))
        .max_by_key(|answer| answer.this_update)
        .ok_or(Unfit::OtherCertificate)?;
    judge(answer, signer_until, now)
}

/// What one answer says.
fn judge(
    answer: &SingleResponse,
    signer_until: SystemTime,
    now: SystemTime,
) -> Result<Verified, Unfit> {
    let this_update = time(answer.this_update.timestamp());
    let next_update = answer.next_update.ok_or(Unfit::NoEnd)?;
    let next_update = time(next_update.timestamp());
    if this_update > now + SKEW {
        return Err(Unfit::Future);
    }
    let until = next_update.min(signer_until);
    if until <= now || next_update <= this_update {
        return Err(Unfit::Expired);
    }
    let revoked = match &answer.cert_status {
        CertStatus::Good => None,
        CertStatus::Unknown(()) => return Err(Unfit::Unknown),
        CertStatus::Revoked(info) => Some(Revoked {
            since: time(info.revocation_time.timestamp()),
            reason: info.revocation_reason.map_or("no reason given", reason),
        }),
    };
    Ok(Verified {
        revoked,
        this_update,
        next_update,
        until,
    })
}

/// The layers around what a response says.
fn open(response: &[u8]) -> Result<(Signed, ResponseData), Unfit> {
    let response: OcspResponse =
        rasn::der::decode(response).map_err(|_| Unfit::Unreadable("it is no OCSP response"))?;
    match response.status {
        OcspResponseStatus::Successful => {}
        OcspResponseStatus::MalformedRequest => return Err(Unfit::NoAnswer("malformedRequest")),
        OcspResponseStatus::InternalError => return Err(Unfit::NoAnswer("internalError")),
        OcspResponseStatus::TryLater => return Err(Unfit::NoAnswer("tryLater")),
        OcspResponseStatus::SigRequired => return Err(Unfit::NoAnswer("sigRequired")),
        OcspResponseStatus::Unauthorized => return Err(Unfit::NoAnswer("unauthorized")),
    }
    let bytes = response.bytes.ok_or(Unfit::Unreadable("it is empty"))?;
    if &*bytes.r#type != BASIC {
        return Err(Unfit::Unreadable("it is not of the basic type"));
    }
    let signed: Signed = rasn::der::decode(&bytes.response)
        .map_err(|_| Unfit::Unreadable("it is no basic response"))?;
    let data = rasn::der::decode(signed.content.as_bytes())
        .map_err(|_| Unfit::Unreadable("its data are broken"))?;
    Ok((signed, data))
}

/// Whether the right one has signed, and until when that one may (RFC 6960 section 4.2.2.2).
fn verify(
    signed: &Signed,
    data: &ResponseData,
    subject: &Subject,
    now: SystemTime,
) -> Result<SystemTime, Unfit> {
    let (_, issuer) = X509Certificate::from_der(subject.issuer.as_ref())
        .map_err(|_| Unfit::Signer("the issuer's certificate cannot be read"))?;
    if is_responder(&data.responder_id, &issuer) {
        return match signed.is_signed_by(issuer.public_key().raw) {
            true => Ok(time(issuer.validity().not_after.timestamp())),
            false => Err(Unfit::Signature),
        };
    }
    let brought = signed.certificates.iter().flatten();
    for der in brought.take(SIGNERS_MAX) {
        let Ok(([], signer)) = X509Certificate::from_der(der.as_bytes()) else {
            continue;
        };
        if is_responder(&data.responder_id, &signer) {
            let until = named_by(&issuer, der.as_bytes(), &signer, now).map_err(Unfit::Signer)?;
            return match signed.is_signed_by(signer.public_key().raw) {
                true => Ok(until),
                false => Err(Unfit::Signature),
            };
        }
    }
    Err(Unfit::Signer("its certificate is not there"))
}

/// Whether the issuer has named this one to sign its responses, and until when.
fn named_by(
    issuer: &X509Certificate<'_>,
    der: &[u8],
    signer: &X509Certificate<'_>,
    now: SystemTime,
) -> Result<SystemTime, &'static str> {
    let begins = time(signer.validity().not_before.timestamp());
    let ends = time(signer.validity().not_after.timestamp());
    if signer.issuer().as_raw() != issuer.subject().as_raw() {
        return Err("its certificate is another CA's");
    }
    let may_sign =
        (signer.extended_key_usage().ok().flatten()).is_some_and(|usage| usage.value.ocsp_signing);
    if !may_sign {
        return Err("its certificate is not for OCSP signing");
    }
    if begins > now + SKEW || ends <= now {
        return Err("its certificate is not valid now");
    }
    let signed: Signed = rasn::der::decode(der).map_err(|_| "its certificate cannot be read")?;
    match signed.is_signed_by(issuer.public_key().raw) {
        true => Ok(ends),
        false => Err("its certificate is not signed by the issuer"),
    }
}

/// Whether a response says that this one has signed it.
fn is_responder(id: &ResponderId, certificate: &X509Certificate<'_>) -> bool {
    match id {
        ResponderId::ByName(name) => {
            rasn::der::encode(name).is_ok_and(|name| name == certificate.subject().as_raw())
        }
        ResponderId::ByKey(hash) => {
            let key = certificate.public_key().subject_public_key.data.as_ref();
            *hash == hashed(&digest::SHA1_FOR_LEGACY_USE_ONLY, key)
        }
    }
}

fn reason(reason: rasn_pkix::CrlReason) -> &'static str {
    use rasn_pkix::CrlReason;
    match reason {
        CrlReason::Unspecified => "unspecified",
        CrlReason::KeyCompromise => "keyCompromise",
        CrlReason::CaCompromise => "cACompromise",
        CrlReason::AffiliationChanged => "affiliationChanged",
        CrlReason::Superseded => "superseded",
        CrlReason::CessationOfOperation => "cessationOfOperation",
        CrlReason::CertificateHold => "certificateHold",
        CrlReason::RemoveFromCRL => "removeFromCRL",
        CrlReason::PrivilegeWithdrawn => "privilegeWithdrawn",
        CrlReason::AaCompromise => "aACompromise",
    }
}

/// Seconds since 1970; what lies before is long over either way.
pub(super) fn time(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// id-pkix-ocsp-basic (RFC 6960 section 4.2.1).
const BASIC: &Oid = Oid::const_new(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1]);

/// How far a responder's clock may be ahead of ours. OpenSSL's clients grant as much.
const SKEW: Duration = Duration::from_secs(300);

/// A response brings its signer's certificate, and perhaps one or two above it.
const SIGNERS_MAX: usize = 8;

#[cfg(test)]
mod tests;
