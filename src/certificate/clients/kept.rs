//! What is in force of the CAs of clients from one look at their files to the next: good ones are never traded for worse.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::{ClientCaError, ClientCas, Content};
use crate::certificate::findings::Finding;
use crate::certificate::kept::{Look, Occasion, has_waited};
use crate::config::ClientCertificates;

/// What is known of the files that a binding's `client_certificates` names.
#[derive(Clone, Debug)]
pub(crate) struct KeptCas {
    /// Of what lies there; none where it cannot be read.
    digest: Option<[u8; 32]>,
    lies_there: Result<Arc<ClientCas>, Arc<ClientCaError>>,
    /// Since when that lies there.
    since: SystemTime,
    /// Whether it was told that it is not what is in force.
    told: bool,
    in_force: Option<Arc<ClientCas>>,
}

/// What is to be told after a look.
#[derive(Clone, Debug)]
pub enum ClientNews {
    /// Others are in force from now on.
    Taken(Arc<ClientCas>),
    /// What lies there is not in force; what was before is.
    Refused {
        /// The CAs.
        file: PathBuf,
        /// A stable code.
        code: &'static str,
        /// Why not.
        why: String,
        /// What mends it.
        remedy: &'static str,
    },
    /// What is in force lies there again.
    Mended(PathBuf),
}

impl KeptCas {
    /// Looks at what the files hold now. What is to be told comes beside it.
    pub(crate) fn look(
        settings: &ClientCertificates,
        old: Option<&Self>,
        Occasion { look, now, .. }: Occasion<'_>,
    ) -> (Self, Option<ClientNews>) {
        let read = Content::read(settings);
        let digest = read.as_ref().ok().map(|content| content.digest);
        let unchanged = old.filter(|old| old.digest == digest);
        let lies_there = match (unchanged, read) {
            (Some(old), Ok(_)) => old.lies_there.clone(),
            (_, Ok(content)) => ClientCas::of(settings, &content)
                .map(Arc::new)
                .map_err(Arc::new),
            (_, Err(error)) => Err(Arc::new(error)),
        };
        let before = old.and_then(|old| old.in_force.as_ref());
        let mut kept = Self {
            digest,
            since: unchanged.map_or(now, |old| old.since),
            told: unchanged.is_some_and(|old| old.told),
            in_force: before.cloned(),
            lies_there: lies_there.clone(),
        };
        let (code, why, remedy) = match (lies_there, before) {
            // The one in memory stays: what was judged by it stays judged.
            (Ok(new), Some(before)) if new.digest == before.digest => {
                kept.lies_there = Ok(Arc::clone(before));
                let mended = old.is_some_and(|old| old.told);
                kept.told = false;
                return (
                    kept,
                    mended.then(|| ClientNews::Mended(before.file.clone())),
                );
            }
            (Ok(new), before) => match before.and_then(|before| new.worse_than(before, now)) {
                Some(why) => (
                    "client-crl-expired",
                    why,
                    "put a current one there, or restart to take this one all the same",
                ),
                None => {
                    kept.told = false;
                    kept.in_force = Some(Arc::clone(&new));
                    return (
                        kept,
                        (look != Look::Start).then_some(ClientNews::Taken(new)),
                    );
                }
            },
            (Err(error), _) => (error.code(), error.to_string(), error.help()),
        };
        let is_due = match look {
            Look::Start => false,
            // Where nothing was in force, it is a finding of the reload.
            Look::Reload => before.is_some(),
            Look::Watch => !kept.told && has_waited(kept.since, now),
        };
        kept.told |= is_due || look == Look::Start;
        let refused = is_due.then(|| ClientNews::Refused {
            file: settings.ca.clone(),
            code,
            why,
            remedy,
        });
        (kept, refused)
    }

    /// What is in force.
    pub(crate) fn in_force(&self) -> Option<&Arc<ClientCas>> {
        self.in_force.as_ref()
    }

    /// What should be known of what is in force, or why nothing is.
    pub(crate) fn findings(&self, binding: usize, now: SystemTime) -> Vec<Finding> {
        match (&self.in_force, &self.lies_there) {
            (Some(cas), _) => cas.findings(binding, now),
            (None, Err(error)) => {
                let found = Finding::error(binding, error.code(), error.to_string());
                vec![found.with_help(error.help())]
            }
            (None, Ok(_)) => Vec::new(),
        }
    }

    /// Whether something lies there that is not in force, of which nothing is told yet: it may be half written.
    pub(crate) fn is_waiting(&self) -> bool {
        let settled = match (&self.lies_there, &self.in_force) {
            (Ok(there), Some(in_force)) => Arc::ptr_eq(there, in_force),
            _ => false,
        };
        !self.told && !settled
    }

    /// Whether nothing came of a look: neither others in force nor anything to be remembered.
    pub(crate) fn is_as(&self, old: &Self) -> bool {
        self.digest == old.digest && self.told == old.told && self.in_force_as(old)
    }

    /// Whether the very same are in force.
    pub(crate) fn in_force_as(&self, old: &Self) -> bool {
        self.in_force.as_ref().map(Arc::as_ptr) == old.in_force.as_ref().map(Arc::as_ptr)
    }
}

impl ClientNews {
    /// Tells it to the server's log.
    pub(crate) fn tell(&self) {
        match self {
            Self::Taken(cas) => tracing::info!(
                file = %cas.file.display(),
                cas = cas.cas.len(),
                lists = cas.lists.len(),
                "CAs of clients taken"
            ),
            Self::Refused {
                file,
                code,
                why,
                remedy,
            } => tracing::error!(
                file = %file.display(),
                code,
                %why,
                remedy,
                "CAs of clients refused; those before stay in force"
            ),
            Self::Mended(file) => {
                tracing::info!(file = %file.display(), "CAs of clients as they are in force again");
            }
        }
    }
}
