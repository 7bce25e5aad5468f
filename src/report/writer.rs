//! The thread that carries lines from the sinks to their targets, and how it is woken, re-targeted and stopped.
//!
//! ```text
//!            first line            a tick later: carry everything
//!   asleep ─────────────► gathering ────────────────────────────► carried
//!      ▲                      ▲  a buffer half full: at once          │
//!      │   nothing to carry   └───────────── something carried ───────┤
//!      └──────────────────────────────────────────────────────────────┘
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Shared;
use super::sink::Sink;
pub use super::stream::RETRY_EVERY;
use super::stream::{Progress, Stream};
use super::target::ReportError;
use crate::config::{self, AccessFormat};

/// How long lines gather before they are fetched: a person who follows a log does not notice, and a busy server writes a
/// disk's worth of lines with ten system calls a second.
pub const FETCH_EVERY: Duration = Duration::from_millis(100);

/// The longest that closing or reopening waits for a target that takes nothing: a stop must end.
pub const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a target that a reload has replaced may take for the lines that are its own, before they are dropped.
pub const LEAVING_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often, at most, the same trouble with a log is told.
pub const WARN_EVERY: Duration = Duration::from_secs(60);

/// How long to wait for room in a full pipe before looking at the other log.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// The three logs.
pub(super) struct Streams {
    errors: Option<Stream>,
    access: Option<Stream>,
    audit: Option<Stream>,
    tells_audit: bool,
}

impl Streams {
    pub(super) fn open(log: &config::Log, threads: usize) -> Result<Streams, ReportError> {
        Ok(Streams {
            errors: Stream::open("error", &log.errors, AccessFormat::Json, threads)?,
            access: Stream::open("access", &log.access, log.access_format, threads)?,
            audit: Stream::open(AUDIT, log.audit.target(), AccessFormat::Json, threads)?,
            tells_audit: log.audit.tells(),
        })
    }

    pub(super) fn errors_sink(&self) -> Option<Arc<Sink>> {
        self.errors.as_ref().map(|stream| Arc::clone(&stream.sink))
    }

    pub(super) fn access_sink(&self) -> Option<Arc<Sink>> {
        self.access.as_ref().map(|stream| Arc::clone(&stream.sink))
    }

    pub(super) fn audit_sink(&self) -> Option<Arc<Sink>> {
        self.audit.as_ref().map(|stream| Arc::clone(&stream.sink))
    }

    /// Whether the server's own log tells of changes.
    pub(super) fn tells_audit(&self) -> bool {
        self.tells_audit
    }

    fn into_each(self) -> impl Iterator<Item = Stream> {
        let rest = self.access.into_iter().chain(self.audit);
        self.errors.into_iter().chain(rest)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Stream> {
        let rest = self.access.iter_mut().chain(&mut self.audit);
        self.errors.iter_mut().chain(rest)
    }
}

/// How others reach the writer.
#[derive(Default)]
pub(super) struct Wake {
    /// Set once, when the writer is started; a report that only counts has none.
    thread: OnceLock<Thread>,
    /// The writer found nothing and sleeps until a first line wakes it.
    asleep: AtomicBool,
    orders: Mutex<Orders>,
    obeyed: Condvar,
}

#[derive(Default)]
struct Orders {
    streams: Option<Streams>,
    close: bool,
    closed: bool,
}

impl Wake {
    /// Wakes the writer if it does not look in by itself.
    pub(super) fn if_asleep(&self) {
        // The line was pushed under its buffer's lock, and the writer looks into that buffer after it set the flag: either
        // it sees the line, or this sees the flag.
        if self.asleep.load(Ordering::Relaxed) {
            self.now();
        }
    }

    /// Has the writer look in at once.
    pub(super) fn now(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Puts these streams in the place of the present ones, and waits a while until the writer has changed over.
    pub(super) fn replace(&self, shared: &Shared, streams: Streams) -> Result<(), ReportError> {
        let mut orders = self.orders();
        if orders.streams.is_some() {
            return Err(ReportError::Busy);
        }
        if orders.closed || self.thread.get().is_none() {
            return Ok(());
        }
        shared.use_sinks(&streams);
        orders.streams = Some(streams);
        self.now();
        self.wait(orders, |orders| orders.streams.is_some() && !orders.closed);
        Ok(())
    }

    /// Stops the writer, and waits a while until it has written everything.
    pub(super) fn close(&self) {
        if self.thread.get().is_none() {
            return;
        }
        let mut orders = self.orders();
        orders.close = true;
        self.now();
        self.wait(orders, |orders| !orders.closed);
    }

    fn wait(&self, orders: MutexGuard<'_, Orders>, waiting: impl Fn(&mut Orders) -> bool) {
        // Whether it was obeyed in time makes no difference to the caller: it goes on.
        let _ = self
            .obeyed
            .wait_timeout_while(orders, CLOSE_WAIT_MAX, waiting)
            .map_err(PoisonError::into_inner);
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the writer.
pub(super) fn start(shared: &Arc<Shared>, streams: Streams) -> Result<(), ReportError> {
    let writer = Writer {
        shared: Arc::clone(shared),
        streams,
        leaving: Vec::new(),
        lost_told: 0,
        lost_told_at: None,
        refused_told_at: None,
    };
    let handle = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run())
        .map_err(ReportError::Thread)?;
    // Nobody else sets it. The writer needs no word of it: whoever pushes a line does so after this.
    let _ = shared.wake.thread.set(handle.thread().clone());
    Ok(())
}

struct Writer {
    shared: Arc<Shared>,
    streams: Streams,
    /// Streams that a reload has replaced and that still have lines, each with the time at which they are given up. A
    /// reload waits for the one before, so there are few.
    leaving: Vec<(Stream, Instant)>,
    /// So many lost lines have been told.
    lost_told: u64,
    lost_told_at: Option<Instant>,
    refused_told_at: Option<Instant>,
}

/// What a round over all streams found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    Nothing,
    Carried,
    Blocked,
}

impl Writer {
    fn run(mut self) {
        loop {
            // The order to close is read before the round, so that the round sees what came before it.
            let close = self.obey();
            let round = self.round();
            if close {
                return self.finish();
            }
            self.tell_of_lost();
            match round {
                Round::Nothing => self.sleep(),
                Round::Carried => thread::park_timeout(FETCH_EVERY),
                Round::Blocked => self.wait_for_room(),
            }
        }
    }

    /// Changes over to new streams if there are any; whether the order is to close.
    fn obey(&mut self) -> bool {
        let mut orders = self.shared.wake.orders();
        let Some(streams) = orders.streams.take() else {
            return orders.close;
        };
        let close = orders.close;
        let old = std::mem::replace(&mut self.streams, streams);
        let until = Instant::now() + LEAVING_WAIT_MAX;
        for mut stream in old.into_each() {
            // From here on every line goes to the new sink; what the old one has taken goes to the old target, now if
            // that takes it, so that whoever waits for the change finds the old file complete.
            stream.sink.close();
            stream.carry(Instant::now());
            self.leaving.push((stream, until));
        }
        self.shared.wake.obeyed.notify_all();
        close
    }

    fn round(&mut self) -> Round {
        let now = Instant::now();
        let mut round = Round::Nothing;
        let mut refusal = None;
        let leaving = self.leaving.iter_mut().map(|(stream, _)| stream);
        for stream in self.streams.each().chain(leaving) {
            round = round.max(match stream.carry(now) {
                Progress::Nothing => Round::Nothing,
                Progress::Done => Round::Carried,
                Progress::Blocked => Round::Blocked,
                Progress::Refused(error) => {
                    refusal = error
                        .map(|error| (stream.name().to_owned(), error))
                        .or(refusal);
                    Round::Carried
                }
            });
        }
        let counts = &self.shared.counts;
        self.leaving.retain_mut(|(stream, until)| {
            if stream.settle() {
                return false;
            }
            let stays = now < *until;
            if !stays {
                counts.add_lost(give_up(stream));
            }
            stays
        });
        if let Some((target, error)) = refusal
            && due(&mut self.refused_told_at, now)
        {
            tracing::warn!(target, %error, "a log cannot be written; its lines are kept as long as there is room for them");
        }
        round
    }

    fn tell_of_lost(&mut self) {
        let lost = self.shared.counts.lost();
        if lost > self.lost_told && due(&mut self.lost_told_at, Instant::now()) {
            let lines = lost - self.lost_told;
            tracing::warn!(
                lines,
                "log lines were dropped: they came faster than they could be written"
            );
            self.lost_told = lost;
        }
    }

    /// Sleeps until somebody has a line, then lets more of them gather.
    fn sleep(&mut self) {
        let wake = &self.shared.wake;
        wake.asleep.store(true, Ordering::Relaxed);
        let empty = self.streams.each().all(|stream| stream.settle());
        if empty && self.leaving.is_empty() {
            if self.shared.counts.lost() > self.lost_told {
                thread::park_timeout(WARN_EVERY);
            } else {
                thread::park();
            }
        }
        wake.asleep.store(false, Ordering::Relaxed);
        // An order may be what woke it, and whoever gave it waits.
        let ordered = {
            let orders = wake.orders();
            orders.close || orders.streams.is_some()
        };
        if !ordered {
            thread::park_timeout(FETCH_EVERY);
        }
    }

    /// Waits for the first target that has no room, though not for long: the other one may have.
    fn wait_for_room(&mut self) {
        let leaving = self.leaving.iter_mut().map(|(stream, _)| stream);
        if let Some(stream) = self
            .streams
            .each()
            .chain(leaving)
            .find(|stream| stream.has_pending())
        {
            stream.wait_for_room(ROOM_WAIT);
        }
    }

    /// Writes what is left for as long as a stop may take, and counts the rest as lost.
    fn finish(mut self) {
        for stream in self.streams.each() {
            stream.sink.close();
        }
        // A little less than the one who stops us waits.
        let until = Instant::now() + CLOSE_WAIT_MAX * 3 / 4;
        while !self.all_written() && Instant::now() < until {
            match self.round() {
                Round::Blocked => self.wait_for_room(),
                Round::Nothing | Round::Carried => thread::park_timeout(ROOM_WAIT),
            }
        }
        let leaving = self.leaving.iter_mut().map(|(stream, _)| stream);
        let left: u64 = (self.streams.each().chain(leaving))
            .map(|stream| give_up(stream))
            .sum();
        self.shared.counts.add_lost(left);
        self.lost_told_at = None;
        self.tell_of_lost();
        self.shared.wake.orders().closed = true;
        self.shared.wake.obeyed.notify_all();
    }

    fn all_written(&mut self) -> bool {
        self.streams.each().all(|stream| stream.settle()) && self.leaving.is_empty()
    }
}

/// Gives up what a log has not taken: so many lines. Those of the audit log are told in the server's own log, each as it is.
fn give_up(stream: &Stream) -> u64 {
    if stream.log == AUDIT {
        let left = stream.left();
        let lines = || {
            left.split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
        };
        for line in lines().take(AUDIT_LINES_TOLD_MAX) {
            let line = String::from_utf8_lossy(line);
            tracing::error!(%line, "this line did not reach the audit log");
        }
        if let more @ 1.. = lines().count().saturating_sub(AUDIT_LINES_TOLD_MAX) {
            tracing::error!(more, "and more lines did not reach the audit log");
        }
    }
    stream.lines_left()
}

/// What messages call the audit log.
const AUDIT: &str = "audit";

/// More lines than these tell nobody more.
const AUDIT_LINES_TOLD_MAX: usize = 100;

/// Whether something may be told again; if so, notes that it is.
fn due(told_at: &mut Option<Instant>, now: Instant) -> bool {
    let due = told_at.is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
    if due {
        *told_at = Some(now);
    }
    due
}
