//! What a client may make us do in a while, and what the h3 crate would let it do without bound.
//!
//! h3 gathers a frame until it is whole, of whatever length it says it is; here that has an end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::h3::error::Code;
use tokio::sync::Notify;

use super::frames::{self, Frame};
use super::wire::Accepted;
use crate::http::budget::{self, Budget};
use crate::model::{Reason, Refusal};

/// What the streams of one connection and its driver tell each other.
pub(super) struct Gauge {
    readings: Mutex<Readings>,
    /// A frame other than DATA is no longer than this.
    frame_bytes_max: u64,
    judged: Notify,
}

#[derive(Debug)]
struct Readings {
    budget: Budget<Spent>,
    verdict: Option<Verdict>,
    /// Whether there has been a verdict; there is one at most.
    judged: bool,
    /// The stream that was accepted last, until the driver asks for it.
    accepted: Option<Accepted>,
}

/// Why the connection must end, and the code that its end has.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) refusal: Refusal,
    pub(super) code: Code,
}

/// What was spent in the present window.
#[derive(Debug, Default)]
struct Spent {
    resets: u32,
    empty: u32,
    other: u32,
    refused: u32,
}

impl Gauge {
    pub(super) fn new(frame_bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            readings: Mutex::new(Readings {
                budget: Budget::new(),
                verdict: None,
                judged: false,
                accepted: None,
            }),
            frame_bytes_max,
            judged: Notify::new(),
        })
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a reason why the connection must end.
    pub(super) async fn verdict(&self) -> Verdict {
        loop {
            self.judged.notified().await;
            if let Some(verdict) = self.readings().verdict.take() {
                return verdict;
            }
        }
    }

    /// A stream was accepted; the h3 crate hands on only that there is one.
    pub(super) fn accepted(&self, accepted: Accepted) {
        let before = self.readings().accepted.replace(accepted);
        before.into_iter().for_each(Accepted::reject);
    }

    /// The stream that was accepted last, h3 has rejected by itself.
    pub(super) fn reject_accepted(&self) {
        self.take_accepted().into_iter().for_each(Accepted::reject);
    }

    /// The stream that was accepted last.
    pub(super) fn take_accepted(&self) -> Option<Accepted> {
        self.readings().accepted.take()
    }

    /// A frame's head has come; whether the connection goes on.
    pub(super) fn received(&self, frame: Frame) -> bool {
        match frame.kind {
            frames::DATA if frame.length > 0 => true,
            frames::DATA => self.spend(|spent| spent.empty += 1),
            frames::HEADERS if frame.length > self.frame_bytes_max => {
                let detail = "the request's fields are longer than limits.max_request_bytes by far";
                let refusal = Refusal::new(Reason::RequestLength, detail);
                self.end(refusal, Code::H3_EXCESSIVE_LOAD)
            }
            frames::HEADERS => true,
            _ if frame.length > self.frame_bytes_max => {
                let detail = "a frame is longer than any of its type has a use for";
                let refusal = Refusal::new(Reason::H3Protocol, detail);
                self.end(refusal, Code::H3_EXCESSIVE_LOAD)
            }
            _ => self.spend(|spent| spent.other += 1),
        }
    }

    /// A stream that goes one way has said what it is; whether the connection goes on.
    pub(super) fn opened(&self, kind: u64) -> bool {
        if kind == frames::PUSH {
            let detail = "a client pushes nothing (RFC 9114 section 6.2.2)";
            let refusal = Refusal::new(Reason::H3Protocol, detail);
            return self.end(refusal, Code::H3_STREAM_CREATION_ERROR);
        }
        self.spend(|spent| spent.other += 1)
    }

    /// A stream was refused of which no request could be made, or whose response was not taken.
    pub(super) fn refused(&self) {
        self.spend(|spent| spent.refused += 1);
    }

    /// The client has taken a request back, or does not want its response any more; whether the connection goes on.
    pub(super) fn reset(&self) -> bool {
        self.spend(|spent| spent.resets += 1)
    }

    /// A stream has ended in the middle of a frame.
    pub(super) fn cut_short(&self) {
        let detail = "a stream ended in the middle of a frame (RFC 9114 section 7.1)";
        self.end(
            Refusal::new(Reason::H3Protocol, detail),
            Code::H3_FRAME_ERROR,
        );
    }

    fn spend(&self, on: impl FnOnce(&mut Spent)) -> bool {
        let mut readings = self.readings();
        on(&mut readings.budget.spent);
        let Some(what) = readings.budget.overdrawn() else {
            return true;
        };
        drop(readings);
        self.end(
            Refusal::new(Reason::H3Protocol, what),
            Code::H3_EXCESSIVE_LOAD,
        )
    }

    fn end(&self, refusal: Refusal, code: Code) -> bool {
        let mut readings = self.readings();
        if !std::mem::replace(&mut readings.judged, true) {
            readings.verdict = Some(Verdict { refusal, code });
            self.judged.notify_one();
        }
        false
    }
}

/// Those of HTTP/2, where they have a twin.
impl budget::Spent for Spent {
    fn over(&self) -> Option<&'static str> {
        [
            (
                self.resets > 200,
                "more than 200 streams were reset within 10 s (rapid reset)",
            ),
            (
                self.empty > 100,
                "more than 100 empty DATA frames came within 10 s",
            ),
            (
                self.other > 500,
                "more than 500 frames and streams that carry no request came within 10 s",
            ),
            (
                self.refused > 100,
                "more than 100 streams had to be refused within 10 s",
            ),
        ]
        .into_iter()
        .find_map(|(over, what)| over.then_some(what))
    }
}
