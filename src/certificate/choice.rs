//! The certificates of one name, and which of them a client is shown.

use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::{CipherSuite, SignatureAlgorithm, SignatureScheme};

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

    /// The first that the client can check. Where it can check none, the handshake fails with the preferred one, and says why.
    pub fn for_client(&self, offered: Option<&Offered<'_>>) -> &Arc<Certificate> {
        let Some(offered) = offered.filter(|_| !self.others.is_empty()) else {
            return &self.preferred;
        };
        self.all()
            .find(|certificate| offered.can_check(certificate))
            .unwrap_or(&self.preferred)
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

    fn can_check(&self, certificate: &Certificate) -> bool {
        let key = &certificate.key.key;
        let signs = key.choose_scheme(self.signatures).is_some();
        // Whoever offers a suite of TLS 1.3 speaks it, and its suites say nothing of keys.
        signs
            && (self.suites.iter().any(|suite| is_tls13(*suite))
                || self.has_suite_for(key.algorithm()))
    }

    /// RFC 5289, RFC 7905: of the suites that rustls speaks in TLS 1.2, those for this kind of key.
    fn has_suite_for(&self, kind: SignatureAlgorithm) -> bool {
        use CipherSuite as S;
        self.suites.iter().any(|suite| match suite {
            S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
                matches!(
                    kind,
                    SignatureAlgorithm::ECDSA | SignatureAlgorithm::ED25519
                )
            }
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => kind == SignatureAlgorithm::RSA,
            _ => false,
        })
    }
}

fn is_tls13(suite: CipherSuite) -> bool {
    matches!(u16::from(suite), 0x1301..=0x1305)
}

/// In the order of preference: a signature of ECDSA costs a tenth of one of RSA, and few clients know Ed25519.
fn kind(certificate: &Certificate) -> u8 {
    match certificate.key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::RSA => 1,
        _ => 2,
    }
}
