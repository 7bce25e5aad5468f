use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Waker;

use axum::extract::Extension;
use axum::routing::{get, post};
use axum::{Router, body::to_bytes};
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};

use super::*;
use crate::handler::tests::facts;
use crate::model::Connection;

async fn ask<S, B>(service: S, request: Request<Body>) -> Result<Response<Body>, Refusal>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let handler = TowerHandler::new(service);
    let facts = facts("shop.test");
    handler.handle(request, &facts).wait().await
}

fn request(method: &str, path: &str, content: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(content).unwrap()
}

/// A request body that gives one piece and then breaks.
fn broken(reason: Reason) -> Body {
    let pieces = [
        Ok(Frame::data(Bytes::from_static(b"first"))),
        Err(BodyError::new(reason, "gone")),
    ];
    Body::stream(StreamBody::new(futures_util::stream::iter(pieces)))
}

/// A service made of a closure, ready at once.
#[derive(Clone)]
struct Closure<F>(F);

impl<F, B, E> Service<Request<Body>> for Closure<F>
where
    F: FnMut(Request<Body>) -> Result<Response<B>, E>,
{
    type Response = Response<B>;
    type Error = E;
    type Future = std::future::Ready<Result<Response<B>, E>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        std::future::ready((self.0)(request))
    }
}

#[tokio::test]
async fn an_axum_router_answers() {
    let router = Router::new()
        .route("/hello", get(|| async { "Hello from axum" }))
        .route("/echo", post(|text: String| async move { text }));
    let response = ask(router.clone(), request("GET", "/hello?x=1", Body::empty()));
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let length = http_body::Body::size_hint(response.body()).exact();
    assert_eq!(length, Some(15), "the length is known to the driver");
    let content = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "Hello from axum");

    let sent = Body::full("an echo");
    let response = ask(router.clone(), request("POST", "/echo", sent)).await;
    let content = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(content.to_bytes(), "an echo");

    let response = ask(router, request("GET", "/nothing", Body::empty())).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.body().full_len(), Some(0));
}

#[tokio::test]
async fn an_application_sees_who_asks() {
    let who = |Extension(connection): Extension<Arc<Connection>>| async move {
        connection.client.ip().to_string()
    };
    let router = Router::new().route("/", get(who));
    let response = ask(router, request("GET", "/", Body::empty())).await;
    let content = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(content.to_bytes(), "192.0.2.7");
}

#[tokio::test]
async fn an_error_of_the_service_is_a_fault_of_ours() {
    let service = Closure(|_| Err::<Response<Full<Bytes>>, _>(io::Error::other("no database")));
    let refusal = ask(service, request("GET", "/", Body::empty())).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.reason, Reason::Internal);
    assert_eq!(refusal.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(refusal.detail, "the application failed: no database");
}

#[derive(Clone)]
struct Reads;

impl Service<Request<Body>> for Reads {
    type Response = Response<Full<Bytes>>;
    type Error = axum::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let content = axum::body::Body::new(request.into_body());
            Ok(Response::new(Full::new(to_bytes(content, 1000).await?)))
        })
    }
}

#[tokio::test]
async fn a_service_that_fails_for_a_broken_request_body_hands_on_why() {
    let request = request("POST", "/", broken(Reason::TimerEntityBody));
    let refusal = ask(Reads, request).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TimerEntityBody);
}

#[tokio::test]
async fn content_that_breaks_off_is_an_error_of_the_body() {
    let pieces = || {
        [
            Ok(Frame::data(Bytes::from_static(b"first"))),
            Err(io::Error::other("the disk is gone")),
        ]
    };
    let service = Closure(move |_| {
        let stream = futures_util::stream::iter(pieces());
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream)))
    });
    let response = ask(service, request("GET", "/", Body::empty())).await;
    let mut content = response.unwrap().into_body();
    let first = content.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");
    let error = content.frame().await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
}

#[tokio::test]
async fn trailers_and_buffers_of_any_kind_pass() {
    let service = Closure(|_| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("checksum", http::HeaderValue::from_static("42"));
        let frames = [
            Ok::<_, Infallible>(Frame::data(io::Cursor::new(b"some".to_vec()))),
            Ok(Frame::trailers(trailers)),
        ];
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        Ok::<_, Infallible>(Response::new(stream))
    });
    let response = ask(service, request("GET", "/", Body::empty())).await;
    let content = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(content.trailers().unwrap()["checksum"], "42");
    assert_eq!(content.to_bytes(), "some");
}

/// A service that is ready only once it is told so.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<LaterState>>);

#[derive(Default)]
struct LaterState {
    ready: bool,
    called: bool,
    waker: Option<Waker>,
}

impl Service<Request<Body>> for Later {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut state = self.0.lock().unwrap();
        if state.ready {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut state = self.0.lock().unwrap();
        assert!(state.ready, "called before it was ready");
        state.called = true;
        std::future::ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test]
async fn a_service_is_called_only_once_it_is_ready() {
    let service = Later::default();
    let state = Arc::clone(&service.0);
    let mut answer = pin!(ask(service, request("GET", "/", Body::empty())));
    let first = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending())).await;
    assert!(first && !state.lock().unwrap().called);
    let waker = {
        let mut state = state.lock().unwrap();
        state.ready = true;
        state.waker.take().expect("the request waits")
    };
    waker.wake();
    answer.await.unwrap();
    assert!(state.lock().unwrap().called);
}
