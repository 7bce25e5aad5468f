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

use super::handshakes::Handshakes;
use super::limits::ConnectionLimits;
use super::{SocketKey, accept};
use crate::http::Thread;
use crate::model::enter_data_thread;
use crate::tls::TlsTable;

/// What the connections of one data thread share.
pub struct Worker {
    /// The running edge and the connections.
    pub thread: Arc<Thread>,
    /// The running TLS policies.
    pub tls: Arc<ArcSwap<TlsTable>>,
    /// Of the whole process.
    pub limits: Arc<ConnectionLimits>,
    /// Of this thread.
    pub(super) handshakes: Arc<Handshakes>,
    /// When a failing accept was last told of, in milliseconds since the start.
    warned: AtomicU64,
    started: Instant,
}

/// What a data thread is told.
pub enum Command {
    /// Accept on these sockets.
    Listen(SocketKey, Vec<std::net::TcpListener>),
    /// Stop accepting on a key's sockets, and close them.
    Unlisten(SocketKey),
    /// Stop accepting, and let every connection finish.
    Drain,
    /// Say so when everything that was told before is done, accepting included.
    Settle(oneshot::Sender<()>),
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
            handshakes: Arc::default(),
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
            .build()?;
        let handle = std::thread::Builder::new()
            .name(format!("data-{index}"))
            .spawn(move || {
                enter_data_thread(index);
                runtime.block_on(run(worker, inbox));
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

    /// Lets the thread end, and waits for it. Connections that are still open are dropped.
    pub fn join(self) {
        drop(self.commands);
        // A thread that panicked has been told of by the panic itself.
        let _ = self.handle.join();
    }
}

async fn run(worker: Arc<Worker>, mut inbox: mpsc::Receiver<Command>) {
    let mut accepting: HashMap<SocketKey, watch::Sender<bool>> = HashMap::new();
    let mut loops = JoinSet::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Listen(key, sockets) => {
                let stop = accepting
                    .entry(key)
                    .or_insert_with(|| watch::channel(false).0);
                for socket in sockets {
                    match TcpListener::from_std(socket) {
                        Ok(listener) => {
                            loops.spawn(accept::run(
                                Arc::clone(&worker),
                                listener,
                                key.scheme,
                                stop.subscribe(),
                            ));
                        }
                        Err(error) => {
                            tracing::error!(%error, "a listening socket cannot be watched")
                        }
                    }
                }
            }
            Command::Unlisten(key) => {
                if let Some(stop) = accepting.remove(&key) {
                    let _ = stop.send(true);
                }
            }
            Command::Drain => {
                for (_, stop) in accepting.drain() {
                    let _ = stop.send(true);
                }
                worker.thread.drain.begin();
            }
            Command::Settle(done) => {
                if accepting.is_empty() {
                    while loops.join_next().await.is_some() {}
                }
                let _ = done.send(());
            }
        }
    }
}

/// A command for each socket of a configuration, and some.
const COMMANDS_MAX: usize = 65_536;

const WARN_EVERY_MILLIS: u64 = Duration::from_secs(10).as_millis() as u64;
