//! A client's certificate: what was asked of it, and what is known of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::HeaderValue;

use super::base64;

/// What a binding asks of the certificates of its clients, in a sentence. Two bindings with the same sentence ask the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTerms(Arc<str>);

/// A certificate that a client has shown, has proven to hold the key of, and that was found good.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Its subject as RFC 4514 writes it, the most specific part first: `CN=alice,O=Shop`.
    pub subject: Box<str>,
    /// Its issuer, in the same way.
    pub issuer: Box<str>,
    /// Its serial number in upper-case hexadecimal digits, as openssl writes it.
    pub serial: Box<str>,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// Its subject's alternative names.
    pub names: Box<[AlternativeName]>,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends to be valid.
    pub not_after: SystemTime,
    /// DER: the certificate, and behind it those that came with it and were looked at.
    pub chain: Box<[Box<[u8]>]>,
    fields: OnceLock<Fields>,
}

/// A name of a certificate's subject (RFC 5280 section 4.2.1.6); other kinds are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host.
    Dns(Box<str>),
    /// A mailbox.
    Email(Box<str>),
    /// A URI, such as SPIFFE's.
    Uri(Box<str>),
    /// An address.
    Ip(IpAddr),
}

/// RFC 9440's fields, written once a connection.
#[derive(Debug)]
struct Fields {
    leaf: HeaderValue,
    chain: Option<HeaderValue>,
}

/// Whoever found a certificate good, and may think otherwise by now.
pub trait Judge: Send + Sync {
    /// Changes whenever a judgement may have changed.
    fn revision(&self) -> u64;

    /// What is wrong with a certificate, in a sentence.
    fn objection(&self, certificate: &ClientCertificate) -> Option<String>;
}

/// What a handshake has asked of its client, and what it was shown.
pub struct ClientIdentity {
    /// What it asked.
    pub terms: ClientTerms,
    /// What the client showed; none where it may do without, and did.
    pub certificate: Option<ClientCertificate>,
    judge: Arc<dyn Judge>,
    /// The revision that the certificate was last found good at.
    judged: AtomicU64,
}

impl ClientTerms {
    /// Terms in a sentence.
    pub fn new(sentence: impl fmt::Display) -> Self {
        Self(sentence.to_string().into())
    }

    /// The sentence.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a certificate says of itself.
#[derive(Debug)]
pub struct ClientCertificateParts {
    /// See [`ClientCertificate::subject`].
    pub subject: String,
    /// See [`ClientCertificate::issuer`].
    pub issuer: String,
    /// See [`ClientCertificate::serial`].
    pub serial: String,
    /// See [`ClientCertificate::fingerprint`].
    pub fingerprint: String,
    /// See [`ClientCertificate::names`].
    pub names: Vec<AlternativeName>,
    /// See [`ClientCertificate::not_before`].
    pub not_before: SystemTime,
    /// See [`ClientCertificate::not_after`].
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// A certificate and those that came with it; `chain` is not empty.
    pub fn new(parts: ClientCertificateParts, chain: Vec<Box<[u8]>>) -> Self {
        debug_assert!(!chain.is_empty(), "the certificate itself is the first");
        Self {
            subject: parts.subject.into(),
            issuer: parts.issuer.into(),
            serial: parts.serial.into(),
            fingerprint: parts.fingerprint.into(),
            names: parts.names.into(),
            not_before: parts.not_before,
            not_after: parts.not_after,
            chain: chain.into(),
            fields: OnceLock::new(),
        }
    }

    /// `Client-Cert` (RFC 9440 section 2.2): the certificate as a Byte Sequence of RFC 8941.
    pub fn field(&self) -> &HeaderValue {
        &self.fields().leaf
    }

    /// `Client-Cert-Chain` (RFC 9440 section 2.3): a List of the certificates that came with it; none where none came.
    pub fn chain_field(&self) -> Option<&HeaderValue> {
        self.fields().chain.as_ref()
    }

    fn fields(&self) -> &Fields {
        self.fields.get_or_init(|| {
            let (leaf, rest) = self.chain.split_at(1.min(self.chain.len()));
            Fields {
                leaf: byte_sequences(leaf),
                chain: (!rest.is_empty()).then(|| byte_sequences(rest)),
            }
        })
    }
}

/// Byte Sequences (RFC 8941 section 4.1.8), as members of a List (section 4.1.1) where there are several.
fn byte_sequences(members: &[Box<[u8]>]) -> HeaderValue {
    let mut text = String::with_capacity(members.iter().map(|m| m.len() * 4 / 3 + 8).sum());
    for (index, member) in members.iter().enumerate() {
        text.push_str(if index == 0 { ":" } else { ", :" });
        base64::encode(member, &mut text);
        text.push(':');
    }
    HeaderValue::try_from(text).expect("base64, colons, commas and spaces are visible ASCII")
}

impl ClientIdentity {
    /// A certificate that `judge` found good at `revision`, or none.
    pub fn new(
        terms: ClientTerms,
        certificate: Option<ClientCertificate>,
        judge: Arc<dyn Judge>,
        revision: u64,
    ) -> Self {
        Self {
            terms,
            certificate,
            judge,
            judged: AtomicU64::new(revision),
        }
    }

    /// Why the client's certificate is no longer good, if it is not: the certificate has expired, or is looked at again
    /// because a CA or a list of revoked certificates has changed since it last was.
    pub fn objection(&self, now: SystemTime) -> Option<String> {
        let certificate = self.certificate.as_ref()?;
        if now > certificate.not_after {
            return Some("it has expired since the handshake".to_owned());
        }
        let revision = self.judge.revision();
        if revision == self.judged.load(Ordering::Relaxed) {
            return None;
        }
        let objection = self.judge.objection(certificate);
        if objection.is_none() {
            self.judged.store(revision, Ordering::Relaxed);
        }
        objection
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("terms", &self.terms)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// `dns:www.shop.test`, `email:alice@shop.test`, `uri:spiffe://shop.test/web`, `ip:192.0.2.1`.
impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Ip(ip) => write!(f, "ip:{ip}"),
        }
    }
}

#[cfg(test)]
mod tests;
