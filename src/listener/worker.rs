//! One data thread: its own runtime, its own sockets, its own connections.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::datagrams::Group;
use super::handshakes::{HANDSHAKES_MAX, Handshakes, UNVALIDATED_MAX};
use super::limits::ConnectionLimits;
use super::open::OpenConnections;
use super::{SocketKey, accept, quic};
use crate::http::Thread;
use crate::model::{Scheme, enter_data_thread};
use crate::tls::TlsTable;

/// What the connections of one data thread share.
pub struct Worker {
    /// The running edge and the connections.
    pub thread: Arc<Thread>,
    /// The running TLS policies.
    pub tls: Arc<ArcSwap<TlsTable>>,
    /// Of the whole process.
    pub limits: Arc<ConnectionLimits>,
    /// The connections of this thread that speak HTTP.
    pub open: Arc<OpenConnections>,
    /// Of this thread.
    pub(super) handshakes: Arc<Handshakes>,
    /// Of this thread, by QUIC, with clients that have not shown where they are.
    pub(super) unvalidated: Arc<Handshakes>,
    /// Set when what is still open is cut off. TCP tells a client by itself; over QUIC it must be said.
    pub(super) cut: watch::Sender<bool>,
    /// When a failing accept was last told of, in milliseconds since the start.
    warned: AtomicU64,
    started: Instant,
}

/// What a data thread is told.
pub enum Command {
    /// Accept on these sockets.
    Listen(SocketKey, Sockets),
    /// Stop accepting on a key's sockets, and close them. The sender is dropped when they are closed; but one for QUIC, which
    /// its connections need, closes with the last of these, and they are cut after this time.
    Unlisten(SocketKey, Duration, std::sync::mpsc::Sender<()>),
    /// Let go of what was published before, even if no request comes.
    Refresh,
    /// Stop accepting, and then let every connection finish.
    Drain,
    /// Say so when everything that was told before is done, accepting included.
    Settle(oneshot::Sender<()>),
}

/// The sockets of one key for one data thread.
pub enum Sockets {
    /// To accept connections from.
    Tcp(Vec<std::net::TcpListener>),
    /// To speak QUIC on, and the group that they are of.
    Quic(Vec<std::net::UdpSocket>, Arc<Group>),
}

/// A running data thread, as the rest of the process sees it.
pub struct DataThread {
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<()>,
}

impl Worker {
    /// A data thread's own things.
    pub fn new(
        thread: Arc<Thread>,
        tls: Arc<ArcSwap<TlsTable>>,
        limits: Arc<ConnectionLimits>,
    ) -> Arc<Self> {
        Arc::new(Self {
            thread,
            tls,
            limits,
            open: Arc::default(),
            handshakes: Handshakes::new(HANDSHAKES_MAX),
            unvalidated: Handshakes::new(UNVALIDATED_MAX),
            cut: watch::channel(false).0,
            warned: AtomicU64::new(0),
            started: Instant::now(),
        })
    }

    /// Tells of a failing accept, once in a while.
    pub(super) fn warn_accept(&self, error: &io::Error) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.warned.load(Relaxed);
        if last == 0 || now - last >= WARN_EVERY_MILLIS {
            self.warned.store(now.max(1), Relaxed);
            tracing::warn!(
                %error,
                open = self.limits.open(),
                "connections cannot be accepted and wait; those that are open are served. Raise the limit of open files (LimitNOFILE), or set limits.max_connections"
            );
        }
    }
}

impl DataThread {
    /// Starts data thread `index`.
    pub fn start(index: usize, worker: Arc<Worker>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let handle = std::thread::Builder::new()
            .name(format!("data-{index}"))
            .spawn(move || {
                enter_data_thread(index);
                runtime.block_on(run(worker, inbox));
                // Drops every connection; a read that hangs on a dead disk or network share is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(Self { commands, handle })
    }

    /// Tells the thread something.
    pub fn tell(&self, command: Command) {
        // A thread that is gone has nothing left to do; `is_alive` tells of it. One that does not take commands is lost.
        if self.commands.try_send(command).is_err() {
            tracing::error!("a data thread takes no commands");
        }
    }

    /// Waits until everything that the thread was told is done.
    pub async fn settled(&self) {
        let (done, settled) = oneshot::channel();
        self.tell(Command::Settle(done));
        // An error is the end of the thread, and with it of all that it did.
        let _ = settled.await;
    }

    /// Whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        !self.handle.is_finished()
    }

    /// Lets the threads end, and waits for them, though not for ever. Connections that are still open are dropped.
    pub fn join_all(threads: Vec<DataThread>) {
        let (commands, handles): (Vec<_>, Vec<_>) = threads
            .into_iter()
            .map(|thread| (thread.commands, thread.handle))
            .unzip();
        drop(commands);
        let until = Instant::now() + JOIN_WAIT_MAX;
        for handle in handles {
            while !handle.is_finished() && Instant::now() < until {
                std::thread::sleep(JOIN_LOOK_EVERY);
            }
            if handle.is_finished() {
                // A thread that panicked has been told of by the panic itself.
                let _ = handle.join();
            } else {
                tracing::error!(
                    thread = handle.thread().name(),
                    "a data thread does not end; the process ends without it"
                );
            }
        }
    }
}

/// The accept loops of one key.
struct Accepting {
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
    over_quic: Vec<quic::Handle>,
}

impl Accepting {
    /// `leaving`: those of the same key that still have connections.
    fn begin(
        worker: &Arc<Worker>,
        scheme: Scheme,
        sockets: Sockets,
        mut leaving: Vec<quic::Handle>,
    ) -> Self {
        let stop = watch::channel(false).0;
        let mut loops = JoinSet::new();
        let mut over_quic = Vec::new();
        match sockets {
            Sockets::Tcp(sockets) => {
                for socket in sockets {
                    match TcpListener::from_std(socket) {
                        Ok(listener) => {
                            let (worker, stop) = (Arc::clone(worker), stop.subscribe());
                            loops.spawn(accept::run(worker, listener, scheme, stop));
                        }
                        Err(error) => {
                            tracing::error!(%error, "a listening socket cannot be watched")
                        }
                    }
                }
            }
            Sockets::Quic(sockets, group) => {
                for socket in sockets {
                    // One that still has connections takes more, and needs no second reader beside it.
                    let address = socket.local_addr().ok();
                    let left = leaving
                        .iter()
                        .position(|left| Some(left.address) == address);
                    if let Some(left) = left.map(|at| leaving.swap_remove(at))
                        && left.resume()
                    {
                        over_quic.push(left);
                        continue;
                    }
                    match quic::Listener::new(worker, socket, Arc::clone(&group)) {
                        Ok((listener, handle)) => {
                            tokio::spawn(listener.run());
                            over_quic.push(handle);
                        }
                        Err(error) => {
                            tracing::error!(%error, "a UDP socket cannot be used for QUIC")
                        }
                    }
                }
            }
        }
        Self {
            stop,
            loops,
            over_quic,
        }
    }

    /// Ends the loops; their sockets are closed then.
    async fn end(mut self) {
        let _ = self.stop.send(true);
        for listener in &self.over_quic {
            listener.finish(None);
        }
        while self.loops.join_next().await.is_some() {}
    }
}

async fn run(worker: Arc<Worker>, mut inbox: mpsc::Receiver<Command>) {
    let mut accepting: HashMap<SocketKey, Accepting> = HashMap::new();
    let mut leaving: HashMap<SocketKey, Vec<quic::Handle>> = HashMap::new();
    let mut ending = JoinSet::new();
    while let Some(command) = inbox.recv().await {
        while ending.try_join_next().is_some() {}
        leaving.retain(|_, left| left.iter().any(quic::Handle::is_running));
        match command {
            Command::Listen(key, sockets) => {
                let left = leaving.remove(&key).unwrap_or_default();
                let begun = Accepting::begin(&worker, key.scheme, sockets, left);
                if let Some(before) = accepting.insert(key, begun) {
                    ending.spawn(before.end());
                }
            }
            Command::Unlisten(key, within, closed) => {
                if let Some(mut accepting) = accepting.remove(&key) {
                    let left = std::mem::take(&mut accepting.over_quic);
                    left.iter().for_each(|left| left.finish(Some(within)));
                    leaving.insert(key, left);
                    ending.spawn(async move {
                        accepting.end().await;
                        drop(closed);
                    });
                }
            }
            Command::Refresh => drop(worker.thread.edge()),
            Command::Drain => {
                for (_, accepting) in accepting.drain() {
                    ending.spawn(accepting.end());
                }
                while ending.join_next().await.is_some() {}
                // What was in the queue may have sent its request already. The system is asked once more, so that these
                // connections find it when they look; without anything to read they close at once.
                tokio::task::yield_now().await;
                worker.thread.drain.begin();
            }
            Command::Settle(done) => {
                while ending.join_next().await.is_some() {}
                let _ = done.send(());
            }
        }
    }
    worker.cut.send_replace(true);
    // Each connection closes in its first turn, and QUIC's own task tells the client in another.
    for _ in 0..LAST_TURNS {
        tokio::task::yield_now().await;
    }
}

/// Threads for calls that may wait for a disk, for each data thread. tokio's own bound of 512 is for programs with one
/// runtime: a disk does not get faster by 512 threads asking at once, and each has a stack.
const BLOCKING_THREADS_MAX: usize = 16;

const LAST_TURNS: usize = 4;

/// A command for each socket of a configuration, and some.
const COMMANDS_MAX: usize = 65_536;

/// How long the end of the data threads is waited for. Dropping a hundred thousand connections takes a part of a second.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(2);

const JOIN_LOOK_EVERY: Duration = Duration::from_millis(1);

const WARN_EVERY_MILLIS: u64 = Duration::from_secs(10).as_millis() as u64;
