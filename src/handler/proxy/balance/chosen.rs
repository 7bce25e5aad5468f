//! An upstream that was chosen, and what its exchange tells of it.

use http::{Response, StatusCode};

use super::slots::Held;
use super::{Balancer, OwnBoard};
use crate::handler::upgrade::Tunnel;
use crate::model::{Body, BodyError, BodyWatch, Reason, Refusal, Took};

/// An upstream that was chosen, for the time of an exchange. It is to be told how that ended: dropped without, nothing is
/// known of it.
pub(in crate::handler::proxy) struct Chosen<'a> {
    pub(super) balancer: &'a Balancer,
    pub(in crate::handler::proxy) upstream: usize,
    /// It is to find out whether an ejected upstream works again.
    pub(super) trying: bool,
    pub(super) held: Option<Held>,
}

impl Chosen<'_> {
    /// The upstream answered.
    pub(in crate::handler::proxy) fn answered(&mut self, status: StatusCode, took: Took) {
        let balancer = self.balancer;
        balancer.threads.mine().tallies[self.upstream].answered(status, took);
        let trying = std::mem::take(&mut self.trying);
        if balancer.board.succeeded(self.upstream, trying) {
            balancer.let_in();
        }
        if status.is_server_error() {
            let answers = balancer.answers(self.upstream);
            balancer.board.erred(self.upstream, answers);
        }
    }

    /// There is no answer; whether that is the upstream's doing, the reason says.
    pub(in crate::handler::proxy) fn failed(&mut self, refusal: &Refusal) {
        if is_upstreams(refusal.reason) {
            let balancer = self.balancer;
            balancer.threads.mine().tallies[self.upstream].failed();
            let trying = std::mem::take(&mut self.trying);
            let (board, reason) = (&balancer.board, Some(refusal.reason));
            board.failed(self.upstream, trying, reason, &refusal.detail);
        }
    }

    /// Whether the upstream was being tried: then the failure is of our own making, and no reason to refuse the request.
    pub(in crate::handler::proxy) fn is_try(&self) -> bool {
        self.trying
    }

    /// The exchange goes on in the response's content: a slot is given back at its end, and a break is the upstream's.
    pub(in crate::handler::proxy) fn into_content(mut self, response: &mut Response<Body>) {
        let held = self.held.take();
        let tunnel = response.extensions().get::<Tunnel>();
        let in_memory = response.body().full_len().is_some() && tunnel.is_none();
        if in_memory {
            return;
        }
        let watch = Box::new(Watch {
            board: self.balancer.threads.mine().board.clone(),
            upstream: self.upstream,
            _held: held,
        });
        match tunnel {
            Some(tunnel) => tunnel.keep(watch),
            None => response.body_mut().watch(watch),
        }
    }
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        if self.trying {
            self.balancer.board.not_tried(self.upstream);
        }
    }
}

/// Looks on while a response's content passes.
struct Watch {
    board: OwnBoard,
    upstream: usize,
    _held: Option<Held>,
}

impl BodyWatch for Watch {
    fn data(&mut self, _: usize) {}

    fn broke(&mut self, error: &BodyError) {
        if is_upstreams(error.reason) {
            let cause = std::error::Error::source(error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            self.board.0.failed(self.upstream, false, None, &cause);
        }
    }

    fn end(&mut self, _: bool) {}
}

/// Whether a failure is an upstream's.
pub(in crate::handler::proxy) fn is_upstreams(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UpstreamConnect
            | Reason::UpstreamReset
            | Reason::UpstreamTimeout
            | Reason::UpstreamProtocol
    )
}
