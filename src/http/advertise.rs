//! What responses over TCP say of HTTP/3 (Alt-Svc, RFC 7838).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderValue;

use crate::model::PerThread;

/// What a binding says of HTTP/3.
pub enum AltSvc {
    /// It is spoken there.
    Offered {
        /// The field; a copy for each data thread, as its bytes are counted by reference.
        value: PerThread<HeaderValue>,
        /// Whether the UDP port has answered. To send clients to one that cannot be reached breaks them for as long as they
        /// remember it.
        answers: Arc<AtomicBool>,
    },
    /// It was, until a reload: what clients remember is void.
    Withdrawn,
}

impl AltSvc {
    /// Offers HTTP/3 on a port, once that answers.
    pub fn offer(port: u16, max_age: Duration, answers: Arc<AtomicBool>, threads: usize) -> Self {
        let text = format!("h3=\":{port}\"; ma={}", max_age.as_secs());
        Self::Offered {
            value: PerThread::new(threads, |_| {
                HeaderValue::from_str(&text).unwrap_or_else(|_| CLEAR.clone())
            }),
            answers,
        }
    }

    /// Whether responses offer HTTP/3.
    pub fn is_offered(&self) -> bool {
        matches!(self, Self::Offered { answers, .. } if answers.load(Relaxed))
    }

    /// What is to be sent, if anything is.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        match self {
            Self::Offered { value, answers } if answers.load(Relaxed) => Some(value.mine().clone()),
            Self::Offered { .. } => None,
            Self::Withdrawn => Some(CLEAR),
        }
    }
}

const CLEAR: HeaderValue = HeaderValue::from_static("clear");
