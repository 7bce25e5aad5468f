//! What can happen to a request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Version};

use crate::model::{BindingKey, HostName, LocalAddr, Reason};

/// One step of a request's way, in the order in which most requests take them.
#[derive(Clone, Debug)]
pub enum Step {
    /// Its head was read.
    HeadRead(Box<RequestHead>),
    /// Its head could not be read, or breaks a rule: the refusal that follows says which.
    HeadUnread,
    /// A binding is looked for that takes this host here.
    BindingSought {
        /// The host that the request names.
        host: HostName,
        /// Where of ours it arrived.
        local: LocalAddr,
    },
    /// There is one.
    BindingFound {
        /// The binding.
        binding: Arc<BindingKey>,
        /// The site that it serves.
        site: Box<str>,
    },
    /// A route of the site takes the path and the method.
    RouteFound {
        /// The route's path.
        route: Box<str>,
        /// The pool that it leads to.
        pool: Box<str>,
    },
    /// Every slot of the pool is taken: the request waits.
    QueueEntered {
        /// Its place in the queue, counted from 1.
        position: u32,
        /// How many may wait (`queue_length`).
        length: u32,
        /// How many hold a slot.
        running: u32,
    },
    /// Its turn has come: it has a slot.
    QueueLeft,
    /// The pool's handler has the request.
    HandlerBegan,
    /// The upstream is asked for another target than the client's.
    Rewritten {
        /// The target that it is asked for.
        target: PathAndQuery,
    },
    /// Something happened in the attempt of this number to have an upstream answer it; [`super::Journal::next_attempt`].
    Attempt(u32, AttemptStep),
    /// Nobody could be sent the request, and it waits a while before it tries again.
    Paused,
    /// The handler has answered: with a response, or with the refusal that follows.
    HandlerAnswered,
    /// The request is refused, or what it was answered with broke off.
    Refused {
        /// What it counts as.
        reason: Reason,
        /// What happened, in a sentence.
        detail: Cow<'static, str>,
    },
    /// The head of the response, as it goes out.
    ResponseHead(Box<ResponseHead>),
    /// The first piece of the response's content is on its way out.
    FirstByte,
    /// The last one is.
    LastByte {
        /// Bytes of content.
        bytes: u64,
    },
    /// The response was not sent to its end.
    Cut {
        /// Bytes of content that were.
        bytes: u64,
    },
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// Its target as the client wrote it; none for the authority form of CONNECT.
    pub target: Option<PathAndQuery>,
    /// The version of HTTP.
    pub version: Version,
    /// Its fields, secrets included.
    pub fields: HeaderMap,
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, secrets included.
    pub fields: HeaderMap,
}

/// One step of an attempt to have an upstream (a worker, a FastCGI application) answer the request.
#[derive(Clone, Debug)]
pub enum AttemptStep {
    /// It begins.
    Began {
        /// Whom it is sent to, as the configuration names it.
        upstream: Box<str>,
        /// Why it is made.
        cause: Cause,
    },
    /// It goes over a connection that was there.
    Kept,
    /// There is a new connection.
    Connected {
        /// Where it leads to; none for a unix socket.
        to: Option<SocketAddr>,
    },
    /// The new connection's TLS handshake is done.
    Secured {
        /// `TLSv1.2` or `TLSv1.3`.
        version: &'static str,
    },
    /// The kept connection turned out to be closed: a new one is made.
    Stale,
    /// All of the request is sent.
    Sent,
    /// The head of the response is there.
    Answered {
        /// Its status.
        status: StatusCode,
    },
    /// There is no response.
    Failed {
        /// What it counts as.
        reason: Reason,
        /// What happened, in a sentence.
        detail: Cow<'static, str>,
    },
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the request's first.
    First,
    /// The one before came to no good.
    Retry,
    /// The one before takes long: both are waited for.
    Hedge,
}

impl Step {
    /// Its name, as files and traces have it.
    pub fn name(&self) -> &'static str {
        match self {
            Step::HeadRead(_) => "head_read",
            Step::HeadUnread => "head_unread",
            Step::BindingSought { .. } => "binding_sought",
            Step::BindingFound { .. } => "binding_found",
            Step::RouteFound { .. } => "route_found",
            Step::QueueEntered { .. } => "queue_entered",
            Step::QueueLeft => "queue_left",
            Step::HandlerBegan => "handler_began",
            Step::Rewritten { .. } => "rewritten",
            Step::Attempt(_, step) => step.name(),
            Step::Paused => "paused",
            Step::HandlerAnswered => "handler_answered",
            Step::Refused { .. } => "refused",
            Step::ResponseHead(_) => "response_head",
            Step::FirstByte => "first_byte",
            Step::LastByte { .. } => "last_byte",
            Step::Cut { .. } => "cut",
        }
    }
}

impl AttemptStep {
    /// Its name, as files and traces have it.
    pub fn name(&self) -> &'static str {
        match self {
            AttemptStep::Began { .. } => "attempt_began",
            AttemptStep::Kept => "attempt_kept_connection",
            AttemptStep::Connected { .. } => "attempt_connected",
            AttemptStep::Secured { .. } => "attempt_tls_done",
            AttemptStep::Stale => "attempt_stale_connection",
            AttemptStep::Sent => "attempt_sent",
            AttemptStep::Answered { .. } => "attempt_answered",
            AttemptStep::Failed { .. } => "attempt_failed",
        }
    }
}

impl Cause {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::First => "first",
            Cause::Retry => "retry",
            Cause::Hedge => "hedge",
        }
    }
}
