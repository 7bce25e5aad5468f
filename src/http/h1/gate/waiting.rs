//! What the gate waits for while no request is under way, and for how long.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::{Gate, READ_BYTES, Stage};
use crate::http::drain::DrainWatch;
use crate::model::{Reason, Refusal};

/// What a connection without a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    FirstByte,
    Head,
    NextRequest,
}

impl<I> Gate<I> {
    /// What the connection waits for, and until when.
    fn deadline(&mut self, now: Instant) -> Option<(Instant, Wait)> {
        if !matches!(self.stage, Stage::Head) {
            return None;
        }
        let wait = match (self.holds_no_request(), self.wire.heads()) {
            (false, _) => Wait::Head,
            (true, 0) => Wait::FirstByte,
            (true, _) => Wait::NextRequest,
        };
        let span = if wait == Wait::NextRequest {
            self.limits.idle
        } else {
            self.limits.header_wait
        };
        if self.wire.in_flight() > 0 {
            // hyper asks for the last time just before it is done with a response, and then no more until bytes come: the
            // timer is set here, for a time that a busy connection never reaches.
            self.waiting_since = Some(now);
            return Some((now + span, wait));
        }
        let since = *self.waiting_since.get_or_insert(now);
        Some((since + span, wait))
    }

    /// Whether nothing has arrived but perhaps a line end too many, which old clients send behind content: they wait for no
    /// response to it.
    fn holds_no_request(&self) -> bool {
        self.held.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Called when the socket has nothing to read: whether the client has been waited for long enough.
    pub(super) fn expired(&mut self, cx: &mut Context<'_>) -> Option<Wait> {
        let now = Instant::now();
        let (deadline, wait) = self.deadline(now)?;
        if wait == Wait::NextRequest && !self.resting && self.limits.idle > REST_AFTER {
            let rest = deadline - self.limits.idle + REST_AFTER;
            if !self.timer.poll_until(rest, now, cx) {
                return None;
            }
            if self.wire.is_done() && self.stall.is_idle() {
                self.wire.rest();
                return None;
            }
        }
        self.timer.poll_until(deadline, now, cx).then_some(wait)
    }

    pub(super) fn time_is_up(&mut self, wait: Wait) {
        match wait {
            Wait::Head => self.stand_in(
                0,
                Refusal::new(
                    Reason::TimerHeaderWait,
                    "the request's head was not complete within limits.header_wait",
                ),
            ),
            Wait::FirstByte => self.wire.end(Refusal::new(
                Reason::TimerHeaderWait,
                "no byte of a request arrived within limits.header_wait",
            )),
            Wait::NextRequest => self.wire.end(Refusal::new(
                Reason::TimerConnectionIdle,
                "no further request arrived within limits.idle_connection",
            )),
        }
    }
}

impl<I: AsyncRead + Unpin> Gate<I> {
    /// Waits for the client to say something, without a buffer to read it into; whether it has. The connection is at its end
    /// if it has not.
    pub(in crate::http::h1) async fn rest(&mut self, drain: &mut DrainWatch) -> bool {
        self.resting = true;
        let spoke = poll_fn(|cx| {
            if drain.has_begun(cx) {
                return Poll::Ready(false);
            }
            let mut room = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => {
                    self.held.extend_from_slice(read.filled());
                    self.wire.reads_head(true);
                    Poll::Ready(!read.filled().is_empty())
                }
                Poll::Ready(Err(_)) => Poll::Ready(false),
                Poll::Pending => match self.expired(cx) {
                    Some(wait) => {
                        self.time_is_up(wait);
                        Poll::Ready(false)
                    }
                    None => Poll::Pending,
                },
            }
        })
        .await;
        self.resting = false;
        self.waiting_since = None;
        self.worth_following = true;
        spoke
    }
}

/// How long a connection is idle before it rests: long enough that busy ones never do.
const REST_AFTER: Duration = Duration::from_secs(2);
