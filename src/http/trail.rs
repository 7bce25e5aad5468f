//! What is remembered of a request from its head to the last byte of its response, so that however it ends it can be told.
//!
//! It lies in one place from beginning to end: every request has one, and moving it along its way would cost more than most
//! of what is done on it.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use super::recording::Recording;
use super::{ThreadEdge, provenance};
use crate::clock;
use crate::handler::upgrade::ExtendedConnect;
use crate::model::journal::Step;
use crate::model::template::Said;
use crate::model::{
    BodyError, ClientAddr, Connection, Facts, HostName, InFlight, PoolMark, Protocol, Provenance,
    Reason, Refusal, Scheme, Stand,
};
use crate::pool::{Permit, Place};
use crate::report::Refused;
use crate::report::metrics::PoolTraffic;

/// A request, and its response once there is one.
///
/// Dropped on its way, because the client went, it tells of itself; dropped with its response, it is counted and goes to the
/// access log. What ends with a request's work hangs on it: the pool's slot, and its place among the requests in flight.
pub(super) struct Trail {
    pub(super) edge: ThreadEdge,
    pub(super) connection: Arc<Connection>,
    pub(super) protocol: Protocol,
    pub(super) method: Option<Method>,
    /// Until there are `facts`, which know it too.
    pub(super) host: Option<HostName>,
    /// Where a request is refused before there are `facts`.
    pub(super) target: Option<PathAndQuery>,
    /// What the handler is told; none before it is known whom the request is for.
    pub(super) facts: Option<Facts>,
    /// What it brings along, until there are `facts`.
    pub(super) provenance: Provenance,
    pub(super) binding: Option<usize>,
    pub(super) site: Option<usize>,
    pub(super) route: Option<usize>,
    pub(super) pool: Option<usize>,
    pub(super) stage: Stage,
    /// Since when it waits in its pool's queue.
    pub(super) queued: Option<Instant>,
    /// Bytes of its content that were read; none where it has no content.
    pub(super) received: Option<Arc<AtomicU64>>,
    pub(super) access: Option<Box<AccessTrail>>,
    /// Where somebody asks for its steps.
    pub(super) recording: Option<Box<Recording>>,
    /// Its response has no content, as it is a HEAD.
    pub(super) head_only: bool,
    /// It is an extended CONNECT.
    pub(super) by_connect: bool,
    /// The slot of its pool.
    pub(super) permit: Option<Permit>,
    /// Of the response.
    pub(super) status: StatusCode,
    /// Bytes of the response's content.
    pub(super) sent: u64,
    pub(super) in_flight: InFlight,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not yet with a handler.
    Waiting,
    /// With a handler.
    Working,
    /// Refused, which is told; not yet with a response.
    Refused,
    /// It has a response, which is being sent.
    Answered,
}

/// What only the access log wants to know; kept only when there is one.
pub(super) struct AccessTrail {
    pub(super) time: SystemTime,
    pub(super) version: Version,
    pub(super) queue_wait: Duration,
    pub(super) admitted: Option<Instant>,
    pub(super) answered: Option<Instant>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) reason: Option<Reason>,
    /// Whether the response was sent to its end.
    pub(super) complete: bool,
}

impl Trail {
    /// `request`: none where there was none that could be read.
    pub(super) fn new<B>(
        edge: &ThreadEdge,
        connection: &Arc<Connection>,
        protocol: Protocol,
        request: Option<&Request<B>>,
        in_flight: InFlight,
    ) -> Box<Self> {
        let field = |name| request.and_then(|request| request.headers().get(name).cloned());
        let access = edge.report.wants_access().then(|| {
            Box::new(AccessTrail {
                time: SystemTime::now(),
                version: request.map_or(Version::HTTP_11, Request::version),
                queue_wait: Duration::ZERO,
                admitted: None,
                answered: None,
                user_agent: field(USER_AGENT),
                referer: field(REFERER),
                reason: None,
                complete: true,
            })
        });
        Box::new(Self {
            recording: Recording::begin(edge, connection, protocol, request, in_flight.since),
            edge: Arc::clone(edge),
            connection: Arc::clone(connection),
            protocol,
            method: request.map(|request| request.method().clone()),
            host: None,
            target: None,
            facts: None,
            provenance: Provenance::default(),
            binding: None,
            site: None,
            route: None,
            pool: None,
            stage: Stage::Waiting,
            queued: None,
            received: None,
            access,
            head_only: request.is_some_and(|request| *request.method() == Method::HEAD),
            by_connect: request
                .is_some_and(|request| request.extensions().get::<ExtendedConnect>().is_some()),
            permit: None,
            status: StatusCode::OK,
            sent: 0,
            in_flight,
        })
    }

    /// Hears what it brings along.
    pub(super) fn hear(&mut self, headers: Option<&HeaderMap>) {
        self.provenance =
            provenance::heard(&self.edge, self.connection.client, headers, self.binding);
        if let Some(recording) = &mut self.recording {
            recording.heard(&self.provenance);
        }
    }

    /// What the handler is told.
    pub(super) fn placed(&self) -> &Facts {
        (self.facts.as_ref()).expect("a request that goes to a pool has been placed")
    }

    /// What it brings along.
    pub(super) fn provenance(&self) -> &Provenance {
        self.facts
            .as_ref()
            .map_or(&self.provenance, |facts| &facts.provenance)
    }

    /// Where the client is.
    pub(super) fn client(&self) -> ClientAddr {
        self.provenance().client(&self.connection)
    }

    /// Who is at the other end of the connection, where that is not the client.
    pub(super) fn peer(&self) -> Option<ClientAddr> {
        let peer = self.connection.client;
        (self.client() != peer).then_some(peer)
    }

    /// The scheme that the client used.
    pub(super) fn scheme(&self) -> Scheme {
        self.provenance().scheme(&self.connection)
    }

    /// The host asked for, once it is known.
    pub(super) fn host(&self) -> Option<&HostName> {
        match &self.facts {
            Some(facts) => Some(&facts.host),
            None => self.host.as_ref(),
        }
    }

    /// The request target as it came.
    pub(super) fn target(&self) -> Option<&PathAndQuery> {
        match &self.facts {
            Some(facts) => Some(facts.path.target()),
            None => self.target.as_ref(),
        }
    }

    /// What the request says, as far as it is known.
    pub(super) fn said(&self) -> Said<'_> {
        Said {
            client: self.client(),
            scheme: self.scheme(),
            sni: self.connection.sni(),
            request_id: self.provenance().request_id(),
            protocol: self.protocol,
            host: self.host(),
            host_port: self.facts.as_ref().and_then(|facts| facts.host_port),
            target: self.target(),
            method: self.method.as_ref(),
            status: None,
        }
    }

    /// Notes a step of it, where somebody asks for them.
    pub(super) fn note(&self, step: impl FnOnce() -> Step) {
        if let Some(recording) = &self.recording {
            clock::note(recording.journal(), step);
        }
    }

    /// A binding is looked for that takes this host.
    pub(super) fn sought(&self, host: &HostName) {
        self.note(|| Step::BindingSought {
            host: host.clone(),
            local: self.connection.local,
        });
    }

    /// Tells whoever asks what the connection waits for.
    pub(super) fn waits(&mut self, stand: Stand) {
        let (Some(facts), Some(pool)) = (&self.facts, self.pool) else {
            return;
        };
        let mark = PoolMark {
            edge: self.edge.mark(),
            pool,
        };
        let asked = || (facts.host.clone(), facts.path.target().clone());
        self.in_flight.waits(stand, mark, asked);
    }

    /// It waits in its pool's queue, at this place.
    pub(super) fn queued(&mut self, place: Place) {
        self.queued = Some(Instant::now());
        self.waits(Stand::Queued);
        self.note(|| Step::QueueEntered {
            position: place.position,
            length: place.length,
            running: place.running,
        });
    }

    /// It has a slot, and goes to the handler.
    pub(super) fn admitted(&mut self, permit: Permit) {
        self.stage = Stage::Working;
        self.permit = Some(permit);
        if self.queued.is_some() {
            self.note(|| Step::QueueLeft);
        }
        self.note(|| Step::HandlerBegan);
        let wait = self.queued.map(|since| since.elapsed());
        if let Some((wait, pool)) = wait.zip(self.counted_pool()) {
            pool.waited(wait);
        }
        if let Some(access) = &mut self.access {
            access.queue_wait = wait.unwrap_or_default();
            access.admitted = Some(Instant::now());
        }
    }

    /// The handler has answered.
    pub(super) fn answered(&mut self) {
        self.note(|| Step::HandlerAnswered);
        if let Some(access) = &mut self.access {
            access.answered = Some(Instant::now());
        }
    }

    /// Writes a refusal to the error log.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.stage = Stage::Refused;
        if let Some(access) = &mut self.access {
            access.reason = Some(refusal.reason);
        }
        if let Some(recording) = &mut self.recording {
            recording.refused(refusal);
        }
        self.tell(refusal, refusal.status());
    }

    /// Writes to the error log that the response broke off behind its head.
    pub(super) fn broke_off(&mut self, error: &BodyError) {
        let why = error.source().map(ToString::to_string);
        let detail = format!("the response broke off: {}", why.unwrap_or_default());
        let refusal = Refusal::new(error.reason, detail);
        self.tell(&refusal, Some(self.status));
        if let Some(recording) = &mut self.recording {
            recording.refused(&refusal);
        }
    }

    /// Where what becomes of its pool's requests is counted.
    fn counted_pool(&self) -> Option<&PoolTraffic> {
        self.pool.and_then(|pool| self.edge.tallies.pool(pool))
    }

    fn tell(&self, refusal: &Refusal, status: Option<StatusCode>) {
        if let Some(pool) = self.counted_pool() {
            pool.refused(refusal.reason);
        }
        self.edge.report.refused(&Refused {
            host: self.host().map(HostName::as_str),
            method: self.method.as_ref().map(Method::as_str),
            path: self.target().map(PathAndQuery::path),
            status: status.map(|status| status.as_u16()),
            site: self.site.map(|site| &*self.edge.sites[site].name),
            pool: self.pool.map(|pool| self.edge.pools[pool].name()),
            detail: Some(&refusal.detail),
            client: self.client(),
            peer: self.peer(),
            request_id: self.provenance().request_id(),
            trace_id: self.provenance().trace_id(),
            span_id: self.provenance().span_id(),
            ..Refused::on(&self.connection, refusal.reason, self.protocol)
        });
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let refusal = match self.stage {
            Stage::Refused => return,
            Stage::Answered => return self.ended(),
            Stage::Waiting => Refusal::new(
                Reason::ClientReset,
                "the connection ended before a handler had the request: the client went away, or the server was stopped",
            ),
            Stage::Working => Refusal::new(
                Reason::ConnectionDropped,
                "the connection ended before the response began: the client went away, or the server was stopped",
            ),
        };
        if let Some(recording) = &mut self.recording {
            recording.refused(&refusal);
        }
        self.tell(&refusal, refusal.status());
    }
}
