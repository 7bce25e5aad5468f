//! A request on its way to an upstream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, MAX_FORWARDS, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body::{Body as _, Frame};
use percent_encoding::percent_decode_str;

use super::leaving::Asked;
use super::telling::TRACEPARENT;
use super::upload::{Progress, Resumed, Upload};
use super::upstream::Ends;
use super::{fields, renamed};
use crate::clock;
use crate::config::{Telling, Upgrades};
use crate::handler::notes::Notes;
use crate::model::journal::Step;
use crate::model::template::Said;
use crate::model::{Body, Facts, Interim, Reason, Refusal, RouteRules, encoded};

/// A request on its way to an upstream.
pub(in crate::handler) struct Outbound {
    /// None once it is sent, and answered or not to be sent again.
    pub(super) request: Option<Request<Body>>,
    /// Of content that is not in memory.
    pub(super) progress: Option<Arc<Progress>>,
    /// Whether carrying it out twice does no more than once (RFC 9110 section 9.2.2), and there is no content to lose.
    pub(in crate::handler) repeatable: bool,
    pub(in crate::handler) method: Method,
    /// Where early hints go, if the client makes something of them.
    pub(super) interim: Option<Interim>,
    /// What the client asks to leave HTTP for.
    pub(super) upgrade: Option<Asked>,
    /// Whose request it is, where upstreams are told by the PROXY protocol.
    pub(super) ends: Option<Ends>,
    /// How long this try may take until the response's head, where that is less than otherwise.
    pub(super) patience: Option<Duration>,
    /// What the route says of waiting, where it says anything.
    waits: Waits,
    /// Where its attempts are noted, if anybody asked for them.
    pub(in crate::handler) notes: Notes,
    /// A copy to send again, where one was asked for.
    copy: Option<Box<Copy>>,
}

/// What a route says of waiting for its responses.
#[derive(Clone, Copy, Default)]
struct Waits {
    response: Option<Duration>,
    body: Option<Duration>,
}

/// What a request is made of again.
struct Copy {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    content: Bytes,
}

impl Copy {
    fn made(&self) -> Request<Body> {
        let mut request = Request::new(Body::full(self.content.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Outbound {
    pub(in crate::handler) fn new(
        mut request: Request<Body>,
        facts: &Facts,
        telling: &Telling,
        upgrades: &Upgrades,
    ) -> Result<Self, Refusal> {
        let empty = request.body().is_end_stream();
        let upgrade = Asked::of(&mut request, facts, upgrades)?;
        let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
        *request.uri_mut() = target(request.uri(), facts)?;
        let interim = request.extensions_mut().remove();
        // What our side of the connection left there is none of the upstream's.
        request.extensions_mut().clear();
        fields::to_upstream(
            request.headers_mut(),
            version,
            upgrade.as_ref().map(Asked::protocol),
            facts,
            telling,
        );
        let waits = follow(facts.rules.as_deref(), &mut request, facts);
        say_length(&mut request);
        let progress = (!empty).then(Arc::<Progress>::default);
        if let Some(progress) = &progress {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = Body::stream(Upload::new(body, Arc::clone(progress)));
        }
        let method = request.method().clone();
        Ok(Self {
            request: Some(request),
            repeatable: empty && upgrade.is_none() && is_idempotent(&method),
            progress,
            method,
            upgrade,
            interim,
            ends: telling.proxy_protocol.map(|_| Ends {
                client: facts.client(),
                local: facts.connection.local,
            }),
            patience: None,
            waits,
            notes: Notes::of(facts),
            copy: None,
        })
    }

    /// A request of our own, without content: not that of a client.
    pub(in crate::handler) fn ours(request: Request<Body>) -> Self {
        Self {
            method: request.method().clone(),
            request: Some(request),
            repeatable: false,
            progress: None,
            interim: None,
            ends: None,
            upgrade: None,
            patience: None,
            waits: Waits::default(),
            notes: Notes::default(),
            copy: None,
        }
    }

    /// Passes an interim response on, if it is one of early hints and the client makes something of them. 100 (Continue) is
    /// between us and the upstream; the client is told when its content is wanted.
    pub(super) fn hint(interim: &Interim, status: StatusCode, headers: &HeaderMap) {
        if status == StatusCode::EARLY_HINTS {
            let mut headers = headers.clone();
            fields::to_client(&mut headers, false);
            interim.say(headers);
        }
    }

    /// The request, to be sent.
    pub(super) fn take(&mut self) -> Result<Request<Body>, Refusal> {
        self.request.take().ok_or_else(sent_already)
    }

    /// The request, to be sent from where it is.
    pub(super) fn request_mut(&mut self) -> Result<&mut Request<Body>, Refusal> {
        self.request.as_mut().ok_or_else(sent_already)
    }

    /// The request, to be sent once more.
    pub(super) fn put_back(&mut self, request: Request<Body>) {
        self.request = Some(request);
        if let Some(copy) = &self.copy
            && let Some(request) = &mut self.request
            && !copy.content.is_empty()
        {
            // Its content may be gone.
            *request.body_mut() = Body::full(copy.content.clone());
        }
    }

    /// How long all tries may take until the response's head, where the handler says `usual`.
    pub(super) fn response_timeout(&self, usual: Duration) -> Duration {
        self.waits.response.unwrap_or(usual)
    }

    /// The longest gap between two pieces of the response, where the handler says `usual`.
    pub(super) fn body_timeout(&self, usual: Duration) -> Duration {
        self.waits.body.unwrap_or(usual)
    }

    /// Whether the client awaits a tunnel or a refusal, and nothing else.
    pub(super) fn is_by_connect(&self) -> bool {
        self.upgrade.as_ref().is_some_and(Asked::is_by_connect)
    }

    /// How long this try may take, of the time that all may take, where the handler says `usual`.
    pub(super) fn patience_of(&self, usual: Duration) -> Duration {
        let whole = self.response_timeout(usual);
        self.patience.map_or(whole, |patience| patience.min(whole))
    }

    /// Has the next upstream told another Host.
    pub(super) fn call(&mut self, host: HeaderValue) {
        if let Some(request) = &mut self.request {
            request.headers_mut().insert(HOST, host);
        }
    }

    /// Has the next upstream told which attempt it is sent, where that is anything new.
    pub(super) fn name_attempt(&mut self) {
        if let (Some(request), Some(field)) = (&mut self.request, self.notes.traceparent()) {
            request.headers_mut().insert(&TRACEPARENT, field);
        }
    }

    /// Whether the request is here and can be sent.
    pub(in crate::handler) fn is_ready(&self) -> bool {
        self.request.is_some()
    }

    /// Keeps a copy, if the request may be repeated: an answer may call for it.
    pub(super) fn keep_copy(&mut self, content: Bytes) {
        if let Some(request) = &self.request
            && self.repeatable
        {
            self.copy = Some(Box::new(Copy {
                method: request.method().clone(),
                uri: request.uri().clone(),
                headers: request.headers().clone(),
                content,
            }));
        }
    }

    /// The same request once more, to be sent to another upstream meanwhile; a copy is kept of it. None if it may not be repeated.
    pub(super) fn twin(&mut self) -> Option<Self> {
        if self.copy.is_none() {
            self.keep_copy(Bytes::new());
        }
        let copy = self.copy.as_ref()?;
        Some(Self {
            request: Some(copy.made()),
            progress: None,
            repeatable: self.repeatable,
            method: self.method.clone(),
            // The first tells the client.
            interim: None,
            ends: self.ends,
            upgrade: None,
            patience: self.patience,
            waits: self.waits,
            notes: self.notes.beside(),
            copy: None,
        })
    }

    /// Makes the request ready to be sent again, from its copy if it has gone; whether it is.
    pub(super) fn restore(&mut self) -> bool {
        if self.request.is_none()
            && let Some(copy) = &self.copy
        {
            self.request = Some(copy.made());
        }
        self.is_ready()
    }

    /// Reads content of up to `limit` bytes into memory, so that it can be sent again. Content that is longer, or has trailers,
    /// goes on as it came.
    pub(super) async fn buffer(&mut self, limit: usize) -> Result<(), Refusal> {
        let (Some(request), Some(progress)) = (&mut self.request, &self.progress) else {
            return Ok(());
        };
        let known = request.body().size_hint().exact();
        if known.is_some_and(|length| length > limit as u64) {
            return Ok(());
        }
        let mut content = std::mem::take(request.body_mut());
        let mut read = BytesMut::new();
        let rest = loop {
            let frame = poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => break None,
                Some(Ok(Ok(data))) if read.len() + data.len() <= limit => {
                    read.extend_from_slice(&data);
                }
                Some(Ok(Ok(data))) => break Some(Ok(Frame::data(data))),
                Some(Ok(Err(trailers))) => break Some(Ok(trailers)),
                Some(Err(error)) => {
                    return Err(progress.take_broke().unwrap_or_else(|| error.into()));
                }
            }
        };
        let read = read.freeze();
        if let Some(next) = rest {
            *request.body_mut() = Body::stream(Resumed::new(read, next, content));
            return Ok(());
        }
        self.progress = None;
        request.headers_mut().remove(TRANSFER_ENCODING);
        *request.body_mut() = Body::full(read.clone());
        say_length(request);
        self.repeatable = self.upgrade.is_none() && is_idempotent(&self.method);
        self.keep_copy(read);
        Ok(())
    }
}

/// Does as the route says, once all else is in its place: whoever runs the server has the last word.
fn follow(rules: Option<&RouteRules>, request: &mut Request<Body>, facts: &Facts) -> Waits {
    let Some(rules) = rules else {
        return Waits::default();
    };
    let method = request.method().clone();
    let said = Said::by(facts, &method);
    rules.request_fields.apply(request.headers_mut(), &said);
    Waits {
        response: rules.response_timeout,
        body: rules.body_timeout,
    }
}

fn sent_already() -> Refusal {
    let detail = "the request was sent already and is not to be sent again";
    Refusal::new(Reason::Internal, detail)
}

/// Says how long content is, unless it knows that itself: then whoever sends it writes it.
fn say_length(request: &mut Request<Body>) {
    if request.body().is_end_stream() {
        // RFC 9110 section 8.6: some upstreams refuse such a request without.
        if matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        ) {
            let none = HeaderValue::from_static("0");
            request.headers_mut().insert(CONTENT_LENGTH, none);
        }
    } else if request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// RFC 9110 section 9.2.2.
pub(in crate::handler) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Whether a request may go no further than here (RFC 9110 section 7.6.2); if it may, it has one step less to go.
pub(super) fn ends_here(request: &mut Request<Body>) -> bool {
    if !matches!(*request.method(), Method::OPTIONS | Method::TRACE) {
        return false;
    }
    let left = request
        .headers()
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match left {
        Some(0) => true,
        Some(left) => {
            request
                .headers_mut()
                .insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
        None => false,
    }
}

/// The target as the upstream gets it: as the client wrote it, unless resolving it changed more than its encoding. A path
/// that was routed as one thing must not be read as another behind us.
pub(in crate::handler) fn target(uri: &Uri, facts: &Facts) -> Result<Uri, Refusal> {
    let asked = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(rewrite) = renamed::of(facts) {
        let target = renamed::target(rewrite, &asked, facts)?;
        clock::note(facts.journal.as_ref(), || Step::Rewritten {
            target: target.path_and_query().cloned().unwrap_or(asked),
        });
        return Ok(target);
    }
    let path = facts.path.as_str();
    let same = asked.path() == path || percent_decode_str(asked.path()).eq(path.bytes());
    if same {
        return Ok(Uri::from(asked));
    }
    let mut text = encoded(path);
    if let Some(query) = asked.query() {
        text.push('?');
        text.push_str(query);
    }
    Uri::try_from(text).map_err(|error| Refusal::new(Reason::Url, error.to_string()))
}
