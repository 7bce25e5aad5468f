//! What is kept of a certificate's files from one look to the next, and the decision whether what lies there now is shown in
//! place of what was shown before: a good one is never traded for a worse.
//!
//! Pure: what the files hold and what time it is are told, so that any sequence of both can be tried.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clients::ClientNews;
use super::error::CertificateError;
use super::files::{Content, Digest, Files};
use super::pair::Certificate;
use crate::model::{HostName, HostPattern, certificate_name_covers};

/// What is known of the files of one certificate.
#[derive(Clone, Debug)]
pub struct Kept {
    files: Arc<Files>,
    digest: Digest,
    /// What lies in the files.
    lies_there: Lying,
    /// Since when that lies there.
    since: SystemTime,
    /// Whether it was told that it is not what is shown.
    told: bool,
    /// What is shown.
    shown: Option<Arc<Certificate>>,
}

type Lying = Result<Arc<Certificate>, Arc<CertificateError>>;

/// On what occasion files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At the start: whatever can be shown is shown, and findings tell the rest.
    Start,
    /// Somebody asked, and wants to know now.
    Reload,
    /// By ourselves: somebody may be writing, so that what cannot be shown is given time to become whole.
    Watch,
}

/// A look, and when it is.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// On what occasion.
    pub look: Look,
    /// When.
    pub now: SystemTime,
    /// Puts a chain that was read into the form in which it would be shown: it is judged as clients would see it.
    pub arrange: &'a dyn Fn(&Certificate),
}

/// What is to be told after a look.
#[derive(Clone, Debug)]
pub enum News {
    /// Another certificate is shown from now on.
    Taken(Arc<Certificate>),
    /// What lies there is not shown.
    Refused {
        /// The files.
        files: Arc<Files>,
        /// Why not.
        why: Why,
        /// What goes on being shown; none where nothing was shown before either.
        shown: Option<Arc<Certificate>>,
    },
    /// What was shown all the time lies there again.
    Mended(Arc<Certificate>),
    /// Of the CAs of clients, and their lists.
    Clients(ClientNews),
    /// A folder that held certificates cannot be read; they go on being shown.
    FolderLost {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: String,
        /// How many there are.
        certificates: usize,
    },
}

/// Why what lies in files is not shown.
#[derive(Clone, Debug)]
pub enum Why {
    /// It cannot be.
    Unusable(Arc<CertificateError>),
    /// It would be a loss.
    Worse(Worse),
}

/// What would be lost with another certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worse {
    /// It is no longer valid.
    Expired(SystemTime),
    /// It is not valid yet, and what is shown is.
    NotYetValid(SystemTime),
    /// It does not cover a name that what is shown covers.
    LosesName(Box<str>),
    /// Its chain is incomplete or in disorder, and that of what is shown is not.
    LosesChain,
    /// Nobody vouches for it.
    SelfSigned,
}

/// The hosts that a certificate is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These.
    Hosts(Vec<HostPattern>),
    /// Every one that it covers.
    All,
}

impl Kept {
    /// Looks at what the files hold now. What is to be told comes beside it. Where nothing was shown of these files, their
    /// hosts may have been shown something `else_shown`, which is not traded for a worse one either.
    pub fn look(
        old: Option<&Self>,
        else_shown: Option<&Arc<Certificate>>,
        files: &Arc<Files>,
        content: &Content,
        scope: &Scope,
        Occasion { look, now, arrange }: Occasion<'_>,
    ) -> (Self, Option<News>) {
        let digest = content.digest();
        let unchanged = old.filter(|old| old.digest == digest && old.files == *files);
        let lies_there = match unchanged {
            Some(old) => old.lies_there.clone(),
            None => Certificate::read(files, content)
                .inspect(arrange)
                .map(Arc::new)
                .map_err(Arc::new),
        };
        let before = old.and_then(|old| old.shown.as_ref());
        let mut kept = Self {
            files: Arc::clone(files),
            digest,
            since: unchanged.map_or(now, |old| old.since),
            told: unchanged.is_some_and(|old| old.told),
            shown: before.cloned(),
            lies_there: lies_there.clone(),
        };
        let why = match (lies_there, before) {
            // The one in memory stays: handshakes of both go on as they are.
            (Ok(new), Some(before)) if new.is_same(before) => {
                kept.lies_there = Ok(Arc::clone(before));
                let mended = old.is_some_and(|old| old.told);
                kept.told = false;
                return (kept, mended.then(|| News::Mended(Arc::clone(before))));
            }
            (Ok(new), before) => match before
                .or(else_shown)
                .and_then(|before| worse(&new, before, scope, now))
            {
                Some(worse) => Why::Worse(worse),
                None => {
                    kept.told = false;
                    kept.shown = Some(Arc::clone(&new));
                    return (kept, (look != Look::Start).then_some(News::Taken(new)));
                }
            },
            (Err(error), _) => Why::Unusable(error),
        };
        let is_due = match look {
            Look::Start => false,
            Look::Reload => true,
            Look::Watch => !kept.told && has_waited(kept.since, now),
        };
        kept.told |= is_due || look == Look::Start;
        let refused = is_due.then(|| News::Refused {
            files: Arc::clone(files),
            why,
            shown: before.or(else_shown).cloned(),
        });
        (kept, refused)
    }

    /// What is shown.
    pub fn shown(&self) -> Option<&Arc<Certificate>> {
        self.shown.as_ref()
    }

    /// Why what lies there cannot be shown.
    pub fn fault(&self) -> Option<&CertificateError> {
        self.lies_there.as_ref().err().map(|error| &**error)
    }

    /// Where it lies.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Whether something lies there that is not shown, of which nothing is told yet: it may be half written.
    pub fn is_waiting(&self) -> bool {
        !self.told && !self.is_settled()
    }

    /// Whether what lies there is what is shown.
    fn is_settled(&self) -> bool {
        match (&self.lies_there, &self.shown) {
            (Ok(there), Some(shown)) => Arc::ptr_eq(there, shown),
            _ => false,
        }
    }

    /// Whether nothing came of a look: neither another certificate nor anything to be remembered.
    pub(super) fn is_as(&self, old: &Self) -> bool {
        self.digest == old.digest && self.told == old.told && self.shows_as(old)
    }

    /// Whether the very same certificate is shown.
    pub(super) fn shows_as(&self, old: &Self) -> bool {
        self.shown.as_ref().map(Arc::as_ptr) == old.shown.as_ref().map(Arc::as_ptr)
    }
}

/// Whether something has lain there for as long as writing the other half takes. A clock that was set back does not hide it.
pub(super) fn has_waited(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since)
        .map_or(true, |waited| waited >= HALF_WRITTEN_MAX)
}

/// What would be lost if `new` were shown in place of `old`; none if nothing.
fn worse(new: &Certificate, old: &Certificate, scope: &Scope, now: SystemTime) -> Option<Worse> {
    if now > new.not_after {
        return Some(Worse::Expired(new.not_after));
    }
    // Clients refuse the old one: whatever has come is no worse.
    if !old.is_valid_at(now) {
        return None;
    }
    if now < new.not_before {
        return Some(Worse::NotYetValid(new.not_before));
    }
    if let Some(name) = scope.lost(new, old) {
        return Some(Worse::LosesName(name));
    }
    if new.chain().verdict.is_good() {
        return None;
    }
    if new.is_self_signed && !old.is_self_signed {
        return Some(Worse::SelfSigned);
    }
    loses_chain(new, old).then_some(Worse::LosesChain)
}

/// Whether clients could follow the chain of the old one and cannot follow that of the new one. Where nothing is known of either
/// issuer, what the file holds decides, unless it was put in order or completed.
fn loses_chain(new: &Certificate, old: &Certificate) -> bool {
    let chain = new.chain();
    let is_mended = chain.reordered || !chain.added.is_empty();
    old.chain().verdict.is_good()
        || (new.chain_fault.is_some() && !is_mended && old.chain_fault.is_none())
}

impl Scope {
    /// A name that `old` covers for these hosts, and `new` does not.
    fn lost(&self, new: &Certificate, old: &Certificate) -> Option<Box<str>> {
        let lost = |name: &str| (!covers_name(new, name)).then(|| name.into());
        match self {
            Self::All => old.covers.iter().find_map(|name| lost(name)),
            Self::Hosts(hosts) => hosts.iter().find_map(|host| match host {
                HostPattern::Exact(host) if old.covers(host) => lost(host.as_str()),
                HostPattern::Exact(_) => None,
                HostPattern::Wildcard(parent) => (old.covers.iter())
                    .filter(|name| {
                        name.split_once('.')
                            .is_some_and(|(_, above)| above == parent.as_str())
                    })
                    .find_map(|name| lost(name)),
                HostPattern::Strong | HostPattern::Any => {
                    old.covers.iter().find_map(|name| lost(name))
                }
            }),
        }
    }
}

/// Whether a certificate covers a name of a certificate: a host, or a wildcard with all that is below it.
fn covers_name(certificate: &Certificate, name: &str) -> bool {
    certificate.covers.iter().any(|covered| **covered == *name)
        || HostName::parse(name).is_ok_and(|host| {
            (certificate.covers.iter()).any(|covered| certificate_name_covers(covered, &host))
        })
}

impl Why {
    /// The stable code of what is found.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unusable(error) => error.code(),
            Self::Worse(worse) => worse.code(),
        }
    }

    /// What mends it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unusable(error) => error.remedy(),
            Self::Worse(Worse::NotYetValid(_)) => {
                "nothing: it is shown once it is valid; if it should be by now, look at the clock"
            }
            Self::Worse(Worse::LosesName(_)) => {
                "put a certificate there that covers the name too, or restart to show this one all the same"
            }
            Self::Worse(Worse::LosesChain) => {
                "put the issuers behind the leaf, each after what it issued"
            }
            Self::Worse(_) => {
                "put a valid certificate there, or restart to show this one all the same"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(error) => error.fmt(f),
            Self::Worse(worse) => worse.fmt(f),
        }
    }
}

impl Worse {
    fn code(&self) -> &'static str {
        match self {
            Self::Expired(_) => "certificate-expired",
            Self::NotYetValid(_) => "certificate-not-yet-valid",
            Self::LosesName(_) => "certificate-name",
            Self::LosesChain => "certificate-chain-incomplete",
            Self::SelfSigned => "certificate-self-signed",
        }
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(at) => write!(f, "it expired at {}", day(*at)),
            Self::NotYetValid(at) => write!(f, "it is not valid before {}", day(*at)),
            Self::LosesName(name) => {
                write!(f, "it does not cover {name}, which what is shown covers")
            }
            Self::LosesChain => f.write_str(
                "its chain leads nowhere that clients know, and that of what is shown does",
            ),
            Self::SelfSigned => f.write_str("it is self-signed, and what is shown is not"),
        }
    }
}

impl News {
    /// Tells it to the server's log.
    pub fn tell(&self) {
        match self {
            Self::Taken(new) => tracing::info!(
                file = %new.file.display(),
                names = new.covers.join(" "),
                not_after = %day(new.not_after),
                fingerprint = new.fingerprint(),
                "certificate taken"
            ),
            Self::Clients(news) => news.tell(),
            Self::Mended(shown) => tracing::info!(
                file = %shown.file.display(),
                not_after = %day(shown.not_after),
                "certificate as it is shown again"
            ),
            Self::Refused {
                files,
                why,
                shown: Some(shown),
            } => tracing::error!(
                file = %files.chain.display(),
                code = why.code(),
                %why,
                remedy = why.remedy(),
                still_shown_until = %day(shown.not_after),
                fingerprint = shown.fingerprint(),
                "certificate refused; the one before it goes on being shown"
            ),
            Self::FolderLost {
                folder,
                why,
                certificates,
            } => tracing::error!(
                folder = %folder.display(),
                %why,
                certificates,
                remedy = "put the folder back and let the user that Portunus runs as read it",
                "certificate folder lost; what it held goes on being shown"
            ),
            Self::Refused { files, why, .. } => tracing::error!(
                file = %files.chain.display(),
                code = why.code(),
                %why,
                remedy = why.remedy(),
                "certificate refused"
            ),
        }
    }
}

fn day(time: SystemTime) -> impl fmt::Display {
    humantime::format_rfc3339_seconds(time)
}

/// How long half of a pair may wait for its other half before it is complained of. Whoever writes both writes them within
/// milliseconds; a copy over a slow network takes a second or two.
const HALF_WRITTEN_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
