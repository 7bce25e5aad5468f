//! Watching that a client takes what is sent to it.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::LazyTimer;
use crate::model::{Reason, Refusal};

/// Watches that a client takes what is sent to it at the least rate, averaged over [`WINDOW`].
pub(crate) struct SendStall {
    /// Bytes a second; none: not watched.
    rate: Option<u64>,
    /// When the present window began, and the bytes taken in it; none while nothing waits to be taken.
    window: Option<(Instant, u64)>,
    timer: LazyTimer,
}

impl SendStall {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            window: None,
            timer: LazyTimer::default(),
        }
    }

    /// Whether nothing that was sent waits to be taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.window.is_none()
    }

    /// Everything that was sent is taken.
    pub(crate) fn taken_all(&mut self) {
        self.window = None;
    }

    /// Looks at the outcome of a write; an error when the client is too slow.
    pub(crate) fn sent(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Result<Poll<io::Result<usize>>, Refusal> {
        match &polled {
            Poll::Ready(Ok(bytes)) => {
                if let Some((_, taken)) = &mut self.window {
                    *taken += *bytes as u64;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.blocked(cx, 1)?,
        }
        Ok(polled)
    }

    /// The client takes nothing just now; `sharers` share the line, and owe its least rate together.
    pub(crate) fn blocked(&mut self, cx: &mut Context<'_>, sharers: usize) -> Result<(), Refusal> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let now = Instant::now();
        let (began, taken) = *self.window.get_or_insert((now, 0));
        if !self.timer.poll_until(began + WINDOW, now, cx) {
            return Ok(());
        }
        if taken < rate * WINDOW.as_secs() / sharers.max(1) as u64 {
            return Err(Refusal::new(
                Reason::TimerMinBytesPerSecond,
                "the client took less than limits.min_send_rate over 10 s",
            ));
        }
        self.window = Some((now, 0));
        self.timer.poll_until(now + WINDOW, now, cx);
        Ok(())
    }

    /// So many bytes were taken.
    pub(crate) fn taken(&mut self, bytes: usize) {
        if let Some((_, taken)) = &mut self.window {
            *taken += bytes as u64;
        }
    }
}

/// What the least send rate is averaged over.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
