//! Accepting administrators, on a thread of its own: it answers while the data threads are saturated.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::access::{No, Peer};
use super::door::Door;
use super::events::{self, Listeners, Stream};
use super::socket::{Bound, SocketFile};
use super::{Backend, Question, SAMPLE_EVERY, api, dashboard};

/// A running admin socket; dropping it closes the socket, and removes its file.
pub struct Admin {
    _file: Option<SocketFile>,
    _stop: oneshot::Sender<Infallible>,
}

/// What connections share.
struct Shared {
    backend: Arc<dyn Backend>,
    door: Door,
    listeners: Listeners,
}

/// Who is at the other end of a connection.
struct Caller {
    peer: Peer,
    /// Closes it.
    hang_up: Arc<Notify>,
}

/// The content of an answer: there whole, or what happens as it happens.
type Content = Either<Full<Bytes>, Stream>;

/// Accepts from a socket from now on.
pub fn start(bound: Bound, backend: Arc<dyn Backend>) -> io::Result<Admin> {
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (listener, door, file) = match bound {
        Bound::Unix { listener, file } => (Listener::Unix(listener), Door::File, Some(file)),
        Bound::Loopback(listener, token) => {
            let door = Door::guarded(token, listener.local_addr()?.port());
            (Listener::Loopback(listener), door, None)
        }
        Bound::Metrics(listener) => (Listener::Loopback(listener), Door::Open, None),
    };
    let name = match door {
        Door::Open => "metrics",
        _ => "admin",
    };
    let shared = Arc::new(Shared {
        backend,
        door,
        listeners: Listeners::default(),
    });
    thread::Builder::new().name(name.into()).spawn(move || {
        runtime.block_on(async {
            let sampling = sample(Arc::clone(&shared));
            tokio::select! {
                result = listener.run(shared) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the admin socket cannot be listened on any more");
                    }
                }
                () = sampling => {}
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
                        Ok((stream, _)) => serve(stream, shared.door.peer(), place, &shared),
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
        let hang_up = Arc::default();
        let caller = Caller { peer, hang_up };
        let service = service_fn(|request| respond(request, &caller, &shared));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let peer = &caller.peer;
        tokio::select! {
            // Whoever goes away in the middle of it has not been told, and knows it.
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, %peer, "an administrator's connection failed");
            },
            () = caller.hang_up.notified() => {
                tracing::debug!(%peer, "who listens to what happens is let go: he is too slow, or logged out");
            }
        }
    });
}

/// Content of a request is not read: no question has any. A login has.
async fn respond(
    request: Request<Incoming>,
    caller: &Caller,
    shared: &Shared,
) -> Result<Response<Content>, Infallible> {
    let Caller { peer, hang_up } = caller;
    if !peer.may_ask() {
        tracing::warn!(%peer, "somebody was refused at the admin socket who is neither root nor of the server's user or group");
        let why = "only root, the server's user and its group may ask";
        return Ok(whole(api::error(StatusCode::FORBIDDEN, why)));
    }
    if let Err(no) = shared.door.is_fair(&request) {
        return Ok(refused(no, peer));
    }
    let (method, path) = (request.method(), request.uri().path());
    if !matches!(shared.door, Door::Open) {
        if matches!(*method, Method::GET | Method::HEAD)
            && let Some(page) = dashboard::asset(path)
        {
            return Ok(whole(page));
        }
        if *method == Method::POST && path == dashboard::LOGIN_PATH {
            return Ok(whole(shared.door.log_in(request).await));
        }
    }
    let session = match shared.door.let_in(request.headers()) {
        Ok(session) => session,
        Err(no) => return Ok(refused(no, peer)),
    };
    let peer = if session.is_some() {
        &Peer::Session
    } else {
        peer
    };
    if *method == Method::POST && path == dashboard::LOGOUT_PATH {
        return Ok(whole(shared.door.log_out(session)));
    }
    if *method == Method::GET && path == api::EVENTS && !matches!(shared.door, Door::Open) {
        return Ok(listen(shared, hang_up, session).await);
    }
    let question = match api::question(method, path, request.uri().query()) {
        Ok(question) => question,
        Err(response) => return Ok(whole(*response)),
    };
    if matches!(shared.door, Door::Open) && !question.is_open() {
        let why = "here are /metrics, /livez and /readyz; the rest is asked at server.admin";
        return Ok(whole(api::error(StatusCode::FORBIDDEN, why)));
    }
    let answer = match question {
        Question::LoginCode => shared.door.code(session),
        _ => shared.backend.answer(question.clone()).await,
    };
    if question.changes() {
        let done = answer.is_ok();
        tracing::info!(%peer, ?question, done, "an administrator asked");
    }
    let accept = request.headers().get(ACCEPT);
    Ok(whole(api::answer(&question, answer, accept)))
}

fn whole(response: Response<Full<Bytes>>) -> Response<Content> {
    response.map(Either::Left)
}

fn refused((status, why): No, peer: &Peer) -> Response<Content> {
    tracing::warn!(%status, why, %peer, "a request at the admin or metrics address was refused");
    whole(api::error(status, why))
}

/// What happens, as it happens: first how all of it is.
async fn listen(
    shared: &Shared,
    hang_up: &Arc<Notify>,
    session: Option<&str>,
) -> Response<Content> {
    let first = overview(&*shared.backend).await;
    let Some(stream) = shared.listeners.join(first, hang_up, session) else {
        let why = "as many listen as may; close another dashboard";
        return whole(api::error(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let mut response = Response::new(Either::Right(stream));
    let fields = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    fields.insert(http::header::CONTENT_TYPE, kind);
    dashboard::harden(fields);
    response
}

/// Has samples taken, and tells of each to who listens.
async fn sample(shared: Arc<Shared>) {
    if matches!(shared.door, Door::Open) {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval_at(Instant::now() + SAMPLE_EVERY, SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.backend.sample();
        if !shared.listeners.is_empty() {
            let event = overview(&*shared.backend).await;
            let may_listen = |session: Option<&str>| shared.door.still_lets_in(session);
            shared.listeners.tell(&event, may_listen);
        }
    }
}

/// How all of it is, as an event; where that cannot be had, a comment, so that nobody takes the connection for dead.
async fn overview(backend: &dyn Backend) -> Bytes {
    let asked = tokio::time::timeout(OVERVIEW_WAIT, backend.answer(Question::Overview));
    match asked.await {
        Ok(Ok(told)) => events::event("overview", &told.json.to_string()),
        Ok(Err(_)) | Err(_) => events::STILL_HERE,
    }
}

/// Beyond them, administrators wait for each other.
const CONNECTIONS_MAX: usize = 32;
/// Whoever connects and says nothing takes one of these places.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// hyper takes no less; our own requests have 200 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pools' workers are asked for; who watches them may be busy starting one.
const OVERVIEW_WAIT: Duration = Duration::from_secs(3);
