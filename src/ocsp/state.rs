//! What is known of every certificate that may be stapled: the state behind the thread, and the plain value that others read.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::response::{Revoked, Unfit, Verified};
use super::schedule::{Chance, Life, Schedule};
use super::store::Store;
use super::subject::{Fingerprint, Subject, Unable};
use crate::certificate::Certificate;

/// A certificate and its staple, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stapling {
    /// The file of the certificate.
    pub file: PathBuf,
    /// The names that it covers.
    pub covers: Arc<[Box<str>]>,
    /// Its SHA-256, in hexadecimal.
    pub fingerprint: String,
    /// Whether clients may refuse it without a staple (RFC 7633).
    pub requires_staple: bool,
    /// Where its responses come from; none where nobody can be asked.
    pub responder: Option<String>,
    /// How it stands.
    pub status: Status,
    /// Since when the last response is true.
    pub this_update: Option<SystemTime>,
    /// When the responder has a newer one.
    pub next_update: Option<SystemTime>,
    /// When the responder is asked next.
    pub fetch_at: Option<SystemTime>,
    /// How often it has been asked in vain since the last response.
    pub failures: u32,
    /// What went wrong last, and when; none once a response has come.
    pub last_error: Option<(SystemTime, String)>,
}

/// How a certificate's staple stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody can be asked.
    Unable(Unable),
    /// No response has come yet.
    Waiting,
    /// Stapled.
    Good,
    /// Revoked, and therefore not stapled.
    Revoked(Revoked),
    /// The last response has run out, and is no longer stapled.
    RanOut,
}

/// A certificate that is watched.
pub(super) struct Watched {
    pub(super) subject: Arc<Subject>,
    /// As it was read from each of its files.
    pub(super) certificates: Vec<Arc<Certificate>>,
    /// The last response, and what it says.
    pub(super) current: Option<(Arc<[u8]>, Verified)>,
    pub(super) last_error: Option<(SystemTime, String)>,
}

/// All of them.
pub(super) struct State {
    pub(super) schedule: Schedule,
    pub(super) watched: HashMap<Fingerprint, Watched>,
    /// Certificates for which nobody can be asked.
    pub(super) unable: Vec<(Arc<Certificate>, Unable)>,
    pub(super) store: Store,
}

/// What came of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Stapled for the first time, or after a failure.
    Stapled(Verified),
    /// Stapled as before, and fresh.
    Renewed(Verified),
    /// Not stapled any more.
    Revoked(Revoked),
    /// Nothing has changed, but it went wrong so often in a row.
    Failed(u32, String),
    /// The certificate is no longer watched.
    Gone,
}

impl Watched {
    /// Shows the certificate as its last response has it.
    pub(super) fn show(&self) {
        for certificate in &self.certificates {
            match &self.current {
                Some((response, verified)) if verified.revoked.is_none() => {
                    certificate.staple(response, verified.until);
                }
                _ => certificate.unstaple(),
            }
        }
    }

    /// How it stands.
    pub(super) fn status(&self, now: SystemTime) -> Status {
        match &self.current {
            None => Status::Waiting,
            Some((_, verified)) => match verified.revoked {
                Some(revoked) => Status::Revoked(revoked),
                None if verified.until <= now => Status::RanOut,
                None => Status::Good,
            },
        }
    }
}

impl State {
    /// Takes what came of asking.
    pub(super) fn settle(
        &mut self,
        fingerprint: Fingerprint,
        answer: Result<(Arc<[u8]>, Verified), String>,
        (now, chance): (SystemTime, Chance),
    ) -> News {
        let Some(watched) = self.watched.get_mut(&fingerprint) else {
            return News::Gone;
        };
        let answer = answer.and_then(|(response, verified)| match &watched.current {
            // Somebody on the way may have kept an answer from before a revocation.
            Some((_, last)) if verified.this_update < last.this_update && now < last.until => {
                Err(OLDER.to_owned())
            }
            _ => Ok((response, verified)),
        });
        match answer {
            Err(error) => {
                watched.last_error = Some((now, error.clone()));
                let failures = self.schedule.failed(fingerprint, (now, chance));
                News::Failed(failures, error)
            }
            Ok((response, verified)) => {
                let was_good = watched.status(now) == Status::Good && watched.last_error.is_none();
                watched.current = Some((response, verified));
                watched.last_error = None;
                watched.show();
                self.schedule
                    .answered(fingerprint, life(&verified), (now, chance));
                match verified.revoked {
                    Some(revoked) => News::Revoked(revoked),
                    None if was_good => News::Renewed(verified),
                    None => News::Stapled(verified),
                }
            }
        }
    }

    /// How every certificate stands, in the order of their files.
    pub(super) fn report(&self, now: SystemTime) -> Vec<Stapling> {
        let able = self.watched.iter().flat_map(|(fingerprint, watched)| {
            let next = self.schedule.next(*fingerprint);
            let current = watched.current.as_ref().map(|(_, verified)| verified);
            watched
                .certificates
                .iter()
                .map(move |certificate| Stapling {
                    responder: Some(watched.subject.responder.uri.to_string()),
                    this_update: current.map(|verified| verified.this_update),
                    next_update: current.map(|verified| verified.next_update),
                    fetch_at: next.map(|(due, _)| due),
                    failures: next.map_or(0, |(_, failures)| failures),
                    last_error: watched.last_error.clone(),
                    ..stapling(certificate, watched.status(now))
                })
        });
        let unable = (self.unable.iter())
            .map(|(certificate, why)| stapling(certificate, Status::Unable(why.clone())));
        let mut all: Vec<_> = able.chain(unable).collect();
        all.sort_by(|a, b| a.file.cmp(&b.file));
        all
    }
}

fn stapling(certificate: &Certificate, status: Status) -> Stapling {
    Stapling {
        file: certificate.file.clone(),
        covers: Arc::clone(&certificate.covers),
        fingerprint: certificate.fingerprint(),
        requires_staple: certificate.requires_staple(),
        responder: None,
        status,
        this_update: None,
        next_update: None,
        fetch_at: None,
        failures: 0,
        last_error: None,
    }
}

pub(super) fn life(verified: &Verified) -> Life {
    Life {
        begins: verified.this_update,
        ends: verified.next_update,
        until: verified.until,
    }
}

/// As [`Unfit`] says things, which knows one response only.
const OLDER: &str =
    "the response is older than the last one; it may be an old one that somebody sends again";

impl From<Unfit> for String {
    fn from(unfit: Unfit) -> Self {
        unfit.to_string()
    }
}
