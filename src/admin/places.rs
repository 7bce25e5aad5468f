//! Places for connections. Whoever has not shown yet that he may ask gives his up to the next who comes: otherwise anybody on
//! this machine could keep administrators out, by connecting and saying nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places that there are.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Of those who have not shown yet that they may ask, the oldest first.
    unproven: Mutex<VecDeque<Arc<Notify>>>,
}

/// A connection's place.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    all: Arc<Places>,
    cut: Arc<Notify>,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            unproven: Mutex::default(),
        })
    }

    /// A place; if none is free, that of the one who has said nothing for the longest time, or the next that becomes free.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Place> {
        let free = Arc::clone(&self.free);
        if free.available_permits() == 0
            && let Some(oldest) = self.unproven().pop_front()
        {
            oldest.notify_one();
        }
        // It is never closed, which is the one error there is.
        let permit = free.acquire_owned().await.ok()?;
        let cut = Arc::new(Notify::new());
        self.unproven().push_back(Arc::clone(&cut));
        Some(Place {
            _permit: permit,
            all: Arc::clone(self),
            cut,
        })
    }

    fn unproven(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Ends when the place is another's.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// From now on the place stays whose it is.
    pub(super) fn keep(&self) {
        let mut unproven = self.all.unproven();
        unproven.retain(|other| !Arc::ptr_eq(other, &self.cut));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_not_shown_that_he_may_ask_makes_room_for_the_next() {
        let places = Places::new(2);
        let kept = places.take().await.expect("a place");
        kept.keep();
        let silent = places.take().await.expect("a place");
        let next = async {
            let next = places.take().await.expect("a place");
            next.keep();
            next
        };
        let silent = async {
            silent.cut().await;
            drop(silent);
        };
        let (_next, ()) = tokio::join!(next, silent);
        assert_eq!(places.free.available_permits(), 0);
        assert!(places.unproven().is_empty());
        drop(kept);
        assert_eq!(places.free.available_permits(), 1);
    }
}
