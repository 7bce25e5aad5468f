//! HTTP/2 to upstreams: what is sent, what is shared, and what happens when a stream or its connection ends.

mod ends;
mod flow;
mod shared;

use h2::server::{self, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::authority::Authority;
use super::scripted::Upstream;
use super::tls::{TlsUpstream, Trust};
use super::*;

/// An upstream's end of a connection of HTTP/2, which a task moves along.
pub(super) struct Session {
    requests: mpsc::Receiver<Asked>,
    farewell: Option<oneshot::Sender<()>>,
    over: tokio::task::JoinHandle<()>,
}

/// A request that reached the upstream.
pub(super) struct Asked {
    request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

impl Session {
    pub(super) async fn on<S>(stream: S, change: impl FnOnce(&mut server::Builder)) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = server::Builder::new();
        change(&mut builder);
        let mut conn = builder.handshake(stream).await.expect("a preface");
        let (sender, requests) = mpsc::channel(256);
        let (farewell, mut asked) = oneshot::channel();
        let over = tokio::spawn(async move {
            let mut open = true;
            loop {
                tokio::select! {
                    accepted = conn.accept() => match accepted {
                        Some(Ok((request, respond))) => {
                            let _ = sender.send(Asked { request, respond }).await;
                        }
                        _ => return,
                    },
                    said = &mut asked, if open => {
                        open = false;
                        if said.is_ok() {
                            conn.graceful_shutdown();
                        }
                    }
                }
            }
        });
        let farewell = Some(farewell);
        Self {
            requests,
            farewell,
            over,
        }
    }

    /// The next connection of an upstream.
    pub(super) async fn accept(upstream: &Upstream) -> Self {
        Self::on(upstream.accept().await.stream, |_| {}).await
    }

    pub(super) async fn asked(&mut self) -> Asked {
        self.requests.recv().await.expect("a request")
    }

    /// Says that it takes no more requests (GOAWAY), and finishes those it has.
    fn part(&mut self) {
        let farewell = self.farewell.take().expect("it is said once");
        farewell.send(()).expect("somebody who says it");
    }

    /// Waits until the connection is over.
    async fn over(self) {
        self.over.await.expect("an end");
    }
}

impl Asked {
    fn head(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Answers with 200 and this content.
    pub(super) fn say(mut self, content: &'static str) {
        let response = Response::new(());
        let mut stream = self
            .respond
            .send_response(response, false)
            .expect("a stream");
        stream.send_data(content.into(), true).expect("a stream");
    }

    async fn content(&mut self) -> Result<Vec<u8>, h2::Error> {
        let mut content = Vec::new();
        while let Some(data) = self.request.body_mut().data().await {
            let data = data?;
            let _ = self
                .request
                .body_mut()
                .flow_control()
                .release_capacity(data.len());
            content.extend(data);
        }
        Ok(content)
    }

    /// Waits for the reset of its stream.
    async fn reset(mut self) -> Code {
        std::future::poll_fn(|cx| self.respond.poll_reset(cx))
            .await
            .expect("a reset")
    }
}

pub(super) fn h2c(upstream: &Upstream) -> config::Upstream {
    local(config::UpstreamScheme::H2c, upstream.port())
}

/// Asks as a client over HTTP/2.
pub(super) async fn ask_h2(proxy: &Proxy, mut request: Request<Body>) -> Outcome {
    *request.version_mut() = http::Version::HTTP_2;
    let facts = facts_of(
        "shop.test",
        "192.0.2.7:4711",
        request.uri(),
        Protocol::Http2,
    );
    proxy.handle(request, &facts).wait().await
}

pub(super) async fn content_of(outcome: Outcome) -> String {
    text(outcome.expect("a response")).await.expect("content")
}

#[tokio::test]
async fn a_request_is_made_anew_for_http_2() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let request = request("POST", "/a/b?c")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-end", "1")
        .header("te", "trailers")
        .body(Body::full("content"))
        .expect("a request");
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        assert_eq!(asked.request.uri(), "http://shop.test/a/b?c");
        assert_eq!(asked.head()["content-length"], "7");
        assert_eq!(asked.head()["te"], "trailers");
        assert_eq!(asked.head()["x-end"], "1");
        assert_eq!(asked.head()["via"], "1.1 portunus");
        assert_eq!(asked.head()["x-forwarded-for"], "192.0.2.7");
        for gone in [
            "host",
            "connection",
            "transfer-encoding",
            "x-hop",
            "upgrade",
        ] {
            assert!(!asked.head().contains_key(gone), "{gone}");
        }
        assert_eq!(asked.content().await.expect("content"), b"content");
        asked.say("answer");
        session
    };
    let (outcome, _session) = tokio::join!(ask(&proxy, request), serve);
    assert_eq!(content_of(outcome).await, "answer");
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let (sender, body) = pieces();
    let client = async {
        sender.send(data("ping")).await.expect("a reader");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().expect("a value"));
        trailers.insert("x-forwarded-for", "6.6.6.6".parse().expect("a value"));
        sender
            .send(Ok(Frame::trailers(trailers)))
            .await
            .expect("a reader");
        drop(sender);
    };
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        assert_eq!(asked.content().await.expect("content"), b"ping");
        let trailers = asked.request.body_mut().trailers().await.expect("trailers");
        let trailers = trailers.expect("trailers");
        assert_eq!(trailers["x-sum"], "1");
        assert_eq!(trailers.len(), 1, "{trailers:?}");
        let mut stream = asked
            .respond
            .send_response(Response::new(()), false)
            .expect("a stream");
        stream.send_data("pong".into(), false).expect("a stream");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        stream.send_trailers(trailers).expect("a stream");
        session
    };
    let (outcome, (), _session) = tokio::join!(ask_h2(&proxy, post(body)), client, serve);
    let collected = outcome.expect("a response").into_body().collect().await;
    let collected = collected.expect("content");
    let trailers = collected.trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "pong");
}

#[tokio::test]
async fn a_response_of_trailers_alone_is_a_head_without_content() {
    let upstream = Upstream::start().await;
    let proxy = proxy([h2c(&upstream)]);
    let serve = async {
        let mut session = Session::accept(&upstream).await;
        let mut asked = session.asked().await;
        let response = Response::builder().header("grpc-status", "5").body(());
        let _ = asked.respond.send_response(response.expect("a head"), true);
        session
    };
    let (outcome, _session) = tokio::join!(ask_h2(&proxy, get("/")), serve);
    let response = outcome.expect("a response");
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(http_body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn https_upstreams_choose_by_alpn() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &["h2", "http/1.1"], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    let serve = async {
        let stream = upstream.try_accept().await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut session = Session::on(stream, |_| {}).await;
        for _ in 0..2 {
            let asked = session.asked().await;
            assert_eq!(asked.request.uri().scheme_str(), Some("https"));
            asked.say("two");
        }
        session
    };
    let client = async {
        for _ in 0..2 {
            assert_eq!(content_of(ask(&proxy, get("/")).await).await, "two");
        }
    };
    tokio::join!(serve, client);
}

#[tokio::test]
async fn an_upgrade_goes_to_an_https_upstream_over_http_1() {
    let trust = Trust::new();
    let issued = trust.authority.issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &["h2", "http/1.1"], None).await;
    let proxy = proxy_with([upstream.config("localhost")], |proxy| {
        proxy.tls.ca = Some(trust.ca());
    });
    let upgrade = request("GET", "/chat")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Body::empty())
        .expect("a request");
    let serve = async {
        let stream = upstream.try_accept().await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut peer = super::scripted::Peer::new(stream);
        assert!(peer.head().await.contains("upgrade: websocket\r\n"));
        peer.say(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        let _ = tokio::io::AsyncWriteExt::flush(&mut peer.stream).await;
        peer
    };
    let (outcome, _peer) = tokio::join!(ask(&proxy, upgrade), serve);
    assert_eq!(outcome.expect("a response").status(), 101);
}

#[tokio::test]
async fn a_certificate_that_is_not_right_keeps_http_2_out_too() {
    let issued = Authority::new("nobody").issue(&["localhost"]);
    let upstream = TlsUpstream::start(&issued, &["h2"], None).await;
    let proxy = proxy([upstream.config("localhost")]);
    let (outcome, accepted) = tokio::join!(ask(&proxy, get("/")), upstream.try_accept());
    assert!(accepted.is_err());
    assert_eq!(reason(outcome), Reason::UpstreamConnect);
}
