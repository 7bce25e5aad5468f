//! Telling every connection of a data thread to finish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use slab::Slab;

/// A data thread's connections, and whether they are to finish.
///
/// A connection asks on every poll, which is one load; it is woken once, when the answer changes.
#[derive(Default)]
pub struct Drain {
    begun: AtomicBool,
    wakers: Mutex<Slab<Option<Waker>>>,
}

/// One connection's place among those that will be told.
pub(crate) struct DrainWatch {
    drain: Arc<Drain>,
    place: usize,
    registered: bool,
}

impl Drain {
    /// Tells every connection, and those still to come, to finish the requests in flight and close.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, waker) in wakers.iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(crate) fn watch(self: &Arc<Self>) -> DrainWatch {
        let place = self
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(None);
        DrainWatch {
            drain: Arc::clone(self),
            place,
            registered: false,
        }
    }
}

impl DrainWatch {
    /// Whether to finish. The task that asks first is the one that is woken.
    pub(crate) fn has_begun(&mut self, cx: &Context<'_>) -> bool {
        if !self.registered {
            self.registered = true;
            let mut wakers = self
                .drain
                .wakers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            wakers[self.place] = Some(cx.waker().clone());
        }
        self.drain.begun.load(Ordering::SeqCst)
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        self.drain
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.place);
    }
}
