//! Wiring: a configuration becomes a running server; reload; drain.
//!
//! What runs is one value, built whole beside the old one and then published. A reload that fails anywhere changes nothing.

mod answers;
mod build;
mod control;
pub mod explain;
mod history;
mod life;
mod plan;
mod pools;
mod ports;
mod prepare;
mod privileges;
mod probe;
mod rehearsal;
mod upkeep;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use build::LibraryHandlers;
pub use life::{RunError, run};
pub use prepare::{check, prepare};

use crate::acme::Challenges;
use crate::certificate::Certificates;
use crate::config::{Config, LogTarget};
use crate::handler::Upkeep;
use crate::http::{Edge, Published, Thread};
use crate::listener::{
    BindError, Command, ConnectionLimits, DataThread, Inherited, Listening, SocketKey, Sockets,
    Worker, inherit,
};
use crate::ocsp::Stapler;
use crate::report::{Report, ReportError};
use crate::tls::TlsTable;
use crate::worker::machine::TERMINATE_GRACE;
use build::{BuildError, Context, Running};
use plan::{AtStart, Plan};
use ports::{Datagrams, Opened, Ports};
use privileges::PrivilegeError;
use rehearsal::{Rehearsals, Stage};
use upkeep::UpkeepThread;

/// A server that runs.
pub struct Server {
    at_start: AtStart,
    config: Config,
    certificates: Arc<Certificates>,
    edge: Arc<Edge>,
    tls_table: Arc<TlsTable>,
    published: Arc<Published>,
    tls: Arc<ArcSwap<TlsTable>>,
    limits: Arc<ConnectionLimits>,
    challenges: Arc<Challenges>,
    report: Arc<Report>,
    ports: Ports,
    inherited: Inherited,
    stapler: Arc<Stapler>,
    threads: Vec<DataThread>,
    /// What they work with, as long as they do.
    workers: Vec<Weak<Worker>>,
    library: LibraryHandlers,
    upkeep: UpkeepThread,
    rehearsals: Rehearsals,
}

/// Why a server could not be started, or a configuration not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Sockets could not be had.
    #[error("{}", lines(.0))]
    Bind(Vec<BindError>),
    /// Handlers could not be made.
    #[error("{}", lines(.0))]
    Build(Vec<BuildError>),
    /// A log cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A TLS policy cannot be built.
    #[error("a TLS policy cannot be built: {0}")]
    Tls(#[from] rustls::Error),
    /// Privileges could not be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The system refused a thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

fn lines(errors: &[impl ToString]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Builds what serves requests, for those who accept connections themselves: an application, a test, a benchmark.
pub fn edge(
    config: &Config,
    library: &LibraryHandlers,
    report: &Arc<Report>,
) -> Result<Arc<Edge>, ServerError> {
    let context = Context {
        threads: thread_count(config),
        library,
        report,
        challenges: &Arc::default(),
        answers: Vec::new(),
        running: None,
    };
    build::edge(config, &context)
        .map(|built| built.edge)
        .map_err(ServerError::Build)
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was finished.
    Finished,
    /// So many connections were cut.
    Cut(usize),
}

impl Server {
    /// Opens the sockets, gives privileges up, and starts the data threads.
    pub fn start(
        config: Config,
        certificates: Arc<Certificates>,
        library: LibraryHandlers,
    ) -> Result<Self, ServerError> {
        // Before the first thread: it is each thread's own, and handed on to those that it starts.
        privileges::gain_none()?;
        let threads = thread_count(&config);
        let report = Arc::new(Report::start(&config.log, threads)?);
        let inherited = inherit();
        let ports = Ports::default();
        let opened = ports
            .open(&config, &ports.compare(&config), threads, &inherited)
            .map_err(ServerError::Bind)?;
        for address in inherited.unused(&opened.keys()) {
            tracing::warn!(%address, "a socket was passed that no binding is for");
        }
        privileges::drop(&config, &log_files(&config))?;
        let settled = ports.settle(&config, &opened);
        let challenges = Arc::default();
        let context = Context {
            threads,
            library: &library,
            report: &report,
            challenges: &challenges,
            answers: ports.answers(&config, &opened),
            running: None,
        };
        let mut built = build::edge(&settled, &context).map_err(ServerError::Build)?;
        let edge = Arc::clone(&built.edge);
        let stapler = Arc::new(Stapler::default());
        // As the user that keeps them.
        let staples = stapler.prepare(&config, &certificates);
        let tls_table = Arc::new(TlsTable::build(
            &settled,
            &build::keys(&edge),
            &certificates,
            None,
        )?);
        let mut server = Self {
            at_start: AtStart::of(&config),
            certificates,
            published: Published::new(Arc::clone(&edge)),
            tls: Arc::new(ArcSwap::new(Arc::clone(&tls_table))),
            limits: ConnectionLimits::new(
                max_connections(&config),
                config.limits.max_connections_per_ip,
            ),
            config,
            edge,
            tls_table,
            challenges,
            report,
            ports,
            inherited,
            stapler,
            threads: Vec::new(),
            workers: Vec::new(),
            library,
            upkeep: UpkeepThread::default(),
            rehearsals: Rehearsals::default(),
        };
        server.upkeep.run(built.take_upkeep())?;
        server.start_threads(threads)?;
        server.stapler.take(staples);
        server.listen(opened);
        server.rehearse(&settled);
        Ok(server)
    }

    /// Looks at every https binding as a client does.
    fn rehearse(&self, settled: &Config) {
        self.rehearsals.begin(&Stage {
            config: settled,
            addresses: self.ports.addresses_of_bindings(&self.config),
            table: &self.tls_table,
            certificates: &self.certificates,
            report: &self.report,
        });
    }

    fn start_threads(&mut self, threads: usize) -> Result<(), ServerError> {
        for index in 0..threads {
            let thread = Thread::new(Arc::clone(&self.published));
            let worker = Worker::new(thread, Arc::clone(&self.tls), Arc::clone(&self.limits));
            self.workers.push(Arc::downgrade(&worker));
            self.threads.push(DataThread::start(index, worker)?);
        }
        Ok(())
    }

    /// Hands freshly opened sockets to the data threads.
    fn listen(&mut self, opened: Opened) {
        for (key, listening) in opened.sockets {
            self.hand_out(key, listening, Sockets::Tcp);
        }
        for Datagrams {
            key,
            listening,
            group,
            answers,
        } in opened.datagrams
        {
            let addresses = listening.addresses.clone();
            self.hand_out(key, listening, |sockets| {
                Sockets::Quic(sockets, Arc::clone(&group))
            });
            self.ports
                .add_datagrams(key, Arc::clone(&group), Arc::clone(&answers));
            probe::start(addresses, self.threads.len(), answers);
        }
    }

    fn hand_out<S>(
        &mut self,
        key: SocketKey,
        listening: Listening<S>,
        kind: impl Fn(Vec<S>) -> Sockets,
    ) {
        for address in &listening.addresses {
            tracing::info!(address = %format_args!("{}://{address}", key.spoken()), "listening");
        }
        for (thread, sockets) in self.threads.iter().zip(listening.sockets) {
            thread.tell(Command::Listen(key, kind(sockets)));
        }
        self.inherited.let_go(key);
        self.ports.add(key, listening.addresses);
    }

    /// Closes sockets that are no longer needed, and waits for it: then their ports are free, and the next reload may ask for
    /// them again.
    fn unlisten(&mut self, keys: &[SocketKey], within: Duration) {
        let (closed, all_closed) = mpsc::channel();
        for &key in keys {
            self.ports.forget(key);
            tracing::info!(%key, "no longer listening");
            for thread in &self.threads {
                thread.tell(Command::Unlisten(key, within, closed.clone()));
            }
        }
        drop(closed);
        // Nothing is sent: the wait ends when the last thread has dropped its sender.
        if all_closed.recv_timeout(UNLISTEN_WAIT_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                "sockets that are no longer needed are not closed yet: a data thread is busy"
            );
        }
    }

    /// Where is listened, by the order of the sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.addresses()
    }

    /// Takes another configuration, whole or not at all, and tells what changed. Requests under way keep what they began with; pools, sockets and
    /// ticket keys that stay the same live on.
    ///
    /// What becomes of pools and sockets is decided in one place, the [`Plan`], which a dry run tells.
    fn reload(
        &mut self,
        config: Config,
        certificates: Arc<Certificates>,
    ) -> Result<Plan, ServerError> {
        let threads = self.threads.len();
        let plan = Plan::of(self, &config, &certificates);
        let opened = self
            .ports
            .open(&config, &plan.sockets, threads, &self.inherited)
            .map_err(ServerError::Bind)?;
        let settled = self.ports.settle(&config, &opened);
        let context = Context {
            threads,
            library: &self.library,
            report: &self.report,
            challenges: &self.challenges,
            answers: self.ports.answers(&config, &opened),
            running: Some(Running {
                edge: &self.edge,
                fates: &plan.fates,
            }),
        };
        let mut built = build::edge(&settled, &context).map_err(ServerError::Build)?;
        let keys = build::keys(&built.edge);
        let staples = self.stapler.prepare(&config, &certificates);
        let tls_table = Arc::new(TlsTable::build(
            &settled,
            &keys,
            &certificates,
            Some(&self.tls_table),
        )?);
        self.report.reopen(&config.log)?;
        self.upkeep.run(built.take_upkeep())?;

        // Nothing fails from here on.
        built.settle();
        self.certificates = certificates;
        self.edge = Arc::clone(&built.edge);
        self.tls_table = Arc::clone(&tls_table);
        self.published.replace(built.edge);
        self.tls.store(Arc::clone(&tls_table));
        tls_table.take_effect();
        self.stapler.take(staples);
        for thread in &self.threads {
            thread.tell(Command::Refresh);
        }
        self.limits.set(
            max_connections(&config),
            config.limits.max_connections_per_ip,
        );
        self.listen(opened);
        self.unlisten(&plan.sockets.close, config.server.drain_timeout);
        for key in &plan.restart {
            tracing::warn!(key, "this key takes effect at the next start");
        }
        self.config = config;
        self.rehearse(&settled);
        Ok(plan)
    }

    /// Shows other certificates to new connections; all else stays, and so do connections that stand.
    pub fn take_certificates(
        &mut self,
        certificates: Arc<Certificates>,
    ) -> Result<(), ServerError> {
        if certificates.show_as(&self.certificates) {
            self.certificates = certificates;
            return Ok(());
        }
        let settled = self.settled();
        let keys = build::keys(&self.edge);
        let staples = self.stapler.prepare(&self.config, &certificates);
        let old = Some(&*self.tls_table);
        let tls_table = Arc::new(TlsTable::build(&settled, &keys, &certificates, old)?);
        self.certificates = certificates;
        self.tls_table = Arc::clone(&tls_table);
        self.tls.store(Arc::clone(&tls_table));
        tls_table.take_effect();
        self.stapler.take(staples);
        self.rehearse(&settled);
        Ok(())
    }

    /// The configuration that runs, with the ports that the system chose.
    fn settled(&self) -> Config {
        self.ports.settle(&self.config, &Opened::default())
    }

    /// Who keeps the staples, and knows how each of them stands.
    pub fn stapler(&self) -> &Arc<Stapler> {
        &self.stapler
    }

    /// Accepts no more, lets every request finish, and closes idle connections at once. Ends when the last connection does,
    /// or when `until` has come.
    pub async fn drain(&self, until: impl Future<Output = ()>) -> Drained {
        for thread in &self.threads {
            thread.tell(Command::Drain);
        }
        tokio::select! {
            () = self.drained() => Drained::Finished,
            () = until => Drained::Cut(self.limits.open()),
        }
    }

    /// Waits until every data thread has closed its sockets, and then until no connection is open.
    async fn drained(&self) {
        for thread in &self.threads {
            thread.settled().await;
        }
        self.limits.none_left().await;
    }

    /// How long a drain may take.
    pub fn drain_timeout(&self) -> Duration {
        self.config.server.drain_timeout
    }

    /// Where a CA that looks whether a name is ours is answered.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// Handlers of the program's own.
    pub fn library(&self) -> &LibraryHandlers {
        &self.library
    }

    /// The configuration that runs.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The certificates that are shown, and what is known of their files.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.config.file
    }

    /// Whether every data thread still runs.
    pub fn is_healthy(&self) -> bool {
        self.threads.iter().all(DataThread::is_alive)
    }

    /// Ends the data threads, whatever they still do, then the workers of pools, and writes the logs out.
    pub fn stop(mut self) {
        DataThread::join_all(std::mem::take(&mut self.threads));
        let pools = self.edge.pools.iter();
        let desks = pools.filter_map(|pool| pool.handler().desk());
        let ends = desks.map(|desk| Box::pin(desk.end()) as Upkeep).collect();
        self.upkeep.finish(ends, WORKERS_END_WAIT_MAX);
        self.edge.tracer.as_ref().inspect(|tracer| tracer.finish());
        self.report.close();
    }

    /// The same, and workers are killed rather than told to end.
    pub fn stop_at_once(self) {
        DataThread::join_all(self.threads);
        drop(self.upkeep);
        self.report.close();
    }
}

/// How long the closing of sockets is waited for: a data thread does it between two connections.
const UNLISTEN_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long the end of the workers is waited for: they are told, killed after a while, and gone a moment later.
const WORKERS_END_WAIT_MAX: Duration = TERMINATE_GRACE.saturating_add(Duration::from_secs(2));

fn thread_count(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

/// As many as file descriptors allow, with some left for upstreams, files and logs.
fn max_connections(config: &Config) -> Option<usize> {
    config.limits.max_connections.or_else(|| {
        let (soft, _) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok()?;
        let files = usize::try_from(soft).unwrap_or(usize::MAX);
        Some(files.saturating_sub((files / 16).max(64)).max(1))
    })
}

fn log_files(config: &Config) -> Vec<&Path> {
    let log = &config.log;
    [&log.access, &log.errors, log.audit.target()]
        .into_iter()
        .filter_map(|target| match target {
            LogTarget::File(file) => Some(PathBuf::as_path(file)),
            _ => None,
        })
        .collect()
}
