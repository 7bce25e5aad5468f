//! What is to be known of one certificate, whatever its place in a chain: read once, and kept without its bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Whom it is for, as RFC 4514 writes names.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its number at its issuer, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub fingerprint: String,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends to be valid.
    pub not_after: SystemTime,
    /// Its key.
    pub key: KeyKind,
    /// What it was signed with.
    pub signature: Signature,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// Whether it may be shown by a server: serverAuth is among its extended key usages, or it has none.
    pub for_servers: bool,
    /// Whether it says who answers for it by OCSP (RFC 6960 section 3.1).
    pub has_responder: bool,
    /// Whether it says where its issuer is fetched, as those of public CAs do (RFC 5280 section 4.2.2.1).
    pub says_where: bool,
    /// Names as they stand in it: comparing their text would take two writings for one.
    subject_raw: Vec<u8>,
    issuer_raw: Vec<u8>,
    key_id: Option<Vec<u8>>,
    issuer_key_id: Option<Vec<u8>>,
}

/// A certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with a modulus of so many bits.
    Rsa(usize),
    /// A curve, by the name that people use.
    Curve(&'static str),
    /// Another, by its object identifier.
    Other(String),
}

/// What a certificate was signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// With MD5 or older: anybody can make another of it.
    Md5,
    /// With SHA-1, which clients have refused since 2017.
    Sha1,
    /// With nothing that is known to be broken.
    Sound,
}

impl Details {
    /// Reads a certificate; its error is what the parser says.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let purposes = certificate.extended_key_usage().ok().flatten();
        let mut read = Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: hex(certificate.raw_serial()),
            fingerprint: fingerprint(der),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            key: KeyKind::of(certificate.public_key()),
            signature: Signature::of(&certificate.signature_algorithm.algorithm.to_id_string()),
            is_ca: certificate.is_ca(),
            for_servers: purposes.is_none_or(|purposes| purposes.value.server_auth),
            has_responder: false,
            says_where: false,
            subject_raw: certificate.subject().as_raw().to_vec(),
            issuer_raw: certificate.issuer().as_raw().to_vec(),
            key_id: None,
            issuer_key_id: None,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityInfoAccess(access) => {
                    let methods = access.accessdescs.iter().map(|place| &place.access_method);
                    for method in methods.map(|method| method.to_id_string()) {
                        read.says_where |= method == CA_ISSUERS;
                        read.has_responder |= method == OCSP;
                    }
                }
                ParsedExtension::SubjectKeyIdentifier(id) => read.key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    read.issuer_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Whether it names itself as its issuer: a root, or a leaf that nobody vouches for.
    pub fn is_self_issued(&self) -> bool {
        self.subject_raw == self.issuer_raw
    }

    /// Whether `other` may have issued this one, by name and key identifier; whether it did is for its key to say.
    pub fn may_come_from(&self, other: &Self) -> bool {
        let same_key = match (&self.issuer_key_id, &other.key_id) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        };
        self.issuer_raw == other.subject_raw && same_key
    }

    /// Whether both are for the same subject: two certificates of one CA, say, by two issuers.
    pub fn has_subject_of(&self, other: &Self) -> bool {
        self.subject_raw == other.subject_raw
    }
}

impl KeyKind {
    fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = key.algorithm.algorithm.to_id_string();
        match algorithm.as_str() {
            // rsaEncryption and id-RSASSA-PSS
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => match key.parsed() {
                Ok(x509_parser::public_key::PublicKey::RSA(rsa)) => Self::Rsa(bits(rsa.modulus)),
                _ => Self::Other("RSA that cannot be read".to_owned()),
            },
            "1.2.840.10045.2.1" => {
                let curve = (key.algorithm.parameters.as_ref())
                    .and_then(|curve| curve.as_oid().ok())
                    .map_or_else(String::new, |curve| curve.to_id_string());
                match curve.as_str() {
                    "1.2.840.10045.3.1.7" => Self::Curve("P-256"),
                    "1.3.132.0.34" => Self::Curve("P-384"),
                    "1.3.132.0.35" => Self::Curve("P-521"),
                    "1.3.132.0.10" => Self::Curve("secp256k1"),
                    "1.3.132.0.33" => Self::Curve("P-224"),
                    _ => Self::Other(format!("the curve {curve}")),
                }
            }
            "1.3.101.112" => Self::Curve("Ed25519"),
            "1.3.101.113" => Self::Curve("Ed448"),
            "1.2.840.10040.4.1" => Self::Other("DSA".to_owned()),
            _ => Self::Other(algorithm),
        }
    }

    /// What is weak or odd in it for a server's certificate, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Rsa(..RSA_BITS_MIN) => Some("clients refuse RSA keys of fewer than 2048 bits"),
            Self::Rsa(_) | Self::Curve("P-256" | "P-384") => None,
            // CA/Browser Forum, Baseline Requirements 6.1.5: no CA issues them, and most browsers know none.
            Self::Curve(_) => Some("most browsers know only P-256 and P-384"),
            Self::Other(_) => Some("no client of today knows it"),
        }
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Curve(name @ ("Ed25519" | "Ed448")) => f.write_str(name),
            Self::Curve(name) => write!(f, "ECDSA {name}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl Signature {
    fn of(algorithm: &str) -> Self {
        match algorithm {
            // md2, md4 and md5 with RSA
            "1.2.840.113549.1.1.2" | "1.2.840.113549.1.1.3" | "1.2.840.113549.1.1.4" => Self::Md5,
            // SHA-1 with RSA (twice), DSA and ECDSA
            "1.2.840.113549.1.1.5"
            | "1.3.14.3.2.29"
            | "1.2.840.10040.4.3"
            | "1.2.840.10045.4.1" => Self::Sha1,
            _ => Self::Sound,
        }
    }
}

/// The SHA-256 of a certificate, in hexadecimal.
pub(super) fn fingerprint(der: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    (bytes.iter())
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let rest = &modulus[zeros..];
    let leading = rest.first().map_or(0, |byte| byte.leading_zeros());
    rest.len() * 8 - leading as usize
}

fn time(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// CA/Browser Forum, Baseline Requirements 6.1.5.
const RSA_BITS_MIN: usize = 2048;

/// id-ad-caIssuers (RFC 5280 section 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// id-ad-ocsp, there as well.
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
