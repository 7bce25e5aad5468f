//! Looking after one worker: whether it is ready, whether it still answers, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Front, Why, WorkerId};
use crate::config;
use crate::worker::Member;
use crate::worker::death::Death;
use crate::worker::launch::{OverLimit, Process, WorkerAddress};

/// What there is to report.
pub(super) enum Report {
    Launched(WorkerId, Process),
    NotLaunched(WorkerId, String),
    Ready(WorkerId),
    /// A request of its warm-up did not succeed, which holds nothing up.
    WarmUp(WorkerId, String),
    Died(WorkerId, Death),
    Unresponsive(WorkerId, String),
    Drained(WorkerId),
    OverLimit(WorkerId, OverLimit),
    /// The workers are to be replaced.
    Due(Why),
    /// Whether the offline file is there.
    Offline(bool),
}

/// What looks after a worker, in tasks of their own.
pub(super) struct Tasks {
    id: WorkerId,
    reports: mpsc::Sender<Report>,
    handles: Vec<AbortHandle>,
}

impl Tasks {
    pub(super) fn new(id: WorkerId, reports: &mpsc::Sender<Report>) -> Self {
        Self {
            id,
            reports: reports.clone(),
            handles: Vec::new(),
        }
    }

    pub(super) fn handles(self) -> Vec<AbortHandle> {
        self.handles
    }

    fn spawn(&mut self, report: impl Future<Output = Report> + Send + 'static) {
        let reports = self.reports.clone();
        let task = tokio::spawn(async move {
            let report = report.await;
            // Nobody is there to hear it once the supervisor has gone.
            let _ = reports.send(report).await;
        });
        self.handles.push(task.abort_handle());
    }

    /// Tells of its end.
    pub(super) fn end(&mut self, process: &Process) {
        let (id, ended) = (self.id, process.ended());
        self.spawn(async move { Report::Died(id, ended.await) });
    }

    /// Tells of a limit that it is to be replaced for.
    pub(super) fn limits(&mut self, process: &Process) {
        let (id, over) = (self.id, process.over_limit());
        self.spawn(async move { Report::OverLimit(id, over.await) });
    }

    /// Tells when it is ready for requests.
    pub(super) fn start(
        &mut self,
        front: &Arc<dyn Front>,
        member: &Arc<Member>,
        settings: &Arc<config::Process>,
    ) {
        let (id, reports) = (self.id, self.reports.clone());
        let (front, member) = (Arc::clone(front), Arc::clone(member));
        let settings = Arc::clone(settings);
        self.spawn(async move {
            accepts(member.address()).await;
            if let Some(path) = &settings.ready_path {
                answers(&*front, &member, path).await;
            }
            for path in &settings.warm_up {
                let what = match front.ask(&member, path).await {
                    Ok(status) if status < 400 => continue,
                    Ok(status) => format!("{path} was answered with {status}"),
                    Err(why) => format!("{path} was not answered: {why}"),
                };
                let _ = reports.send(Report::WarmUp(id, what)).await;
            }
            Report::Ready(id)
        });
    }

    /// Tells when it no longer answers, if it is to be asked.
    pub(super) fn ping(
        &mut self,
        front: &Arc<dyn Front>,
        member: &Arc<Member>,
        settings: &Arc<config::Process>,
    ) {
        let Some(ping) = settings.ping.clone() else {
            return;
        };
        let id = self.id;
        let (front, member) = (Arc::clone(front), Arc::clone(member));
        self.spawn(async move {
            loop {
                tokio::time::sleep(ping.interval).await;
                if let Err(why) = answers_in_time(&*front, &member, &ping).await {
                    return Report::Unresponsive(id, why);
                }
            }
        });
    }
}

/// Waits until its socket accepts a connection.
async fn accepts(address: &WorkerAddress) {
    let mut pause = PAUSE_MIN;
    while connect(address).await.is_err() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn connect(address: &WorkerAddress) -> std::io::Result<()> {
    match address {
        WorkerAddress::Unix(path) => UnixStream::connect(path).await.map(drop),
        WorkerAddress::Tcp(address) => TcpStream::connect(address).await.map(drop),
    }
}

/// Waits until it answers a path with 2xx.
async fn answers(front: &dyn Front, member: &Member, path: &str) {
    let mut pause = PAUSE_MIN;
    while !matches!(front.ask(member, path).await, Ok(200..300)) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks until an answer is good, for as long as it may take.
async fn answers_in_time(
    front: &dyn Front,
    member: &Member,
    ping: &config::Ping,
) -> Result<(), String> {
    let until = Instant::now() + ping.timeout;
    let within = humantime::format_duration(ping.timeout);
    loop {
        // Whoever stands still, or is about to end, need not answer.
        if member.is_closed() {
            return Ok(());
        }
        let asked = tokio::time::timeout_at(until, asked(front, member, ping)).await;
        let why = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => "no answer came".to_owned(),
        };
        if Instant::now() + PING_AGAIN >= until {
            if member.is_closed() {
                return Ok(());
            }
            return Err(format!("did not answer a ping within {within}: {why}"));
        }
        tokio::time::sleep(PING_AGAIN).await;
    }
}

async fn asked(front: &dyn Front, member: &Member, ping: &config::Ping) -> Result<(), String> {
    let Some(path) = &ping.path else {
        let connected = connect(member.address()).await;
        return connected.map_err(|error| error.to_string());
    };
    match front.ask(member, path).await? {
        status if status < 500 => Ok(()),
        status => Err(format!("{path} was answered with {status}")),
    }
}

/// How long is waited between two looks whether it is ready: most are within a fraction of a second.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long is waited after an answer to a ping that was not good.
const PING_AGAIN: Duration = Duration::from_millis(500);
