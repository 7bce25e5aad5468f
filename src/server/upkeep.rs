//! What handlers have to do beside their requests, on one thread for all: the data threads have requests to serve, and the
//! control thread must hear signals whatever an upstream does.

use std::io;

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
