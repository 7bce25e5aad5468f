//! The life of a server: start, signals, the service manager, stop.

mod findings;
mod reloads;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::answers::{Answers, Serving};
use super::control::{Asked, Asks, By, Control};
use super::prepare::prepare;
use super::privileges;
use super::watch::{Found, Watch};
use super::{Drained, LibraryHandlers, Server, ServerError};
use crate::acme::{self, Acme};
use crate::admin::{self, Admin};
use crate::certificate::News;
use crate::config::{self, LogFormat};
use crate::report::own_log::{self, OwnLog, OwnLogError};
use crate::report::{AuditOutcome, Audited, AuditedBy};
use crate::worker::launch;

/// Why a run ended otherwise than by a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has errors, which are told already: the first of them.
    #[error("the configuration has errors, the first of them: {0}")]
    Configuration(String),
    /// The server's own log cannot be set up.
    #[error(transparent)]
    OwnLog(#[from] OwnLogError),
    /// The server could not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The system refused something that every process may have.
    #[error("signals cannot be watched: {0}")]
    System(#[from] io::Error),
}

/// What works beside a server, and follows what it serves with.
struct Beside {
    acme: Acme,
    serving: Arc<Serving>,
    watch: Watch,
    _admin: Option<Admin>,
    _metrics: Option<Admin>,
}

/// The sockets that who runs or watches the server asks at.
struct Desks {
    admin: Option<admin::Bound>,
    metrics: Option<admin::Bound>,
}

impl Beside {
    fn start(server: &Server, control: Control, desks: Desks) -> Result<Self, RunError> {
        let serving = Serving::of(server);
        let answers = Arc::new(Answers::new(control.clone(), Arc::clone(&serving)));
        let server_config = &server.config().server;
        Ok(Self {
            acme: start_acme(server, control.clone()),
            serving,
            _admin: (desks.admin)
                .and_then(|bound| start_desk(bound, &server_config.admin, Arc::clone(&answers))),
            _metrics: (desks.metrics.zip(server_config.metrics))
                .and_then(|(bound, address)| start_desk(bound, &address, answers)),
            watch: Watch::start(Arc::clone(server.certificates()), control)?,
        })
    }

    /// After a reload.
    fn follow(&mut self, server: &Server) {
        self.acme.take(server.config());
        self.watch.follow(server.certificates());
        self.serving.follow(server);
    }
}

/// Runs a server in the foreground until it is told to stop.
pub fn run(file: &Path, library: LibraryHandlers) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(live(file, library))
}

async fn live(file: &Path, library: LibraryHandlers) -> Result<(), RunError> {
    // Before anything else: a signal that comes during the start must find somebody.
    let (mut asks, control) = Asks::new()?;
    let first_look = crate::config::load(file);
    let own_log = match &first_look.config {
        Some(config) => own_log::start(&config.log)?,
        None => {
            // Nobody can say yet how lines are to be written.
            findings::tell(&first_look, LogFormat::Text);
            return Err(errors_of(&first_look));
        }
    };
    let mut prepared = prepare(file, &library, None);
    findings::tell(&prepared.loaded, own_log.format());
    let Some((config, certificates)) = prepared.take() else {
        return Err(errors_of(&prepared.loaded));
    };
    raise_open_files();
    // While it may still make files where the server's user may not.
    let desks = bind_desks(&config.server);
    make_acme_folders(&config);
    make_worker_folder(&config);
    let mut server = Server::start(config, Arc::new(certificates), library)?;
    let mut beside = Beside::start(&server, control, desks)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file.display(), "ready");
    notify(&[NotifyState::Ready]);

    let end = attend(&mut server, &mut asks, &mut beside, &own_log).await;
    beside.acme.stop();
    match end {
        End::InOrder => server.stop(),
        End::AtOnce => server.stop_at_once(),
    }
    launch::leave();
    tracing::info!("stopped");
    Ok(())
}

/// How a server is to end.
enum End {
    InOrder,
    AtOnce,
}

/// Does what is asked until it is to stop.
async fn attend(
    server: &mut Server,
    asks: &mut Asks,
    beside: &mut Beside,
    own_log: &OwnLog,
) -> End {
    let mut watchdog = watchdog();
    loop {
        let asked = tokio::select! {
            asked = asks.next() => asked,
            _ = watchdog.tick() => {
                if server.is_healthy() {
                    notify(&[NotifyState::Watchdog]);
                } else {
                    tracing::error!("a data thread has ended; the service manager is no longer told that all is well");
                }
                continue;
            }
        };
        match asked {
            Asked::Reload(whom) => reloads::reload(server, own_log, beside, whom),
            Asked::Plan(reply) => reloads::plan(server, reply),
            Asked::Certificates => beside.watch.look(),
            Asked::Show(found) => {
                if show(server, *found) {
                    beside.watch.follow(server.certificates());
                }
                beside.serving.follow(server);
            }
            Asked::Upgrade => tracing::warn!(
                "SIGUSR2 (handing the sockets over) is not in this version of Portunus yet"
            ),
            Asked::Stop(by) => {
                audit(server, "stop", by, Ok(()));
                beside.serving.drains();
                drain(server, asks).await;
                return End::InOrder;
            }
            Asked::StopNow(by) => {
                audit(server, "stop-now", by, Ok(()));
                tracing::info!("stopping at once");
                return End::AtOnce;
            }
        }
    }
}

/// Where they cannot be made, whoever orders says so.
fn make_acme_folders(config: &config::Config) {
    let owner = privileges::becomes(&config.server).ok().flatten();
    if let Err(error) = acme::make_folders(config, owner) {
        tracing::debug!(%error, "the folders of [acme] cannot be made");
    }
}

/// Where it cannot be made, the first worker's failure says so.
fn make_worker_folder(config: &config::Config) {
    let processes = config.pools.iter().find_map(|pool| match &pool.handler {
        config::Handler::Process(process) => Some(process),
        _ => None,
    });
    let owner = privileges::becomes(&config.server).ok().flatten();
    if let (Some(process), Some(owner)) = (processes, owner)
        && let Err(error) = launch::make_folder(&process.socket_folder, owner)
    {
        tracing::debug!(%error, "the folder of the workers' sockets cannot be made");
    }
}

/// Begins to order what bindings want ordered. The certificates that it puts in service are looked at anew.
fn start_acme(server: &Server, control: Control) -> Acme {
    let changed = move || control.ask(Asked::Certificates);
    Acme::start(server.config(), Arc::clone(server.challenges()), changed)
}

/// A server that cannot be asked serves all the same.
fn bind_desks(server: &config::Server) -> Desks {
    let owner = privileges::becomes(server).ok().flatten();
    let admin = admin::bind(server, owner).unwrap_or_else(|error| {
        tracing::error!(%error, "there is no admin socket: this server cannot be asked, but by signals");
        None
    });
    let metrics = admin::bind_metrics(server).unwrap_or_else(|error| {
        tracing::error!(%error, "there is no metrics address: the admin socket has /metrics all the same");
        None
    });
    Desks { admin, metrics }
}

fn start_desk(
    bound: admin::Bound,
    place: &dyn std::fmt::Display,
    answers: Arc<Answers>,
) -> Option<Admin> {
    let what = bound.purpose();
    match admin::start(bound, answers) {
        Ok(running) => {
            tracing::info!(at = %place, "{what}");
            Some(running)
        }
        Err(error) => {
            tracing::error!(%error, at = %place, "nobody can ask here");
            None
        }
    }
}

async fn drain(server: &Server, asks: &mut Asks) {
    notify(&[NotifyState::Stopping]);
    let timeout = server.drain_timeout();
    tracing::info!(drain_timeout = %humantime::format_duration(timeout), "stopping: requests in flight may finish");
    let until = async {
        tokio::select! {
            () = tokio::time::sleep(timeout) => {}
            by = asks.stop_again() => audit(server, "stop-now", by, Ok(())),
        }
    };
    if let Drained::Cut(connections) = server.drain(until).await {
        tracing::warn!(
            connections,
            "connections were cut that did not finish in time"
        );
    }
}

fn errors_of(loaded: &config::Loaded) -> RunError {
    RunError::Configuration(loaded.first_error().unwrap_or_default())
}

/// Writes down what a signal asked for, and why it was not done; what administrators do is written down where they ask.
fn audit(server: &Server, action: &str, by: By, done: Result<(), &str>) {
    if let By::Signal(signal) = by {
        server.report.audited(&Audited {
            action,
            pool: None,
            by: AuditedBy::Signal(signal),
            outcome: match done {
                Ok(()) => AuditOutcome::Done,
                Err(_) => AuditOutcome::Failed,
            },
            detail: done.err(),
        });
    }
}

/// Shows what was found in the certificate files, unless something else has come to be shown since they were looked at: then
/// they are looked at again. Returns whether they are to be; not where they could not be shown, as they could not be then either.
fn show(server: &mut Server, found: Found) -> bool {
    if !Arc::ptr_eq(&found.beside, server.certificates()) {
        return true;
    }
    if let Err(error) = server.take_certificates(Arc::new(found.looked.certificates)) {
        tracing::error!(%error, "the certificates were not taken; those that were shown go on being shown");
        return false;
    }
    found.looked.news.iter().for_each(News::tell);
    true
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Ticks at half the time that the service manager waits for a sign of life; never, where it does not wait.
fn watchdog() -> tokio::time::Interval {
    let every = sd_notify::watchdog_enabled().map_or(NEVER, |within| within / 2);
    tokio::time::interval_at(tokio::time::Instant::now() + every, every)
}

/// A connection is a file descriptor; the soft limit that shells start programs with is far below the hard one.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files cannot be raised");
    }
}

/// A year.
const NEVER: Duration = Duration::from_secs(365 * 86_400);
