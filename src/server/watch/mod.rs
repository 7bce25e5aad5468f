//! Watches the files of certificates, on a thread of its own: a file system that does not answer holds nobody else up.
//!
//! The system tells of changes within milliseconds, but not of all of them (network file systems, a folder that another machine
//! writes to), so that everything is looked at every minute besides. What a file holds decides, and nothing else about it.

mod places;

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::control::{Asked, Control};
use crate::certificate::{Certificates, Looked};
use places::Places;

/// Watches; it ends when this is dropped.
pub(super) struct Watch {
    shown: Arc<Shown>,
    wake: SyncSender<()>,
}

/// What a look found.
pub(super) struct Found {
    /// What was shown when it began.
    pub(super) beside: Arc<Certificates>,
    /// What was found.
    pub(super) looked: Looked,
}

/// What is shown now; none once nobody wants to know any more.
struct Shown(Mutex<Option<Arc<Certificates>>>);

impl Watch {
    /// Starts the thread, which asks `control` to show what it finds.
    pub(super) fn start(certificates: Arc<Certificates>, control: Control) -> io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let shown = Arc::new(Shown(Mutex::new(Some(certificates))));
        let thread = Watching {
            shown: Arc::clone(&shown),
            places: Places::new(wake.clone()),
            woken,
            control,
        };
        thread::Builder::new()
            .name("certificates".into())
            .spawn(|| thread.run())?;
        Ok(Self { shown, wake })
    }

    /// Looks at these from now on. What came of another look meanwhile is looked for again.
    pub(super) fn follow(&self, certificates: &Arc<Certificates>) {
        *self.shown.lock() = Some(Arc::clone(certificates));
        self.look();
    }

    /// Looks at every file now.
    pub(super) fn look(&self) {
        // Full: it is to look already.
        let _ = self.wake.try_send(());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shown.lock() = None;
        self.look();
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("news", &self.looked.news)
            .finish_non_exhaustive()
    }
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Certificates>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Watching {
    shown: Arc<Shown>,
    places: Places,
    woken: Receiver<()>,
    control: Control,
}

impl Watching {
    fn run(mut self) {
        loop {
            let Some(beside) = self.shown.lock().clone() else {
                return;
            };
            // First watched, then read: what changes between is told.
            self.places.follow(&beside);
            let looked = beside.look_again(SystemTime::now());
            let mut is_waiting = match &looked {
                Some(looked) => looked.certificates.is_waiting(),
                None => beside.is_waiting(),
            };
            if let Some(looked) = looked {
                let found = Found { beside, looked };
                is_waiting |= !self.control.ask(Asked::Show(Box::new(found)));
            }
            self.rest(if is_waiting { WAITING_LOOK } else { SWEEP });
        }
    }

    /// Until something has changed, or it is time to look anyway.
    fn rest(&self, at_most: Duration) {
        match self.woken.recv_timeout(at_most) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
        // One change is seldom alone: whoever writes a chain writes its key next.
        let until = Instant::now() + SETTLE_MAX;
        while Instant::now() < until && self.woken.recv_timeout(SETTLE).is_ok() {}
    }
}

/// Everything is looked at so often, whatever the system tells. With 10,000 certificates a look takes a third of a second.
const SWEEP: Duration = Duration::from_secs(60);

/// What may be half written is looked at so often, so that somebody is told in time.
const WAITING_LOOK: Duration = Duration::from_secs(1);

/// Files are looked at when they have been let alone for so long.
const SETTLE: Duration = Duration::from_millis(100);

/// They are looked at by then, though somebody never lets them alone.
const SETTLE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
