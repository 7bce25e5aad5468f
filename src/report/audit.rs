//! The audit log: who changed what on the running server, or tried to.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::{Report, format};

/// One line of the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Audited<'a> {
    /// What was asked: `reload`, `stop`, `stop-now`, `pool-recycle`, `pool-stop`, `pool-start`. Of a refused attempt, which
    /// may have asked for nothing that there is, the method and path.
    pub action: &'a str,
    /// The pool that it is about.
    pub pool: Option<&'a str>,
    /// Who asked.
    pub by: AuditedBy<'a>,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Why nothing came of it, or what was done.
    pub detail: Option<&'a str>,
}

/// Who asked for a change.
#[derive(Clone, Copy, Debug)]
pub enum AuditedBy<'a> {
    /// A process on this machine, at the unix socket, by the system's own word.
    Process {
        /// Its user.
        uid: u32,
        /// The user's name, where there is one.
        user: Option<&'a str>,
        /// Its group.
        gid: u32,
        /// Its number.
        pid: Option<i32>,
        /// What the program calls itself, which is no proof of anything.
        command: Option<&'a str>,
    },
    /// Somebody at the loopback address.
    Address {
        /// From where.
        client: SocketAddr,
        /// By what he may ask: `token`; or `nothing`, where he may not.
        authorised: &'static str,
    },
    /// Whoever sent a signal: the system does not pass on who.
    Signal(&'static str),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done. Of a stop: it is begun.
    Done,
    /// It could not be done, and what ran before runs on.
    Failed,
    /// Who asked may not.
    Refused,
}

impl AuditOutcome {
    /// As the log writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl Report {
    /// Writes a line in the audit log, and tells the server's own log where that is asked for. A line that the audit log does
    /// not take is told there in any case, as an error: it is written somewhere, or somebody learns that it is not.
    pub fn audited(&self, entry: &Audited<'_>) {
        let shared = &self.shared;
        let tells = shared
            .tells_audit
            .load(std::sync::atomic::Ordering::Relaxed);
        format::audited(SystemTime::now(), entry, |line| {
            let text = || String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if tells {
                tell(entry);
            }
            if !shared.append(&shared.audit, |sink| sink.push(line)) {
                tracing::error!(line = %text(), "the audit log has no room for this line");
            }
        });
    }
}

/// What is refused is told by whoever refuses it.
fn tell(entry: &Audited<'_>) {
    if entry.outcome == AuditOutcome::Refused {
        return;
    }
    let Audited { action, by, .. } = *entry;
    let (pool, outcome) = (entry.pool, entry.outcome.as_str());
    match by {
        AuditedBy::Process {
            uid,
            user,
            pid,
            command,
            ..
        } => {
            tracing::info!(
                action,
                pool,
                outcome,
                uid,
                user,
                pid,
                command,
                "an administrator asked"
            );
        }
        AuditedBy::Address { client, authorised } => {
            tracing::info!(action, pool, outcome, %client, authorised, "an administrator asked");
        }
        AuditedBy::Signal(signal) => tracing::info!(action, outcome, signal, "a signal asked"),
    }
}
