//! What is shown beside a certificate's chain: an OCSP response of its CA's (RFC 6066 section 8), while it is current.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pair::Certificate;

/// Where a certificate's staple is kept. Whoever shows the certificate sees the one that was put there last.
#[derive(Debug, Default)]
pub(super) struct Staple(ArcSwapOption<Stapled>);

/// The same certificate with a response.
#[derive(Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    until: SystemTime,
}

impl Certificate {
    /// The certificate as it is shown now: with its staple, if there is one that is still current.
    pub fn shown(&self, now: SystemTime) -> Arc<CertifiedKey> {
        match &*self.staple.0.load() {
            Some(stapled) if now < stapled.until => Arc::clone(&stapled.key),
            _ => self.arranged(),
        }
    }

    /// Shows an OCSP response from now on, and no longer than until then. It has been verified by whoever calls this.
    pub fn staple(&self, response: &[u8], until: SystemTime) {
        let mut key = CertifiedKey::clone(&self.arranged());
        key.ocsp = Some(response.to_vec());
        self.staple.0.store(Some(Arc::new(Stapled {
            key: Arc::new(key),
            until,
        })));
    }

    /// Staples what is stapled to the chain as it is shown now.
    pub(super) fn restaple(&self) {
        if let Some(stapled) = &*self.staple.0.load()
            && let Some(response) = &stapled.key.ocsp
        {
            self.staple(response, stapled.until);
        }
    }

    /// Shows no OCSP response from now on.
    pub fn unstaple(&self) {
        self.staple.0.store(None);
    }

    /// Whether clients may refuse the certificate without a staple: it has the TLS feature `status_request` ("must-staple",
    /// RFC 7633).
    pub fn requires_staple(&self) -> bool {
        let read = || {
            let leaf = self.key.cert.first()?;
            let (_, leaf) = X509Certificate::from_der(leaf.as_ref()).ok()?;
            Some(leaf.extensions().iter().any(|extension| {
                extension.oid.to_id_string() == TLS_FEATURE && lists_status_request(extension.value)
            }))
        };
        *(self.must_staple).get_or_init(|| read().unwrap_or_default())
    }
}

/// Whether the features, a SEQUENCE OF INTEGER, name `status_request`.
fn lists_status_request(features: &[u8]) -> bool {
    // Few and small (they are numbers of TLS extensions), so that every length takes one byte.
    let [0x30, length, features @ ..] = features else {
        return false;
    };
    let mut rest = features.get(..usize::from(*length)).unwrap_or_default();
    while let [0x02, length, more @ ..] = rest {
        let Some((number, after)) = more.split_at_checked(usize::from(*length)) else {
            return false;
        };
        if number == [STATUS_REQUEST] {
            return true;
        }
        rest = after;
    }
    false
}

/// id-pe-tlsfeature (RFC 7633 section 4).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

/// The extension `status_request` (RFC 6066 section 8).
const STATUS_REQUEST: u8 = 5;

#[cfg(test)]
mod tests;
