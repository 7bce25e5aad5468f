//! What goes before a response.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

/// Heads of 103 (Early Hints, RFC 8297), from whoever has them to whoever sends them.
///
/// A driver puts one among a request's extensions where its client can make something of it, and looks into it whenever the
/// request's work was polled.
#[derive(Clone, Debug, Default)]
pub struct Interim(Arc<Mutex<Vec<HeaderMap>>>);

impl Interim {
    /// Has a head sent before the response. Of more than some at once the rest is dropped.
    pub fn say(&self, head: HeaderMap) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() < HEADS_MAX {
            heads.push(head);
        }
    }

    /// What there is to be sent.
    pub fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Browsers look at the first alone.
const HEADS_MAX: usize = 8;
