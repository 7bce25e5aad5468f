//! Where a request's attempts with upstreams are noted: how long the one under way took, and, if anybody asked for them, its steps.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response};

use super::proxy::Attempt;
use crate::clock;
use crate::config;
use crate::model::journal::{AttemptStep, Cause, Journal, Step};
use crate::model::{Body, ChildSpan, Facts, SpanContext, Took};

/// How long the attempt under way took so far; and the request's journal, if it has one. Without a journal nothing else is done
/// here.
#[derive(Debug, Default)]
pub(super) struct Notes {
    took: Took,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    journal: Arc<Journal>,
    /// The attempt that is under way; 0 before the first.
    attempt: u32,
    /// Why the next one is made, when it is.
    next: Cause,
    /// The request's span, where spans are made.
    span: Option<Box<SpanContext>>,
}

impl Notes {
    /// Those of a request that has not been sent yet.
    pub(super) fn of(facts: &Facts) -> Self {
        Self {
            took: Took::default(),
            open: facts.journal.as_ref().map(|journal| Open {
                journal: Arc::clone(journal),
                attempt: 0,
                next: Cause::First,
                span: facts.provenance.span().cloned().map(Box::new),
            }),
        }
    }

    /// What an upstream is told of the attempt that is under way; none where it has been told already, or no spans are made.
    pub(super) fn traceparent(&self) -> Option<HeaderValue> {
        let open = self.open.as_ref().filter(|open| open.attempt > 1)?;
        let span = open.span.as_ref()?;
        let id = span.child(ChildSpan::Attempt(open.attempt));
        Some(span.told(id).field().clone())
    }

    /// Those of the same request, which is sent to another beside it.
    pub(super) fn beside(&self) -> Self {
        Self {
            took: Took::default(),
            open: self.open.as_ref().map(|open| Open {
                journal: Arc::clone(&open.journal),
                attempt: 0,
                next: Cause::Hedge,
                span: open.span.clone(),
            }),
        }
    }

    /// The request is to be sent to `upstream`.
    pub(super) fn begin(&mut self, upstream: &config::Upstream) {
        self.took = Took::default();
        if let Some(open) = &mut self.open {
            open.attempt = open.journal.next_attempt();
            let cause = std::mem::replace(&mut open.next, Cause::Retry);
            let upstream = upstream.to_string().into();
            self.note(|| AttemptStep::Began { upstream, cause });
        }
    }

    /// Something happened in the attempt that is under way.
    pub(super) fn note(&self, step: impl FnOnce() -> AttemptStep) {
        if let Some(open) = &self.open {
            clock::note(Some(&open.journal), || Step::Attempt(open.attempt, step()));
        }
    }

    /// There is a new connection, which was so long in coming.
    pub(super) fn connected(&mut self, after: Duration) {
        self.took.connect = Some(after);
    }

    /// The response's head is there, so long after the request began to be sent.
    pub(super) fn answered(&mut self, after: Duration) {
        self.took.response = Some(after);
    }

    /// How long the parts of the attempt took that is under way, or over.
    pub(super) fn took(&self) -> Took {
        self.took
    }

    /// Of two attempts side by side, the one that counts took so long.
    pub(super) fn counts(&mut self, took: Took) {
        self.took = took;
    }

    /// The attempt that is under way is over.
    pub(super) fn ended(&self, answered: &Result<Response<Body>, Attempt>) {
        self.note(|| match answered {
            Ok(response) => AttemptStep::Answered {
                status: response.status(),
            },
            Err(attempt) => {
                let refusal = attempt.refusal();
                AttemptStep::Failed {
                    reason: refusal.reason,
                    detail: refusal.detail.clone(),
                }
            }
        });
    }

    /// The request waits before it is sent again.
    pub(super) fn pauses(&self) {
        if let Some(open) = &self.open {
            clock::note(Some(&open.journal), || Step::Paused);
        }
    }
}
