//! Accepting administrators, on a thread of its own: it answers while the data threads are saturated.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::access::{self, Peer};
use super::socket::{Bound, SocketFile};
use super::{Backend, api};

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
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        match self {
            Self::Unix(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    let place = place(&places).await;
                    let accepted = listener.accept().await;
                    let accepted =
                        accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream)));
                    match accepted {
                        Ok((peer, stream)) => serve(stream, Peer::of(peer), place, &shared),
                        Err(error) => pause(&error).await,
                    }
                }
            }
            Self::Loopback(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let place = place(&places).await;
                    match listener.accept().await {
                        Ok((stream, _)) => serve(stream, shared.guard.peer(), place, &shared),
                        Err(error) => pause(&error).await,
                    }
                }
            }
        }
    }
}

async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // It is never closed, which is the one error there is.
    Arc::clone(places).acquire_owned().await.ok()
}

/// No file descriptors are left, or the peer is gone again.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "an administrator's connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn serve<S>(stream: S, peer: Peer, place: Option<OwnedSemaphorePermit>, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _place = place;
        let service = service_fn(|request| respond(request, &peer, &shared));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever goes away in the middle of it has not been told, and knows it.
        if let Err(error) = connection.await {
            tracing::debug!(%error, %peer, "an administrator's connection failed");
        }
    });
}

/// Content of a request is not read: no question has any.
async fn respond(
    request: Request<Incoming>,
    peer: &Peer,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !peer.may_ask() {
        tracing::warn!(%peer, "somebody was refused at the admin socket who is neither root nor of the server's user or group");
        let why = "only root, the server's user and its group may ask";
        return Ok(api::error(StatusCode::FORBIDDEN, why));
    }
    if let Err((status, why)) = shared.guard.check(request.headers()) {
        tracing::warn!(%status, why, %peer, "a request at the admin or metrics address was refused");
        return Ok(api::error(status, why));
    }
    let question = match api::question(request.method(), request.uri()) {
        Ok(question) => question,
        Err(response) => return Ok(*response),
    };
    if matches!(shared.guard, Guard::Open) && !question.is_open() {
        let why = "here are /metrics, /livez and /readyz; the rest is asked at server.admin";
        return Ok(api::error(StatusCode::FORBIDDEN, why));
    }
    let answer = shared.backend.answer(question.clone()).await;
    if question.changes() {
        let done = answer.is_ok();
        tracing::info!(%peer, ?question, done, "an administrator asked");
    }
    let accept = request.headers().get(ACCEPT);
    Ok(api::answer(&question, answer, accept))
}

impl Guard {
    /// Who asks, where the system does not say.
    fn peer(&self) -> Peer {
        match self {
            Self::Open => Peer::Anybody,
            Self::File | Self::Token(_) => Peer::Token,
        }
    }

    fn check(&self, fields: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        match self {
            Self::File => Ok(()),
            Self::Token(token) => access::over_loopback(fields, token),
            Self::Open => access::from_this_machine(fields),
        }
    }
}

/// Beyond them, administrators wait for each other.
const CONNECTIONS_MAX: usize = 32;
/// Whoever connects and says nothing takes one of these places.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// hyper takes no less; our own requests have 200 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
