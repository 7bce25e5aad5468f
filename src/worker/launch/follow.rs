//! Following a worker from its start to its end, on a runtime.

use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::LaunchError;
use super::orders::Report;
use super::socket::Folder;
use super::spawn::Spawned;
use super::{LaunchSpec, Process, Shared};
use crate::worker::death::{Cause, Death};
use crate::worker::limits::{Reached, Watch};
use crate::worker::output::{self, Speaker, Tail};

/// A fork, a few calls and an exec; what takes longer hangs, on a disk or on a folder of the network.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a keeper that was told to kill may take before it is killed itself, and with it the worker.
const KILL_MAX: Duration = Duration::from_secs(10);
/// All who could write are dead; what they wrote is in the pipe.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// A report is a line.
const REPORT_MAX: u64 = 64 << 10;

type Reports = BufReader<tokio::io::Take<UnixStream>>;

/// Waits until the worker's program runs, and has it followed from then on.
pub(super) async fn begin(spec: &LaunchSpec, spawned: Spawned) -> Result<Process, LaunchError> {
    let Spawned {
        keeper,
        control,
        stdout,
        stderr,
        place,
        measure,
    } = spawned;
    let failed = |error: std::io::Error| LaunchError::Keeper(error.to_string());
    let write = control.try_clone().map_err(failed)?;
    control.set_nonblocking(true).map_err(failed)?;
    let control = UnixStream::from_std(control).map_err(failed)?;
    let mut reports = BufReader::new(control.take(REPORT_MAX));
    let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(failed)?;
    let mut stderr = pipe::Receiver::from_owned_fd(stderr).map_err(failed)?;
    let (keeper, pid) = started(keeper, &mut reports, &mut stderr).await?;
    let shared = Arc::new(Shared {
        address: place.address,
        control: write,
        tail: Tail::default(),
        asked: Mutex::new(None),
        kill: watch::Sender::new(false),
        frozen: false.into(),
        measure,
        started: Instant::now(),
    });
    shared.measure.begin(keeper.id());
    let (death, dead) = watch::channel(None);
    let (over, over_limit) = watch::channel(None);
    let speaker = |stream| Speaker {
        pool: spec.pool.clone(),
        worker: spec.worker,
        pid,
        stream,
    };
    let follow = Follow {
        pumps: [
            pump(stdout, speaker("stdout"), Arc::clone(&shared)),
            pump(stderr, speaker("stderr"), Arc::clone(&shared)),
        ],
        watch: Watch::new(&spec.limits, shared.measure.in_force()),
        shared: Arc::clone(&shared),
        keeper,
        reports,
        over,
        _folder: place.folder,
    };
    tokio::spawn(async move {
        death.send_replace(Some(follow.until_it_ends().await));
    });
    tracing::debug!(pool = spec.pool, worker = spec.worker, pid, limits = %shared.measure.in_force(), "a worker runs");
    Ok(Process {
        pid,
        shared,
        death: dead,
        over_limit,
    })
}

/// Waits until the worker's program runs; gives its process, and the keeper back.
async fn started(
    mut keeper: Child,
    reports: &mut Reports,
    stderr: &mut pipe::Receiver,
) -> Result<(Child, u32), LaunchError> {
    match timeout(START_MAX, report(reports, &mut Vec::new())).await {
        Ok(Some(Report::Started(pid))) => Ok((keeper, pid)),
        Ok(Some(Report::Failed(error))) => {
            reap(keeper).await;
            Err(LaunchError::Step(error))
        }
        Ok(Some(Report::Ended { .. }) | None) => {
            let said = last_words(stderr).await;
            reap(keeper).await;
            Err(LaunchError::Keeper(format!("it ended at once{said}")))
        }
        Err(_) => {
            let _ = keeper.kill();
            reap(keeper).await;
            let what = format!("the program did not run within {START_MAX:?}");
            Err(LaunchError::Keeper(what))
        }
    }
}

fn pump(from: pipe::Receiver, speaker: Speaker, shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move { output::pump(from, speaker, &shared.tail).await })
}

/// The keeper's next report; what was read of it stays in `line` when the wait is given up.
async fn report(reports: &mut Reports, line: &mut Vec<u8>) -> Option<Report> {
    reports.read_until(b'\n', line).await.ok()?;
    let report = serde_json::from_slice(line).ok();
    line.clear();
    report
}

/// What a keeper said that could not even begin.
async fn last_words(stderr: &mut pipe::Receiver) -> String {
    let mut said = vec![0; 1024];
    match timeout(LAST_WORDS_MAX, stderr.read(&mut said)).await {
        Ok(Ok(count @ 1..)) => format!("; it said {:?}", output::shown(said[..count].trim_ascii())),
        _ => String::new(),
    }
}

async fn reap(mut keeper: Child) {
    // It has ended, or was killed.
    let _ = tokio::task::spawn_blocking(move || keeper.wait()).await;
}

/// All that belongs to a worker that runs.
struct Follow {
    shared: Arc<Shared>,
    keeper: Child,
    reports: Reports,
    pumps: [JoinHandle<()>; 2],
    watch: Watch,
    over: watch::Sender<Option<super::OverLimit>>,
    /// Removed once nobody listens there.
    _folder: Option<Folder>,
}

impl Follow {
    async fn until_it_ends(mut self) -> Death {
        let mut killed_for = None;
        let mut kill = self.shared.kill.subscribe();
        let mut interval = tokio::time::interval(self.watch.every());
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut told_to_kill, mut line) = (false, Vec::new());
        let report = loop {
            tokio::select! {
                report = report(&mut self.reports, &mut line) => break report,
                _ = kill.wait_for(|kill| *kill), if !told_to_kill => {
                    told_to_kill = true;
                    // A keeper that somebody has stopped would never hear of it.
                    interval.reset_after(KILL_MAX);
                }
                _ = interval.tick() => {
                    if told_to_kill {
                        let _ = self.keeper.kill();
                    } else if let Some(reached) = self.watch.look(&self.shared.measure) {
                        match reached {
                            Reached::Replace(over) => {
                                self.over.send_replace(Some(over));
                            }
                            Reached::Kill(cause) => {
                                killed_for = Some(cause);
                                self.shared.kill();
                            }
                        }
                    }
                }
            }
        };
        reap(self.keeper).await;
        for pump in self.pumps {
            let _ = timeout(LAST_WORDS_MAX, pump).await;
        }
        let (cause, left) = cause(report);
        let cause = killed_for
            .or_else(|| self.shared.measure.out_of_memory(cause))
            .unwrap_or(cause);
        self.shared.measure.end();
        Death {
            cause,
            by_us: *self
                .shared
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            age: self.shared.started.elapsed(),
            left,
            last_line: self.shared.tail.last_line(),
        }
    }
}

fn cause(report: Option<Report>) -> (Cause, u32) {
    match report {
        Some(Report::Ended {
            status: Some(status),
            left,
            ..
        }) => (Cause::Exited(status), left),
        Some(Report::Ended {
            signal: Some(signal),
            core,
            left,
            ..
        }) => (Cause::Signalled { signal, core }, left),
        _ => (Cause::Unknown, 0),
    }
}
