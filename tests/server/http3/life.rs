//! Start, reload and stop, as an HTTP/3 client lives through them.

use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::support::Tool;
use crate::support::quic::{handshake, until};

#[test]
fn a_stop_lets_what_is_under_way_finish_and_says_goodbye() {
    let held = Held::start();
    let mut server = Site {
        handler: held.upstream.handler(),
        ..site()
    }
    .start();
    let closed = held.gate.write();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let mut idle = Http3::connect(&server, "localhost").await;
        let mut stream = held.ask(&mut client).await;
        server.signal("TERM");
        until("the drain", || {
            server.log().contains("in flight may finish")
        })
        .await;
        drop(closed);
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), 200);
        let content = stream.recv_data().await.expect("content").expect("some");
        assert_eq!(content.chunk(), b"ok");
        for client in [&mut client, &mut idle] {
            let ended = (&mut client.driver).await.expect("the driver ends");
            assert!(ended.is_h3_no_error(), "{ended}");
        }
    });
    assert!(server.wait_exit().success());
    assert!(!server.log().contains("were cut"), "{}", server.log());
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn a_client_that_is_cut_off_is_told_so() {
    let held = Held::start();
    let mut server = Site {
        handler: held.upstream.handler(),
        ..site()
    }
    .start();
    let _closed = held.gate.write();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let _stream = held.ask(&mut client).await;
        server.signal("QUIT");
        let closed = client.quic.closed().await;
        assert!(
            matches!(closed, quinn::ConnectionError::ApplicationClosed(_)),
            "{closed}"
        );
    });
    assert!(server.wait_exit().success());
}

#[test]
fn a_reload_that_does_not_touch_a_binding_disturbs_no_connection_on_it() {
    let mut server = site().start();
    let changed = Site {
        handler: "type = \"respond\"\nbody = \"changed\"".into(),
        ..site()
    };
    let text = changed.text();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        assert_eq!(
            &*client.get("https://localhost/").await.content,
            b"Hello, World!"
        );
        assert!(server.reload(&text).contains("reloaded"));
        assert_eq!(&*client.get("https://localhost/").await.content, b"changed");
        assert!(client.quic.close_reason().is_none());
    });
}

#[test]
fn h3_comes_and_goes_with_a_reload() {
    let with = |protocols: &str| Site {
        https: format!("protocols = {protocols}"),
        ..site()
    };
    let (h2, h3) = (with("[\"h2\"]"), with("[\"h3\", \"h2\"]"));
    let mut server = h3.start();
    assert!(
        server
            .log()
            .contains(&format!("quic://127.0.0.1:{}", server.https))
    );
    let bound = |server: &Server| std::net::UdpSocket::bind(("127.0.0.1", server.https)).is_err();
    for _ in 0..3 {
        block_on(async {
            let mut client = Http3::connect(&server, "localhost").await;
            client.get("https://localhost/").await;
            assert!(server.reload(&h2.text()).contains("reloaded"));
            // It is asked to go, and goes.
            let ended = (&mut client.driver).await.expect("the driver ends");
            assert!(ended.is_h3_no_error(), "{ended}");
        });
        wait_for("the UDP port to be free", || {
            (!bound(&server)).then_some(())
        });
        assert!(server.reload(&h3.text()).contains("reloaded"));
        assert!(bound(&server));
    }
    block_on(handshake(&server, "localhost", b"h3")).expect("a handshake");
}

/// What is held back.
pub(super) const HELD: &[u8] = b"/held";

/// An upstream that answers `/held` when the gate is open, and all else at once.
pub(super) struct Held {
    pub(super) upstream: Upstream,
    pub(super) gate: Arc<RwLock<()>>,
    asked: Arc<AtomicUsize>,
}

impl Held {
    pub(super) fn start() -> Self {
        let (gate, asked) = (Arc::<RwLock<()>>::default(), Arc::<AtomicUsize>::default());
        let (before, counted) = (Arc::clone(&gate), Arc::clone(&asked));
        let upstream = Upstream::start(move |talk| {
            while let Some(head) = talk.read_head() {
                if head.starts_with("GET /held ") {
                    counted.fetch_add(1, Relaxed);
                    drop(before.read());
                }
                talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        Self {
            upstream,
            gate,
            asked,
        }
    }

    /// Asks for what is held back; it is asked for when this returns.
    async fn ask(&self, client: &mut Http3) -> Waiting {
        let before = self.asked.load(Relaxed);
        let request = Request::get("https://localhost/held").body(());
        let request = request.expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        stream.finish().await.expect("finished");
        self.is_asked(before + 1).await;
        stream
    }

    /// Waits until it has been asked for so often.
    pub(super) async fn is_asked(&self, times: usize) {
        let asked = || self.asked.load(Relaxed) >= times;
        until("the request upstream", asked).await;
    }
}

/// A request whose response is waited for.
type Waiting = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

#[test]
fn what_does_not_finish_when_http3_goes_is_cut_in_its_time() {
    let held = Held::start();
    let with = |protocols: &str| {
        let site = Site {
            head: "[server]\nthreads = 2\ndrain_timeout = \"500ms\"".into(),
            handler: held.upstream.handler(),
            https: format!("protocols = {protocols}"),
            ..Site::default()
        };
        site.text()
    };
    let mut server = Server::start(&with("[\"h3\", \"h2\"]"));
    let _closed = held.gate.write();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let _stream = held.ask(&mut client).await;
        assert!(server.reload(&with("[\"h2\"]")).contains("reloaded"));
        let closed = client.quic.closed().await;
        assert!(
            matches!(closed, quinn::ConnectionError::ApplicationClosed(_)),
            "{closed}"
        );
    });
    assert!(server.wait_line("were cut").is_some());
    wait_for("the UDP port to be free", || {
        std::net::UdpSocket::bind(("127.0.0.1", server.https)).ok()
    });
}

#[test]
fn http3_comes_back_while_connections_from_before_still_finish() {
    let held = Held::start();
    let with = |protocols: &str| {
        let site = Site {
            head: "[server]\nthreads = 3".into(),
            handler: held.upstream.handler(),
            https: format!("protocols = {protocols}"),
            ..Site::default()
        };
        site.text()
    };
    let (h2, h3) = (with("[\"h2\"]"), with("[\"h3\", \"h2\"]"));
    let mut server = Server::start(&h3);
    let closed = held.gate.write();
    block_on(async {
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let mut client = Http3::connect(&server, "localhost").await;
            let stream = held.ask(&mut client).await;
            waiting.push((client, stream));
        }
        for _ in 0..2 {
            assert!(server.reload(&h2).contains("reloaded"));
            let refused = server.reload(&h3);
            assert!(refused.contains("reloaded"), "{}", server.log());
            for _ in 0..6 {
                let mut client = Http3::connect(&server, "localhost").await;
                let answer = client.get("https://localhost/").await;
                assert_eq!(answer.head.status(), 200);
            }
        }
        drop(closed);
        for (mut client, mut stream) in waiting {
            let head = stream.recv_response().await.expect("a response");
            assert_eq!(head.status(), 200);
            let ended = (&mut client.driver).await.expect("the driver ends");
            assert!(ended.is_h3_no_error(), "{ended}");
        }
    });
    assert!(server.reload(&h2).contains("reloaded"));
    wait_for("the UDP port to be free", || {
        std::net::UdpSocket::bind(("127.0.0.1", server.https)).ok()
    });
    assert!(!server.log().contains("were cut"), "{}", server.log());
}

/// The Alt-Svc of a response over TCP.
fn alt_svc(server: &Server, version: &str) -> Option<String> {
    let out = Tool::curl(server)
        .args([version, "-D-", "-o/dev/null"])
        .arg(format!("https://localhost:{}/", server.https))
        .output();
    let head = String::from_utf8(out.stdout).expect("text").to_lowercase();
    assert!(head.contains(" 200"), "{head}");
    head.lines()
        .find_map(|line| Some(line.strip_prefix("alt-svc: ")?.trim().to_owned()))
}

#[test]
fn http3_is_advertised_once_its_port_answers_and_taken_back_when_it_goes() {
    let with = |keys: &str| Site {
        https: keys.into(),
        ..site()
    };
    let mut server = with("").start();
    let said = wait_for("Alt-Svc", || alt_svc(&server, "--http2"));
    assert_eq!(said, format!("h3=\":{}\"; ma=3600", server.https));
    assert_eq!(alt_svc(&server, "--http1.1"), Some(said));
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/").await;
        assert!(!answer.head.headers().contains_key("alt-svc"));
    });
    let shorter = with("alt_svc_max_age = \"1m\"").text();
    assert!(server.reload(&shorter).contains("reloaded"));
    let said = alt_svc(&server, "--http2").expect("the port has answered already");
    assert_eq!(said, format!("h3=\":{}\"; ma=60", server.https));
    let without = with("protocols = [\"h2\", \"http/1.1\"]").text();
    for _ in 0..2 {
        assert!(server.reload(&without).contains("reloaded"));
        assert_eq!(alt_svc(&server, "--http2").as_deref(), Some("clear"));
    }
    let silent = with("alt_svc_max_age = \"0s\"").start();
    block_on(Http3::connect(&silent, "localhost"));
    assert_eq!(alt_svc(&silent, "--http2"), None);
}
