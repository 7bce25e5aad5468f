//! What a binding asks of the certificates of its clients, and whether one is good.
//!
//! rustls looks at a certificate in a full handshake only. One that is resumed brings what an earlier one found good: it is
//! looked at again here before anything is served, and so are the certificates of connections that stand, whenever a CA or
//! a list of revoked certificates has changed.

mod objection;
mod verifier;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;

pub(super) use self::objection::{NONE_SHOWN, Objection, watched, watched_now};
use self::verifier::Verifier;
use crate::certificate::{ClientCas, describe_chain};
use crate::config::{ClientCertificates, ClientMode};
use crate::model::{ClientCertificate, ClientIdentity, ClientTerms, Judge};

/// What a binding asks of the certificates of its clients.
pub struct Clients {
    settings: ClientCertificates,
    terms: ClientTerms,
    verifier: Arc<Verifier>,
    /// The verifier in force, for the connections of this binding that stand.
    in_force: Arc<InForce>,
}

struct InForce(ArcSwap<Verifier>);

impl Clients {
    /// A binding's clients; `old` is what the same binding had before.
    pub fn new(settings: &ClientCertificates, cas: &Arc<ClientCas>, old: Option<&Clients>) -> Self {
        let new = || Arc::new(Verifier::new(settings, Arc::clone(cas)));
        let same = old.filter(|old| old.settings == *settings);
        let (verifier, in_force) = match same {
            None => {
                let verifier = new();
                let in_force = InForce(ArcSwap::new(Arc::clone(&verifier)));
                (verifier, Arc::new(in_force))
            }
            Some(old) if old.verifier.cas().digest == cas.digest => {
                (Arc::clone(&old.verifier), Arc::clone(&old.in_force))
            }
            Some(old) => (new(), Arc::clone(&old.in_force)),
        };
        Self {
            terms: ClientTerms::new(settings),
            settings: settings.clone(),
            verifier,
            in_force,
        }
    }

    /// From now on connections that stand are judged by these CAs and lists too.
    pub fn take_effect(&self) {
        self.in_force.0.store(Arc::clone(&self.verifier));
    }

    /// What is asked, in a sentence.
    pub fn terms(&self) -> &ClientTerms {
        &self.terms
    }

    /// Differs whenever a session of another policy must not be resumed: another mode, other options, other CAs or lists.
    pub fn identity(&self) -> String {
        let mut identity = format!("{} ", self.terms);
        for byte in self.verifier.cas().digest {
            // A write to a String cannot fail.
            let _ = write!(identity, "{byte:02x}");
        }
        identity
    }

    /// What rustls asks in a full handshake.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier) as Arc<dyn ClientCertVerifier>
    }

    /// Who the client of a handshake is. What a resumed session brings is looked at again.
    pub(super) fn admit(
        &self,
        shown: Option<&[CertificateDer<'static>]>,
        resumed: bool,
        now: SystemTime,
    ) -> Result<Arc<ClientIdentity>, Objection> {
        let certificate = match shown {
            None | Some([]) if self.settings.mode == ClientMode::Require => {
                return Err(Objection::none_shown());
            }
            None | Some([]) => None,
            Some(chain) => {
                if resumed {
                    self.verifier.check(chain, now)?;
                }
                // More than these were not looked at, and are not told of.
                let looked_at = chain.len().min(1 + self.settings.depth);
                let described = describe_chain(&chain[..looked_at]);
                Some(described.ok_or_else(|| Objection::unreadable(chain))?)
            }
        };
        Ok(Arc::new(ClientIdentity::new(
            self.terms.clone(),
            certificate,
            Arc::clone(&self.in_force) as Arc<dyn Judge>,
            self.verifier.revision(),
        )))
    }
}

impl Judge for InForce {
    fn revision(&self) -> u64 {
        self.0.load().revision()
    }

    fn objection(&self, certificate: &ClientCertificate) -> Option<String> {
        let chain: Vec<CertificateDer<'_>> = (certificate.chain.iter())
            .map(|der| CertificateDer::from(&**der))
            .collect();
        let verifier = self.0.load_full();
        let judged = verifier.check(&chain, SystemTime::now());
        judged.err().map(|objection| objection.sentence)
    }
}

#[cfg(test)]
mod tests;
