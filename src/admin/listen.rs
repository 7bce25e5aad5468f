//! Accepting administrators, on a thread of its own: it answers while the data threads are saturated.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::access::{self, Peer};
use super::patience::Patience;
use super::places::{Place, Places};
use super::socket::{Bound, SocketFile};
use super::{Backend, Declined, Question, Told, api};
use crate::report::AuditOutcome;

/// A running admin socket; dropping it closes the socket, and removes its file.
pub struct Admin {
    _file: Option<SocketFile>,
    _stop: oneshot::Sender<Infallible>,
}

/// What connections share.
struct Shared {
    backend: Arc<dyn Backend>,
    guard: Guard,
}

/// What is asked of who asks, beside what the system says of him.
enum Guard {
    /// Nothing: not everybody can reach the file.
    File,
    /// The token.
    Token(zeroize::Zeroizing<String>),
    /// Nothing, and not everything is answered.
    Open,
}

/// Accepts from a socket from now on.
pub fn start(bound: Bound, backend: Arc<dyn Backend>) -> io::Result<Admin> {
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (listener, guard, file) = match bound {
        Bound::Unix { listener, file } => (Listener::Unix(listener), Guard::File, Some(file)),
        Bound::Loopback(listener, token) => {
            (Listener::Loopback(listener), Guard::Token(token), None)
        }
        Bound::Metrics(listener) => (Listener::Loopback(listener), Guard::Open, None),
    };
    let name = match guard {
        Guard::Open => "metrics",
        _ => "admin",
    };
    let shared = Arc::new(Shared { backend, guard });
    thread::Builder::new().name(name.into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                result = listener.run(shared) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the admin socket cannot be listened on any more");
                    }
                }
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(Admin {
        _file: file,
        _stop: stop,
    })
}

enum Listener {
    Unix(std::os::unix::net::UnixListener),
    Loopback(std::net::TcpListener),
}

impl Listener {
    async fn run(self, shared: Arc<Shared>) -> io::Result<()> {
        let places = Places::new(CONNECTIONS_MAX);
        match self {
            Self::Unix(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    let accepted = listener.accept().await;
                    let accepted =
                        accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream)));
                    match accepted {
                        Ok((peer, stream)) => {
                            let place = places.take().await;
                            serve(stream, Peer::of(peer), place, &shared);
                        }
                        Err(error) => pause(&error).await,
                    }
                }
            }
            Self::Loopback(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, from)) => {
                            let place = places.take().await;
                            serve(stream, shared.guard.peer(from), place, &shared);
                        }
                        Err(error) => pause(&error).await,
                    }
                }
            }
        }
    }
}

/// No file descriptors are left, or the peer is gone again.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "an administrator's connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn serve<S>(stream: S, peer: Peer, place: Option<Place>, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (shared, Some(place)) = (Arc::clone(shared), place) else {
        return;
    };
    tokio::spawn(async move {
        let service = service_fn(|request| respond(request, &peer, &shared, &place));
        let stream = Patience::new(stream, STALL_MAX);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = connection => {
                // Whoever goes away in the middle of it has not been told, and knows it.
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "an administrator's connection failed");
                }
            }
            () = place.cut() => {
                tracing::debug!(%peer, "a connection gave its place up: it has asked for nothing that it may");
            }
        }
    });
}

/// Content of a request is not read: no question has any.
async fn respond(
    request: Request<Incoming>,
    peer: &Peer,
    shared: &Shared,
    place: &Place,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Err((status, why)) = may_ask(&request, peer, shared) {
        let asked = format!("{} {}", request.method(), request.uri().path());
        tracing::warn!(%status, why, %peer, "a request at the admin or metrics address was refused");
        peer.audit(
            &*shared.backend,
            (&asked, None),
            AuditOutcome::Refused,
            Some(why),
        );
        let mut response = api::error(status, why);
        // Who may not ask has no use for another request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        return Ok(response);
    }
    place.keep();
    let question = match api::question(request.method(), request.uri()) {
        Ok(question) => question,
        Err(response) => return Ok(*response),
    };
    if matches!(shared.guard, Guard::Open) && !question.is_open() {
        let why = "here are /metrics, /livez and /readyz; the rest is asked at server.admin";
        return Ok(api::error(StatusCode::FORBIDDEN, why));
    }
    let answer = ask(&question, peer, shared).await;
    let accept = request.headers().get(ACCEPT);
    Ok(api::answer(&question, answer, accept))
}

fn may_ask(
    request: &Request<Incoming>,
    peer: &Peer,
    shared: &Shared,
) -> Result<(), (StatusCode, &'static str)> {
    if !peer.may_ask() {
        let why = "only root, the server's user and its group may ask";
        return Err((StatusCode::FORBIDDEN, why));
    }
    shared.guard.check(request.uri(), request.headers())
}

/// Has a question answered, and writes down what it changes.
async fn ask(question: &Question, peer: &Peer, shared: &Shared) -> Result<Told, Declined> {
    let backend = &*shared.backend;
    if *question == Question::OpenApi {
        return Ok(Told {
            json: serde_json::Value::Null,
            text: api::DOCUMENT.to_owned(),
        });
    }
    let Some(action) = question.action() else {
        return backend.answer(question.clone()).await;
    };
    // A server that stops may be gone before its answer is written down.
    let stops = matches!(question, Question::Stop { .. });
    if stops {
        peer.audit(backend, action, AuditOutcome::Done, None);
    }
    let answer = backend.answer(question.clone()).await;
    match &answer {
        Ok(told) if !stops => {
            let done = told.json["done"].as_str();
            peer.audit(backend, action, AuditOutcome::Done, done);
        }
        Ok(_) => {}
        Err(Declined(why)) => peer.audit(backend, action, AuditOutcome::Failed, Some(why)),
    }
    answer
}

impl Guard {
    /// Who asks, where the system does not say.
    fn peer(&self, from: SocketAddr) -> Peer {
        match self {
            Self::Open => Peer::Anybody,
            Self::File | Self::Token(_) => Peer::Address(from),
        }
    }

    fn check(&self, uri: &Uri, fields: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        match self {
            Self::File => Ok(()),
            Self::Token(token) => access::over_loopback(uri, fields, token),
            Self::Open => access::from_this_machine(uri, fields),
        }
    }
}

/// Beyond them, those who have not shown yet that they may ask make room, and administrators wait for each other.
const CONNECTIONS_MAX: usize = 32;
/// Whoever connects and says nothing takes one of these places.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Whoever takes nothing of an answer for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// hyper takes no less; our own requests have 200 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
