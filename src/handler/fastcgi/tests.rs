//! FastCGI against applications that do as they are told, record by record.

mod content;
mod failures;
mod keeping;
mod peer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;

use self::peer::Listener;
pub(super) use self::peer::pairs;
use super::*;
use crate::model::{
    Activity, BodyError, ClientAddr, Connection, Ids, LocalAddr, Protocol, Provenance, Reached,
    RequestId, RoutePath, TraceParent, split_authority,
};
use crate::model::{Reason, Refusal};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(40);

fn handler(address: config::Upstream, change: impl FnOnce(&mut config::FastCgiTerms)) -> FastCgi {
    let mut terms = config::FastCgiTerms {
        scripts: None,
        params: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: RESPONSE_TIMEOUT,
        body_timeout: BODY_TIMEOUT,
        idle_connections: 0,
        idle_timeout: Duration::from_secs(30),
        buffer_body: 1000,
        certificate: config::ClientFields::Leaf,
    };
    change(&mut terms);
    FastCgi::new(&config::FastCgi { address, terms }, 1).expect("a handler")
}

/// What is known of a request from a client at 192.0.2.7 that reached `shop.test`.
pub(super) fn facts(uri: &Uri) -> Facts {
    let authority = match uri.path() {
        "/a.php/b%20c" => "shop.test:8443",
        _ => "shop.test",
    };
    let (host, host_port) = split_authority(authority).expect("a host");
    let address = |text: &str| text.parse().expect("an address");
    Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(address("192.0.2.7:4711")),
            local: LocalAddr::new(address("127.0.0.1:80")),
            tls: None,
            activity: Activity::default(),
        }),
        protocol: Protocol::Http1,
        host,
        host_port,
        path: RoutePath::parse(uri.path_and_query().expect("a path")).expect("a good path"),
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
        rules: None,
    }
}

async fn ask(handler: &FastCgi, request: Request<Body>) -> Outcome {
    let facts = facts(request.uri());
    handler.handle(request, &facts).wait().await
}

fn request(method: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri("/some/path");
    request.body(body).expect("a request")
}

fn get() -> Request<Body> {
    request("GET", Body::empty())
}

async fn text(response: Response<Body>) -> Result<String, BodyError> {
    let content = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(content.into()).expect("text"))
}

fn reason(outcome: Outcome) -> Reason {
    outcome.expect_err("the request is refused").reason
}

type Piece = Result<Frame<Bytes>, BodyError>;

/// Content in pieces that a test hands over one at a time.
fn pieces() -> (mpsc::Sender<Piece>, Body) {
    let (sender, mut receiver) = mpsc::channel(1);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::stream(StreamBody::new(stream)))
}

#[tokio::test]
async fn a_request_is_told_and_its_answer_passed_on() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let peer = async {
        let mut peer = listener.accept().await;
        let params = peer.params().await;
        assert_eq!(params["REQUEST_URI"], "/some/path");
        assert_eq!(peer.stdin().await, b"");
        assert!(!peer.keeps, "the application is to close");
        peer.stderr(b"PHP Notice: x\n").await;
        peer.stdout(
            b"Status: 201 Created\r\nX-Powered-By: PHP\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhel",
        )
        .await;
        peer.stdout(b"lo").await;
        peer.end(0, 0).await;
    };
    let (outcome, ()) = tokio::join!(ask(&handler, get()), peer);
    let response = outcome.expect("a response");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-powered-by"], "PHP");
    assert_eq!(response.headers().len(), 1, "{:?}", response.headers());
    assert_eq!(text(response).await.expect("content"), "hello");
}

#[tokio::test]
async fn an_application_is_told_by_which_names_a_request_is_known() {
    let listener = Listener::start().await;
    let handler = handler(listener.address(), |_| {});
    let mut request = get();
    let forged = http::HeaderValue::from_static("forged");
    request.headers_mut().insert("x-request-id", forged);
    let mut facts = facts(request.uri());
    facts.provenance.ids = Some(Box::new(Ids {
        request: Some(RequestId::new(7)),
        trace: Some(TraceParent::new(8, 9)),
        span: None,
    }));
    let peer = async {
        let mut peer = listener.accept().await;
        let params = peer.params().await;
        let id = "00000000000000000000000000000007";
        assert_eq!(params["HTTP_X_REQUEST_ID"], id);
        let trace = "00-00000000000000000000000000000008-0000000000000009-01";
        assert_eq!(params["HTTP_TRACEPARENT"], trace);
        peer.stdin().await;
        peer.stdout(b"X-A: 1\r\n\r\n").await;
        peer.end(0, 0).await;
    };
    let (outcome, ()) = tokio::join!(handler.handle(request, &facts).wait(), peer);
    outcome.expect("a response");
}
