//! What handlers have to do beside their requests, on one thread for all: the data threads have requests to serve, and the
//! control thread must hear signals whatever an upstream does.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::handler::Upkeep;

/// The thread, started when there is something to do for the first time. It ends when this is dropped.
#[derive(Default)]
pub(super) struct UpkeepThread(Option<Running>);

struct Running {
    runtime: Handle,
    /// Dropped to end the thread, with all that runs on it.
    _stop: oneshot::Sender<()>,
}

impl UpkeepThread {
    /// Has each run to its own end.
    pub(super) fn run(&mut self, upkeep: Vec<Upkeep>) -> io::Result<()> {
        if upkeep.is_empty() {
            return Ok(());
        }
        let running = match self.0.take() {
            Some(running) => running,
            None => start()?,
        };
        for work in upkeep {
            running.runtime.spawn(work);
        }
        self.0 = Some(running);
        Ok(())
    }
}

impl UpkeepThread {
    /// Has these end what they look after, and waits for it as long as that may take; what is left then, is cut off.
    pub(super) fn finish(&mut self, ends: Vec<Upkeep>, within: Duration) {
        let Some(running) = self.0.take().filter(|_| !ends.is_empty()) else {
            return;
        };
        let (done, all_done) = mpsc::channel();
        for end in ends {
            let done = done.clone();
            running.runtime.spawn(async move {
                end.await;
                // Whoever waits may have given up.
                let _ = done.send(());
            });
        }
        drop(done);
        let until = Instant::now() + within;
        // Each sends once: the wait is over when the last has dropped its sender.
        while let Ok(()) = all_done.recv_timeout(until.saturating_duration_since(Instant::now())) {}
    }
}

fn start() -> io::Result<Running> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("upkeep".into());
    thread.spawn(move || {
        // Nothing is sent: the wait ends when the sender is dropped.
        let _ = runtime.block_on(stopped);
    })?;
    Ok(Running {
        runtime: handle,
        _stop: stop,
    })
}
