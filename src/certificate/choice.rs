//! The certificates of one name, and which of them a client is shown.

use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::{CipherSuite, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite};

use super::pair::Certificate;

/// The certificates of one name, one for each kind of key; never none.
#[derive(Clone, Debug)]
pub struct Choice {
    preferred: Arc<Certificate>,
    others: Vec<Arc<Certificate>>,
}

/// What a client says that it can check, in its ClientHello.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// `signature_algorithms` (RFC 8446 section 4.2.3).
    pub signatures: &'a [SignatureScheme],
    /// Its cipher suites: up to TLS 1.2 they name the kind of key.
    pub suites: &'a [CipherSuite],
}

impl Choice {
    /// Of the certificates of a name, in the order of their files: of two whose keys are of one kind the first is shown.
    pub fn of(certificates: &[Arc<Certificate>]) -> Option<Self> {
        let mut kinds: Vec<Arc<Certificate>> = Vec::new();
        for certificate in certificates {
            if kinds.iter().all(|other| kind(other) != kind(certificate)) {
                kinds.push(Arc::clone(certificate));
            }
        }
        kinds.sort_by_key(|certificate| kind(certificate));
        let mut kinds = kinds.into_iter();
        Some(Self {
            preferred: kinds.next()?,
            others: kinds.collect(),
        })
    }

    /// What is shown to whoever can check it.
    pub fn preferred(&self) -> &Arc<Certificate> {
        &self.preferred
    }

    /// All of them, the preferred one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        std::iter::once(&self.preferred).chain(&self.others)
    }

    /// The first that the client can check, over one of the suites that are spoken. Where it can check none, the handshake fails
    /// with the preferred one, and says why.
    pub fn for_client<'s>(
        &self,
        offered: Option<&Offered<'_>>,
        spoken: impl Iterator<Item = &'s SupportedCipherSuite>,
    ) -> &Arc<Certificate> {
        let Some(offered) = offered.filter(|_| !self.others.is_empty()) else {
            return &self.preferred;
        };
        let common: Vec<_> = spoken
            .filter(|suite| offered.suites.contains(&suite.suite()))
            .collect();
        // TLS 1.3 is spoken where both can, and its suites say nothing of keys.
        let is_tls13 = common.iter().any(|suite| suite.tls13().is_some());
        let can_check = |certificate: &&Arc<Certificate>| {
            let key = &certificate.key.key;
            let signs = |suite: &&SupportedCipherSuite| match suite {
                SupportedCipherSuite::Tls12(suite) => {
                    let both = |scheme: &&SignatureScheme| offered.signatures.contains(scheme);
                    let schemes: Vec<_> = suite.sign.iter().filter(both).copied().collect();
                    key.choose_scheme(&schemes).is_some()
                }
                SupportedCipherSuite::Tls13(_) => false,
            };
            match is_tls13 {
                true => key.choose_scheme(offered.signatures).is_some(),
                false => common.iter().any(signs),
            }
        };
        self.all().find(can_check).unwrap_or(&self.preferred)
    }
}

impl From<Arc<Certificate>> for Choice {
    fn from(preferred: Arc<Certificate>) -> Self {
        Self {
            preferred,
            others: Vec::new(),
        }
    }
}

impl<'a> Offered<'a> {
    /// What a client says.
    pub fn of(hello: &'a ClientHello<'_>) -> Self {
        Self {
            signatures: hello.signature_schemes(),
            suites: hello.cipher_suites(),
        }
    }
}

/// In the order of preference: a signature of ECDSA costs a tenth of one of RSA, and few clients know Ed25519.
fn kind(certificate: &Certificate) -> u8 {
    match certificate.key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::RSA => 1,
        _ => 2,
    }
}
