//! The proxy against upstreams that do as they are told, byte by byte.

mod announced;
#[path = "../../../tests/server/support/authority.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of the whole process, which need more of it"
)]
mod authority;
mod bodies;
mod failures;
mod heads;
mod hints;
mod keeping;
mod multiplexed;
mod names;
mod reached;
mod scripted;
mod services;
mod strictness;
mod tls;
mod upgrades;
mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::{Proxy, TlsClients};
use crate::config;
use crate::handler::{Handler as _, Outcome};
use crate::model::{
    Activity, Body, BodyError, ClientAddr, Connection, Facts, LocalAddr, Protocol, Provenance,
    Reached, Reason, Refusal, RoutePath, split_authority,
};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

fn proxy(upstreams: impl IntoIterator<Item = config::Upstream>) -> Proxy {
    proxy_with(upstreams, |_| {})
}

/// A proxy whose settings are those of most tests, but for what `change` does to them.
fn proxy_with(
    upstreams: impl IntoIterator<Item = config::Upstream>,
    change: impl FnOnce(&mut config::Proxy),
) -> Proxy {
    let upstreams: Vec<_> = upstreams.into_iter().collect();
    let mut config = config::Proxy {
        balance: Box::new(config::Balance::plain(upstreams.len())),
        upstreams,
        telling: config::Telling::default(),
        upgrade: config::Upgrades::websocket_alone(),
        connect_timeout: CONNECT_TIMEOUT,
        response_timeout: RESPONSE_TIMEOUT,
        body_timeout: BODY_TIMEOUT,
        keeping: config::Keeping {
            idle_connections: 64,
            idle_timeout: Duration::from_secs(30),
            max_age: None,
            max_requests: None,
        },
        tls: config::UpstreamTls {
            ca: None,
            server_name: None,
            verify: true,
            client_certificate: None,
        },
        resolvers: Vec::new(),
    };
    // Those who ask for what comes of a failure ask for nothing else.
    config.balance.retry.wait = Duration::ZERO;
    change(&mut config);
    Proxy::new(&config, 1).expect("a proxy")
}

/// The upstream that listens on a port of this machine.
fn local(scheme: config::UpstreamScheme, port: u16) -> config::Upstream {
    let host = "127.0.0.1".to_owned();
    config::Upstream::Net { scheme, host, port }
}

/// What is known of a request for `authority` from a client at `client`.
fn facts_of(authority: &str, client: &str, uri: &Uri, protocol: Protocol) -> Facts {
    let (host, host_port) = split_authority(authority).expect("a host");
    let address = |text: &str| text.parse().expect("an address");
    Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(address(client)),
            local: LocalAddr::new(address("127.0.0.1:80")),
            tls: None,
            activity: Activity::default(),
        }),
        protocol,
        host,
        host_port,
        path: RoutePath::parse(uri.path_and_query().expect("a path")).expect("a good path"),
        rules: None,
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
    }
}

/// Asks as a client at 192.0.2.7 that reached `shop.test`.
async fn ask(proxy: &Proxy, request: Request<Body>) -> Outcome {
    let facts = facts_of(
        "shop.test",
        "192.0.2.7:4711",
        request.uri(),
        Protocol::Http1,
    );
    proxy.handle(request, &facts).wait().await
}

fn request(method: &str, target: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "shop.test")
}

fn get(target: &str) -> Request<Body> {
    request("GET", target)
        .body(Body::empty())
        .expect("a request")
}

fn post(body: Body) -> Request<Body> {
    request("POST", "/").body(body).expect("a request")
}

/// The whole content of a response, as text.
async fn text(response: Response<Body>) -> Result<String, BodyError> {
    let content = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(content.into()).expect("text"))
}

fn refused(outcome: Outcome) -> Refusal {
    outcome.expect_err("the request is refused")
}

fn reason(outcome: Outcome) -> Reason {
    refused(outcome).reason
}

/// Content in pieces that a test hands over one at a time.
struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

fn pieces() -> (mpsc::Sender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::stream(Pieces(receiver)))
}

fn data(text: impl Into<Bytes>) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(text.into()))
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}
