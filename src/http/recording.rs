//! Requests whose steps are recorded, since a [`Witness`](crate::report::Witness) of the running [`Edge`](super::Edge) asks for
//! them.
//!
//! Most configurations have none. Then there is no [`Journal`] and no [`Recording`], and a request pays one look at an empty list.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Request, Response};

use super::ThreadEdge;
use crate::handler::upgrade::Tunnel;
use crate::model::journal::{Journal, RequestHead, ResponseHead, Step};
use crate::model::{Body, Connection, Protocol, Provenance, Reason, Refusal, RoutePath};
use crate::report::{Asking, Ended};

/// A request that is recorded. Dropping it is the request's end.
pub(super) struct Recording {
    edge: ThreadEdge,
    /// None once nobody asks any more.
    ended: Option<Ended>,
}

impl Recording {
    /// Begins to record a request, if anybody asks for it. `request`: none where there was none that could be read.
    pub(super) fn begin<B>(
        edge: &ThreadEdge,
        connection: &Arc<Connection>,
        protocol: Protocol,
        request: Option<&Request<B>>,
        began: Instant,
    ) -> Option<Box<Self>> {
        if edge.witnesses.is_empty() {
            return None;
        }
        let target = request.and_then(|request| request.uri().path_and_query());
        let path = target.and_then(|target| RoutePath::parse(target).ok());
        let asking = Asking {
            path: path.as_ref(),
            fields: request.map(Request::headers),
            provenance: None,
        };
        if !edge.witnesses.iter().any(|witness| witness.asks(&asking)) {
            return None;
        }
        let journal = Arc::new(Journal::new(began, SystemTime::now()));
        journal.note(began, request.map_or(Step::HeadUnread, head_read));
        let ended = Ended {
            journal,
            at: began,
            connection: Arc::clone(connection),
            protocol,
            provenance: Provenance::default(),
            path,
            site: None,
            status: None,
            answered: None,
            left_http: false,
            reason: None,
        };
        Some(Box::new(Self {
            edge: Arc::clone(edge),
            ended: Some(ended),
        }))
    }

    /// Where its steps are noted.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.ended.as_ref().map(|ended| &ended.journal)
    }

    fn found(&mut self, binding: usize, provenance: &Provenance, fields: &HeaderMap) {
        let Some(ended) = &mut self.ended else {
            return;
        };
        let bound = &self.edge.bindings[binding];
        let asking = Asking {
            path: ended.path.as_ref(),
            fields: Some(fields),
            provenance: Some(provenance),
        };
        let mut witnesses = self.edge.witnesses.iter();
        if !witnesses.any(|witness| witness.still_asks(&asking, bound.site)) {
            self.ended = None;
            return;
        }
        ended.site = Some(bound.site);
        ended.provenance = provenance.clone();
        let found = Step::BindingFound {
            binding: Arc::clone(&bound.key),
            site: self.edge.sites[bound.site].name.clone(),
        };
        ended.journal.note(Instant::now(), found);
    }

    /// It brings this along; no binding was found.
    pub(super) fn heard(&mut self, provenance: &Provenance) {
        if let Some(ended) = &mut self.ended {
            ended.provenance = provenance.clone();
        }
    }

    /// It is refused, or its response broke.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if let Some(ended) = &mut self.ended {
            ended.reason = Some(refusal.reason);
            let (reason, detail) = (refusal.reason, refusal.detail.clone());
            let step = Step::Refused { reason, detail };
            ended.journal.note(Instant::now(), step);
        }
    }

    /// Its response goes out.
    pub(super) fn responds(&mut self, response: &Response<Body>) {
        if let Some(ended) = &mut self.ended {
            let (now, status) = (Instant::now(), response.status());
            ended.status = Some(status);
            ended.answered = Some(now);
            ended.left_http = response.extensions().get::<Tunnel>().is_some();
            let fields = response.headers().clone();
            let head = Box::new(ResponseHead { status, fields });
            ended.journal.note(now, Step::ResponseHead(head));
        }
    }

    /// A piece of its response's content is on its way.
    pub(super) fn first_byte(&self) {
        crate::clock::note(self.journal(), || Step::FirstByte);
    }

    /// Its response's content is at an end: its own if it is `complete`, and after so many bytes.
    pub(super) fn content_ended(&mut self, complete: bool, bytes: u64) {
        if let Some(ended) = &mut self.ended {
            let step = if complete {
                Step::LastByte { bytes }
            } else {
                // What broke by itself has said so.
                ended.reason.get_or_insert(Reason::ConnectionDropped);
                Step::Cut { bytes }
            };
            ended.journal.note(Instant::now(), step);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(mut ended) = self.ended.take() else {
            return;
        };
        ended.at = Instant::now();
        for witness in &self.edge.witnesses {
            witness.ended(&ended);
        }
    }
}

/// A request's binding is found, and whom it is from is known. Nobody may be asking any more.
pub(super) fn found<B>(
    recording: &mut Option<Box<Recording>>,
    binding: usize,
    provenance: &Provenance,
    request: &Request<B>,
) {
    if let Some(recording) = recording {
        recording.found(binding, provenance, request.headers());
    }
}

fn head_read<B>(request: &Request<B>) -> Step {
    Step::HeadRead(Box::new(RequestHead {
        method: request.method().clone(),
        target: request.uri().path_and_query().cloned(),
        version: request.version(),
        fields: request.headers().clone(),
    }))
}
