//! Accepting administrators, on a thread of its own: it answers while the data threads are saturated.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::access::{No, Peer};
use super::door::Door;
use super::events::{self, Listeners, Stream};
use super::patience::Patience;
use super::places::{Place, Places};
use super::socket::{Bound, SocketFile};
use super::{Backend, Declined, Form, Question, SAMPLE_EVERY, Told, api, dashboard};
use crate::clock::Pace;
use crate::report::AuditOutcome;

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
    refusals: Mutex<Refusals>,
}

/// Requests that were refused. Whoever may not ask may try as often as he likes: what is written of it is bounded.
struct Refusals {
    pace: Pace,
    untold: u64,
}

/// Refusals that are told at once, and how many a second when these are used up.
const REFUSALS_TOLD: (u32, f64) = (20, 1.0);

/// Bytes of a refused request's path that are told.
const ASKED_BYTES_MAX: usize = 256;

/// Who is at the other end of a connection.
struct Caller {
    peer: Peer,
    place: Place,
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
        refusals: Mutex::new(Refusals {
            pace: Pace::new(REFUSALS_TOLD.0, REFUSALS_TOLD.1),
            untold: 0,
        }),
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
                            // The system gives less if it may not give so much.
                            let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
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
                            serve(stream, shared.door.peer(from), place, &shared);
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
        let hang_up = Arc::default();
        let caller = Caller {
            peer,
            place,
            hang_up,
        };
        let service = service_fn(|request| respond(request, &caller, &shared));
        let stream = Patience::new(stream, STALL_MAX);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let peer = &caller.peer;
        tokio::select! {
            ended = connection => {
                // Whoever goes away in the middle of it has not been told, and knows it.
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "an administrator's connection failed");
                }
            }
            () = caller.place.cut() => {
                tracing::debug!(%peer, "a connection gave its place up: it has asked for nothing that it may");
            }
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
    let (peer, door) = (&caller.peer, &shared.door);
    let asked = format!("{} {}", request.method(), request.uri().path());
    if let Err(no) = may_ask(&request, peer, door) {
        return Ok(refused(no, &asked, peer, shared));
    }
    let has_pages = !matches!(door, Door::Open);
    let (method, path) = (request.method(), request.uri().path());
    let looks = matches!(*method, Method::GET | Method::HEAD);
    if has_pages
        && looks
        && let Some(page) = dashboard::asset(path)
    {
        return Ok(whole(page));
    }
    if has_pages && *method == Method::POST && path == dashboard::LOGIN_PATH {
        return Ok(whole(log_in(request, peer, shared).await));
    }
    let session = match door.let_in(request.headers()) {
        Ok(session) => session,
        Err(no) => return Ok(refused(no, &asked, peer, shared)),
    };
    caller.place.keep();
    if has_pages && *method == Method::POST && path == dashboard::LOGOUT_PATH {
        return Ok(whole(door.log_out(session)));
    }
    if has_pages && *method == Method::GET && path == api::EVENTS {
        return Ok(listen(shared, &caller.hang_up, session).await);
    }
    let question = match api::question(method, request.uri()) {
        Ok(question) => question,
        Err(response) => return Ok(whole(*response)),
    };
    if !has_pages && !question.is_open() {
        let why = "here are /metrics, /livez and /readyz; the rest is asked at server.admin";
        return Ok(whole(api::error(StatusCode::FORBIDDEN, why)));
    }
    let form = api::form(request.headers().get(ACCEPT));
    let logged_in = session.map(|_| peer.logged_in());
    let peer = logged_in.as_ref().unwrap_or(peer);
    let answer = ask(&question, form, peer, shared, session).await;
    Ok(whole(api::answer(&question, answer, form)))
}

fn whole(response: Response<Full<Bytes>>) -> Response<Content> {
    response.map(Either::Left)
}

fn may_ask(request: &Request<Incoming>, peer: &Peer, door: &Door) -> Result<(), No> {
    if !peer.may_ask() {
        let why = "only root, the server's user and its group may ask";
        return Err((StatusCode::FORBIDDEN, why));
    }
    door.is_fair(request)
}

impl Shared {
    /// Whether a refusal is to be told; how many were not, since the last that was.
    fn is_told(&self, now: std::time::Instant) -> Option<u64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.pace.take(now) {
            return Some(std::mem::take(&mut refusals.untold));
        }
        refusals.untold += 1;
        None
    }
}

fn refused((status, why): No, asked: &str, peer: &Peer, shared: &Shared) -> Response<Content> {
    if let Some(untold) = shared.is_told(std::time::Instant::now()) {
        tracing::warn!(%status, why, %peer, untold, "a request at the admin or metrics address was refused");
        let (asked, _) = asked.split_at(asked.floor_char_boundary(ASKED_BYTES_MAX));
        let detail = match untold {
            0 => why.to_owned(),
            untold => format!("{why}; {untold} more were refused since the last line of this kind"),
        };
        let outcome = AuditOutcome::Refused;
        peer.audit(&*shared.backend, (asked, None), outcome, Some(&detail));
    }
    let mut response = api::error(status, why);
    // Who may not ask has no use for another request.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    whole(response)
}

async fn log_in(request: Request<Incoming>, peer: &Peer, shared: &Shared) -> Response<Full<Bytes>> {
    let response = shared.door.log_in(request).await;
    let outcome = match response.status() {
        StatusCode::SEE_OTHER => AuditOutcome::Done,
        _ => AuditOutcome::Refused,
    };
    peer.audit(&*shared.backend, ("login", None), outcome, None);
    response
}

/// Has a question answered, and writes down what it changes.
async fn ask(
    question: &Question,
    form: Form,
    peer: &Peer,
    shared: &Shared,
    session: Option<&str>,
) -> Result<Told, Declined> {
    let backend = &*shared.backend;
    if *question == Question::OpenApi {
        return Ok(Told::text(api::DOCUMENT.to_owned()));
    }
    let Some(action) = question.action() else {
        return backend.answer(question.clone(), form).await;
    };
    // A server that stops may be gone before its answer is written down.
    let stops = matches!(question, Question::Stop { .. });
    if stops {
        peer.audit(backend, action, AuditOutcome::Done, None);
    }
    let answer = match question {
        Question::LoginCode => shared.door.code(session, form),
        _ => backend.answer(question.clone(), form).await,
    };
    match &answer {
        Ok(told) if !stops => {
            peer.audit(backend, action, AuditOutcome::Done, told.done.as_deref());
        }
        Ok(_) => {}
        Err(Declined(why)) => peer.audit(backend, action, AuditOutcome::Failed, Some(why)),
    }
    answer
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
    let asked = tokio::time::timeout(
        OVERVIEW_WAIT,
        backend.answer(Question::Overview, Form::Json),
    );
    match asked.await {
        Ok(Ok(told)) => events::event("overview", told.content.trim_end()),
        Ok(Err(_)) | Err(_) => events::STILL_HERE,
    }
}

/// Each time that the client has made room, this thread has to be given its turn, and beside a saturated data thread it waits for
/// that: an answer of megabytes is to take few of them. Of TCP the system sees to it itself.
const SEND_BUFFER: usize = 1 << 20;
/// Beyond them, those who have not shown yet that they may ask make room, and administrators wait for each other.
const CONNECTIONS_MAX: usize = 32;
/// Whoever connects and says nothing takes one of these places.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Whoever takes nothing of an answer for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// hyper takes no less; our own requests have 200 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pools' workers are asked for; who watches them may be busy starting one.
const OVERVIEW_WAIT: Duration = Duration::from_secs(3);
