//! The seam: every version of HTTP brings its requests here, and takes its responses from here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::body::{ContentLimits, limited};
use super::provenance::heard;
use super::trail::Trail;
use super::{BoundTo, Edge, ThreadEdge, authority, extended, finish, recording, refuse};
use crate::config::Overflow;
use crate::handler::Reply;
use crate::model::journal::Step;
use crate::model::{
    Body, BodyError, Connection, Facts, HostName, InFlight, Protocol, Reached, Reason, Refusal,
    RoutePath, Scheme, Stand, TlsFacts,
};
use crate::pool::Entry;
use crate::site::https_redirect_target;

/// What a request is answered with.
pub(super) enum Answer {
    /// A response; `close`: an HTTP/1.1 connection closes behind it.
    Response {
        response: Response<Body>,
        close: bool,
    },
    /// No response: the connection, or the stream, is reset.
    Reset,
}

/// How far serving has come by itself.
pub(super) enum Serving {
    /// The answer is known.
    Now(Answer),
    /// Something is waited for: a slot, a handler. Dropping it gives the request up.
    Later(Work),
}

/// The rest of a request's way.
pub(super) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Serves one request.
///
/// What needs no waiting is done here and now: a request for a free slot and a handler that knows its answer costs no future.
pub(super) fn serve<B>(
    edge: &ThreadEdge,
    connection: &Arc<Connection>,
    protocol: Protocol,
    request: Request<B>,
    in_flight: InFlight,
) -> Serving
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    let mut trail = Trail::new(edge, connection, protocol, Some(&request), in_flight);
    let outcome = match place(&mut trail, &request) {
        Ok(Placed::ForPool(pool, limits)) => {
            let request = request.map(|content| limited(content, limits));
            return admit(trail, request, pool);
        }
        Ok(Placed::Answered(response)) => Ok(response),
        Err(refusal) => Err(refusal),
    };
    trail.target = request.uri().path_and_query().cloned();
    if trail.binding.is_none() {
        trail.hear(Some(request.headers()));
    }
    Serving::Now(answer(trail, outcome))
}

/// Answers a request that was refused before it could be read.
pub(super) fn refuse_unread(
    edge: &ThreadEdge,
    connection: &Arc<Connection>,
    protocol: Protocol,
    refusal: &Refusal,
    in_flight: InFlight,
) -> Answer {
    let mut trail = Trail::new(edge, connection, protocol, None::<&Request<()>>, in_flight);
    trail.hear(None);
    refused(trail, refusal)
}

/// Takes a slot of the pool if one is free, and the handler's answer if it knows it.
fn admit(mut trail: Box<Trail>, request: Request<Body>, pool: usize) -> Serving {
    match trail.edge.pools[pool].enter() {
        Entry::Refused(refusal) => Serving::Now(answer(trail, Err(refusal))),
        Entry::Waiting(waiting) => {
            trail.queued(waiting.place());
            Serving::Later(Box::pin(async move {
                match waiting.await {
                    Ok(permit) => {
                        trail.admitted(permit);
                        work(trail, request, pool).await
                    }
                    Err(refusal) => answer(trail, Err(refusal)),
                }
            }))
        }
        Entry::Admitted(permit) => {
            trail.admitted(permit);
            let handler = trail.edge.pools[pool].handler();
            match handler.handle_now(&request, trail.placed()) {
                Some(outcome) => {
                    trail.answered();
                    Serving::Now(answer(trail, outcome))
                }
                None => Serving::Later(work(trail, request, pool)),
            }
        }
    }
}

/// Lets the pool's handler work.
///
/// Every request that is waited for has one of these. It is no `async fn`, whose arguments lie in its future twice.
fn work(mut trail: Box<Trail>, request: Request<Body>, pool: usize) -> Work {
    trail.waits(Stand::Working);
    Box::pin(async move {
        let handler = trail.edge.pools[pool].handler();
        let outcome = match handler.handle(request, trail.placed()) {
            Reply::Now(outcome) => outcome,
            Reply::Later(reply) => reply.await,
        };
        trail.answered();
        answer(trail, outcome)
    })
}

fn answer(mut trail: Box<Trail>, outcome: Result<Response<Body>, Refusal>) -> Answer {
    trail.in_flight.moves();
    let outcome = match trail.by_connect {
        true => outcome.and_then(extended::answer),
        false => outcome,
    };
    match outcome {
        Ok(mut response) => {
            if let Some(site) = trail.site
                && trail.edge.sites[site].intercepts(trail.route, response.status())
            {
                trail.edge.sites[site].put_page(&mut response, &trail.said());
            }
            finish::respond(trail, response, false)
        }
        Err(refusal) => refused(trail, &refusal),
    }
}

fn refused(mut trail: Box<Trail>, refusal: &Refusal) -> Answer {
    // No handler works for it any more.
    trail.permit = None;
    trail.refused(refusal);
    let resets = refusal.reason == Reason::QueueFull
        && trail
            .pool
            .is_some_and(|pool| trail.edge.pools[pool].on_overflow() == Overflow::Reset);
    if resets {
        return Answer::Reset;
    }
    let mut response = refuse::response(&trail.edge, refusal);
    if let Some(site) = trail.site {
        trail.edge.sites[site].put_page(&mut response, &trail.said());
    }
    let close = refuse::closes(response.status());
    finish::respond(trail, response, close)
}

/// Where a request is to go.
enum Placed {
    /// Nowhere: the answer is known.
    Answered(Response<Body>),
    /// To a pool, by its index, with its content held to limits. The trail has the facts.
    ForPool(usize, ContentLimits),
}

/// Finds whom a request is for, as the contract of bindings has it: host, binding, site, route.
fn place<B: http_body::Body>(trail: &mut Trail, request: &Request<B>) -> Result<Placed, Refusal> {
    if request.headers().len() > trail.edge.limits.max_header_fields {
        return Err(Refusal::new(
            Reason::FieldLength,
            "the request has more fields than limits.max_header_fields",
        ));
    }
    let (host, host_port) = authority::host(request, trail.connection.local)?;
    trail.sought(&host);
    let host = trail.host.insert(host);
    if trail.edge.challenges.any()
        && let Some(answer) = challenge(&trail.edge, request, host)
    {
        return Ok(Placed::Answered(answer));
    }
    let binding = find_binding(&trail.edge, &trail.connection, trail.protocol, host)?;
    trail.binding = Some(binding);
    // As `Trail::hear`, which cannot be asked while the host is looked at.
    let (edge, peer) = (&trail.edge, trail.connection.client);
    trail.provenance = heard(edge, peer, Some(request.headers()), Some(binding));
    recording::found(&mut trail.recording, binding, &trail.provenance, request);
    let edge = &trail.edge;
    let bound = &edge.bindings[binding];
    let client_scheme = trail.provenance.scheme(&trail.connection);
    let site = &edge.sites[bound.site];
    trail.site = Some(bound.site);
    extended::is_known(request)?;
    method_is_taken(request.method())?;
    scheme_is_ours(request.uri())?;
    let root = PathAndQuery::from_static("/");
    let target = request.uri().path_and_query().unwrap_or(&root);
    target_is_short(target, edge.limits.max_uri_bytes)?;
    if target.path() == "*" {
        return about_the_server(request.method());
    }
    let path =
        RoutePath::parse(target).map_err(|error| Refusal::new(Reason::Url, error.to_string()))?;
    // Behind a balancer that ends TLS, a client may have come by https.
    if site.https_redirect && bound.key.scheme == Scheme::Http && client_scheme == Scheme::Http {
        return Ok(Placed::Answered(to_https(
            host,
            request.uri(),
            bound.https_port,
        )));
    }
    let route = site.route(&path, request.method())?;
    let pool = route.pool;
    (trail.pool, trail.route) = (Some(pool), Some(route.index));
    edge.routed[bound.site].count(route.index);
    trail.note(|| Step::RouteFound {
        route: route.path.clone(),
        pool: edge.pools[pool].name().into(),
    });
    let max = route.max_body_bytes.unwrap_or(edge.limits.max_body_bytes);
    let gap = route.entity_body.unwrap_or(edge.limits.entity_body);
    let rules = route.rules.clone();
    let limits = content_limits(trail, max, gap, request.body())?;
    trail.facts = trail.host.take().map(|host| Facts {
        connection: Arc::clone(&trail.connection),
        protocol: trail.protocol,
        host,
        host_port,
        path,
        rules,
        provenance: std::mem::take(&mut trail.provenance),
        journal: (trail.recording.as_ref()).and_then(|recording| recording.journal().cloned()),
        reached: Reached::default(),
    });
    Ok(Placed::ForPool(pool, limits))
}

/// The answer to a CA that looks whether a host is ours (http-01, RFC 8555 section 8.3). It comes before binding and site: what
/// redirects to https, or is not bound on this port at all, is ours all the same. Over TLS too, as CAs follow redirects.
fn challenge<B>(edge: &Edge, request: &Request<B>, host: &HostName) -> Option<Response<Body>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let answer = edge.challenges.http(host, request.uri().path())?;
    let mut response = Response::new(Body::full(Bytes::copy_from_slice(answer.as_bytes())));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

/// RFC 9110 section 9.3.7: `*` asks about the server and not about a resource, which OPTIONS alone can do.
fn about_the_server(method: &Method) -> Result<Placed, Refusal> {
    if *method != Method::OPTIONS {
        let detail = "only OPTIONS can have the target *";
        return Err(Refusal::new(Reason::Url, detail));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(Placed::Answered(response))
}

/// RFC 9110 section 4.2: a target may name a scheme, and whoever means `ftp://` does not mean this server.
fn scheme_is_ours(uri: &Uri) -> Result<(), Refusal> {
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => {
            let detail = "the request target is of another scheme than http and https";
            Err(Refusal::new(Reason::Url, detail))
        }
    }
}

fn target_is_short(target: &PathAndQuery, max: usize) -> Result<(), Refusal> {
    if target.as_str().len() > max {
        return Err(Refusal::new(
            Reason::UrlLength,
            "the request target is longer than limits.max_uri_bytes",
        ));
    }
    Ok(())
}

/// What the content is held to. Content that says itself that it is too long is refused before a byte of it is read.
fn content_limits<B>(
    trail: &mut Trail,
    max: Option<u64>,
    gap: Duration,
    content: &B,
) -> Result<ContentLimits, Refusal>
where
    B: http_body::Body,
{
    if let (Some(max), Some(length)) = (max, content.size_hint().exact())
        && length > max
    {
        return Err(Refusal::new(
            Reason::EntityTooLarge,
            "Content-Length is larger than max_body_bytes",
        ));
    }
    if !content.is_end_stream() {
        trail.received = Some(Arc::default());
    }
    Ok(ContentLimits {
        max,
        gap,
        count: trail.received.clone(),
    })
}

/// 308 keeps the method and the content, as the client meant them.
fn to_https(host: &HostName, uri: &Uri, https_port: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response
        .headers_mut()
        .insert(LOCATION, https_redirect_target(host, uri, https_port));
    response
}

/// The binding of a host on this connection's socket.
fn find_binding(
    edge: &Edge,
    connection: &Connection,
    protocol: Protocol,
    host: &HostName,
) -> Result<usize, Refusal> {
    let found = edge
        .table
        .endpoint(connection.local)
        .and_then(|endpoint| endpoint.find(host));
    let Some(binding) = found else {
        return Err(Refusal::new(
            Reason::Hostname,
            format!("no binding of this address and port takes the host {host}"),
        ));
    };
    let bound = &edge.bindings[binding];
    if let Some(tls) = &connection.tls {
        client_is_the_binding_s(tls, bound)?;
        let own = tls
            .binding
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, &bound.key) || *own == bound.key);
        if !own
            && !tls
                .covers
                .iter()
                .any(|name| crate::model::certificate_name_covers(name, host))
        {
            let detail = format!(
                "the certificate of this connection does not cover {host}; a new connection would get one that does"
            );
            return Err(Refusal::new(Reason::MisdirectedRequest, detail));
        }
        // The certificate is not all that a binding asks for, and another binding's handshake did not ask for the rest.
        if !own && bound.tls13_only && tls.version != "TLSv1.3" {
            return Err(Refusal::new(
                Reason::MisdirectedRequest,
                "this connection is of an older TLS version than the binding of this host takes",
            ));
        }
    }
    match protocol {
        Protocol::Http3 if !bound.http3 => Err(Refusal::new(
            Reason::MisdirectedRequest,
            "the binding of this host does not offer h3",
        )),
        Protocol::Http2 if !bound.http2 && connection.tls.is_some() => Err(Refusal::new(
            Reason::MisdirectedRequest,
            "the binding of this host does not offer h2",
        )),
        Protocol::Http2 if !bound.http2 => Err(Refusal::new(
            Reason::VersionNotSupported,
            "the binding of this host does not offer h2",
        )),
        Protocol::Http1 if !bound.http1 => Err(Refusal::new(
            Reason::VersionNotSupported,
            "the binding of this host does not offer http/1.1",
        )),
        _ => Ok(binding),
    }
}

/// Whether the binding's clients are asked for what this connection's handshake asked for, and the client is still good.
///
/// This holds for the connection's own binding too: a reload may have changed what it asks for since.
fn client_is_the_binding_s(tls: &TlsFacts, bound: &BoundTo) -> Result<(), Refusal> {
    let asked = tls.client.as_ref().map(|client| &client.terms);
    if asked != bound.client_terms.as_ref() {
        return Err(Refusal::new(
            Reason::MisdirectedRequest,
            "the binding of this host asks for other client certificates than the handshake of this connection did; a new connection would be asked for them",
        ));
    }
    let Some(client) = tls
        .client
        .as_ref()
        .filter(|client| client.certificate.is_some())
    else {
        return Ok(());
    };
    match client.objection(SystemTime::now()) {
        None => Ok(()),
        Some(objection) => Err(Refusal::new(
            Reason::MisdirectedRequest,
            format!("the client's certificate is no longer good: {objection}"),
        )),
    }
}

/// Refuses the methods that no handler gets to see.
pub fn method_is_taken(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::CONNECT => Err(Refusal::new(
            Reason::NotImplemented,
            "CONNECT is not taken: this is no forward proxy",
        )),
        // TRACE would send a client's cookies and credentials back to whoever asks in its name.
        Method::TRACE => Err(Refusal::method_not_allowed(
            "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH",
            "TRACE is not taken",
        )),
        _ => Ok(()),
    }
}
