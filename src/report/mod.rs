//! The error log, the access log, the server's own log, and what is counted beside them.
//!
//! Data threads write a line into memory of their own and go on; one thread, `log`, carries the lines to where they
//! belong. Nothing that a disk or a reader of a pipe does can hold a data thread up: what does not fit its buffer is dropped
//! and counted. Lines are written whole.
//!
//! ```text
//! data threads ─► format ─► sink (a bounded buffer a thread) ─► writer (thread `log`) ─► target
//! ```

mod audit;
mod capture;
mod counts;
mod entry;
pub mod failed;
mod format;
pub mod metrics;
mod own;
pub mod own_log;
mod sink;
mod stream;
mod target;
mod witness;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use crate::config;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason};

pub use self::audit::{AuditOutcome, Audited, AuditedBy};
pub use self::capture::Captured;
pub use self::entry::{Access, Refused, SentTo};
pub use self::format::FIELD_BYTES_MAX;
pub use self::sink::BUFFER_BYTES_MAX;
pub use self::target::ReportError;
pub use self::witness::{Asking, Ended, Witness};
pub use self::writer::{CLOSE_WAIT_MAX, FETCH_EVERY, LEAVING_WAIT_MAX, RETRY_EVERY, WARN_EVERY};

use self::counts::Counts;
use self::metrics::Metrics;
use self::own::Own;
use self::sink::{Level, Pushed, Sink};
use self::writer::{Streams, Wake};

/// The error log and the access log. Shared by all threads; dropping it closes it.
pub struct Report {
    shared: Arc<Shared>,
}

/// What the data threads and the writer have in common.
struct Shared {
    errors: ArcSwapOption<Sink>,
    access: ArcSwapOption<Sink>,
    wants_access: AtomicBool,
    audit: ArcSwapOption<Sink>,
    /// Whether the server's own log tells of changes.
    tells_audit: AtomicBool,
    counts: Counts,
    metrics: Metrics,
    threads: usize,
    wake: Wake,
    own: Own,
    failed: Arc<failed::Queue>,
}

impl Report {
    /// Opens the logs and starts the thread that writes them, for so many data threads.
    pub fn start(log: &config::Log, threads: usize) -> Result<Report, ReportError> {
        let streams = Streams::open(log, threads)?;
        let report = Report::with_threads(threads);
        report.shared.use_sinks(&streams);
        writer::start(&report.shared, streams)?;
        Ok(report)
    }

    /// Writes nowhere, and counts; for tests.
    pub fn none() -> Report {
        Report::with_threads(1)
    }

    /// Keeps both logs in memory, the access log as JSON; for tests.
    pub fn capture() -> (Report, Captured) {
        Report::capture_as(config::AccessFormat::Json)
    }

    /// Keeps both logs in memory, the access log in this format; for tests.
    pub fn capture_as(format: config::AccessFormat) -> (Report, Captured) {
        let report = Report::with_threads(1);
        let captured = Captured::attach(&report.shared, format);
        (report, captured)
    }

    /// Threads beyond those share the first one's buffers and counters.
    fn with_threads(threads: usize) -> Report {
        Report {
            shared: Arc::new(Shared {
                errors: ArcSwapOption::empty(),
                access: ArcSwapOption::empty(),
                wants_access: AtomicBool::new(false),
                audit: ArcSwapOption::empty(),
                tells_audit: AtomicBool::new(true),
                counts: Counts::new(threads),
                metrics: Metrics::new(threads),
                threads,
                wake: Wake::default(),
                own: Own::default(),
                failed: Arc::default(),
            }),
        }
    }

    /// Takes note of a connection that the server is about to make to itself: what is refused of it is no client's failure.
    pub fn is_making(&self, from: ClientAddr, to: LocalAddr, protocol: Protocol) {
        self.shared.own.add(from, to, protocol);
    }

    /// Whether a connection is one that the server makes to itself.
    pub fn is_own(&self, client: ClientAddr, local: LocalAddr, protocol: Protocol) -> bool {
        self.shared.own.has(client, local, protocol)
    }

    /// Counts a refusal, and writes its line in the error log.
    pub fn refused(&self, entry: &Refused<'_>) {
        let client = entry.peer.unwrap_or(entry.client);
        if self.is_own(client, entry.local, entry.protocol) {
            return;
        }
        self.shared.counts.add_refused(entry.protocol, entry.reason);
        self.shared.metrics.refused(entry);
        let _counted = self.shared.append(&self.shared.errors, |sink| {
            format::refused(SystemTime::now(), entry, |line| sink.push(line))
        });
    }

    /// Whether anybody wants to know of every request. Asked before an [`Access`] is put together.
    pub fn wants_access(&self) -> bool {
        self.shared.wants_access.load(Ordering::Relaxed)
    }

    /// Writes a request's line in the access log.
    pub fn accessed(&self, entry: &Access<'_>) {
        let _counted = self.shared.append(&self.shared.access, |sink| {
            format::accessed(sink.format, entry, |line| sink.push(line))
        });
    }

    /// Who asks for the steps of requests by the rules of a configuration. Where there are rules for the first time, this starts
    /// the thread that writes.
    pub fn witnesses(&self, config: &config::Config) -> Vec<Arc<dyn Witness>> {
        let Some(watch) = failed::Watch::new(config, &self.shared) else {
            return Vec::new();
        };
        if let Err(error) = self.shared.failed.start() {
            tracing::error!(%error, "the thread that writes failed requests cannot be started, and none is written; the next reload tries again");
            return Vec::new();
        }
        vec![Arc::new(watch)]
    }

    /// What became of the requests that fired a rule of `[failed_requests]`.
    pub fn failed_requests(&self) -> failed::Written {
        self.shared.failed.count()
    }

    /// Opens the logs anew: the same files after they were renamed, or other targets. Lines written before go where they
    /// would have gone. When a target cannot be opened nothing changes.
    ///
    /// Waits, [`CLOSE_WAIT_MAX`] at most, until the writer has changed over; so it is no call for a data thread.
    pub fn reopen(&self, log: &config::Log) -> Result<(), ReportError> {
        let streams = Streams::open(log, self.shared.threads)?;
        self.shared.wake.replace(&self.shared, streams)
    }

    /// Whether [`Report::reopen`] could open the logs; opens none that is not there yet, and writes to none.
    pub fn try_out(log: &config::Log) -> Result<(), ReportError> {
        target::try_out("error", &log.errors)?;
        target::try_out("access", &log.access)?;
        target::try_out("audit", log.audit.target())
    }

    /// Lines that were dropped: their buffer was full, or their target refused them until the end.
    pub fn lost(&self) -> u64 {
        self.shared.counts.lost()
    }

    /// How often something was refused for this reason, whether or not it was written.
    pub fn refused_count(&self, reason: Reason) -> u64 {
        self.shared.counts.refused(reason)
    }

    /// The same, of what was refused while this was spoken.
    pub fn refused_count_in(&self, protocol: Protocol, reason: Reason) -> u64 {
        self.shared.counts.refused_in(protocol, reason)
    }

    /// What is counted beside.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Writes what has been reported and stops the writer. Waits [`CLOSE_WAIT_MAX`] at most; lines reported after it are
    /// lost.
    pub fn close(&self) {
        self.shared.wake.close();
        self.shared.failed.close();
    }
}

impl Shared {
    /// Has the data threads leave their lines in these streams' sinks.
    fn use_sinks(&self, streams: &Streams) {
        self.errors.store(streams.errors_sink());
        self.access.store(streams.access_sink());
        self.audit.store(streams.audit_sink());
        self.tells_audit
            .store(streams.tells_audit(), Ordering::Relaxed);
        self.wants_access
            .store(streams.access_sink().is_some(), Ordering::Relaxed);
    }

    /// Whether there was room for the line. Where there is no such log, there is.
    fn append(&self, log: &ArcSwapOption<Sink>, push: impl Fn(&Sink) -> Pushed) -> bool {
        // A sink that was closed between being read here and being pushed to has a successor by then: the second try
        // finds it. Only a closed report has none.
        for _ in 0..2 {
            let sink = log.load();
            let Some(sink) = sink.as_deref() else {
                return true;
            };
            match push(sink) {
                Pushed::Taken(level) => {
                    match level {
                        Level::Rising => {}
                        Level::First => self.wake.if_asleep(),
                        Level::Half => self.wake.now(),
                    }
                    return true;
                }
                Pushed::Full => break,
                Pushed::Closed => {}
            }
        }
        self.counts.add_lost(1);
        false
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
