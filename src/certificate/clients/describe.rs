//! What a certificate of a client says of itself.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::distinguished;
use crate::certificate::details::fingerprint;
use crate::certificate::pair::time;
use crate::model::{AlternativeName, ClientCertificate, ClientCertificateParts};

/// What a certificate says of itself; none where it cannot be read.
pub fn describe(der: &[u8]) -> Option<ClientCertificateParts> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(ClientCertificateParts {
        subject: distinguished::text(parsed.subject()),
        issuer: distinguished::text(parsed.issuer()),
        serial: serial(parsed.raw_serial()),
        fingerprint: fingerprint(der),
        names: names(&parsed),
        not_before: time(parsed.validity().not_before.timestamp()),
        not_after: time(parsed.validity().not_after.timestamp()),
    })
}

/// A client's certificate and those that came with it; none where there is none, or it cannot be read.
pub fn describe_chain<T: AsRef<[u8]>>(chain: &[T]) -> Option<ClientCertificate> {
    let parts = describe(chain.first()?.as_ref())?;
    let chain = chain.iter().map(|der| der.as_ref().into()).collect();
    Some(ClientCertificate::new(parts, chain))
}

/// A serial number as openssl writes it: without the zero that keeps DER's number positive.
fn serial(raw: &[u8]) -> String {
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    let kept = zeros.min(raw.len().saturating_sub(1));
    raw[kept..]
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<AlternativeName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    (extension.value.general_names.iter())
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(AlternativeName::Dns((*name).into())),
            GeneralName::RFC822Name(name) => Some(AlternativeName::Email((*name).into())),
            GeneralName::URI(name) => Some(AlternativeName::Uri((*name).into())),
            GeneralName::IPAddress(bytes) => ip(bytes).map(AlternativeName::Ip),
            _ => None,
        })
        .collect()
}

/// An address as a certificate holds it: 4 or 16 bytes (RFC 5280 section 4.2.1.6).
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}
