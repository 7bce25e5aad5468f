//! HTTP/3, asked by quinn and h3.

mod aioquic;
mod control;
mod floods;
mod handshakes;
mod life;
mod rules;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, StatusCode};
use serde_json::Value;

use crate::support::quic::{Http3, Relay, ask, block_on, handshake_at, until};
use crate::support::{Server, Site, Upstream, wait_for};

fn site() -> Site {
    Site {
        head:
            "[server]\nthreads = 2\n[log]\naccess = \"../access.log\"\nerrors = \"../errors.log\""
                .into(),
        ..Site::default()
    }
}

/// The lines of the access log, once there are so many.
fn accesses(server: &Server, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines in the access log"), || {
        let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// What the server may keep more of than before, however much went through it: windows, buffers of a connection, and what the
/// allocator has not given back yet.
const GROWN_KIB_MAX: u64 = 24 << 10;

/// A server with a file of so many bytes in `/big`.
fn with_big_file(bytes: usize) -> Server {
    let folder = crate::support::folder();
    std::fs::create_dir(folder.path().join("www")).expect("www/");
    let mut file = std::fs::File::create(folder.path().join("www/big")).expect("a file");
    let line: Vec<u8> = (0..=255).collect();
    for _ in 0..bytes / 256 {
        file.write_all(&line).expect("written");
    }
    let site = Site {
        handler: "type = \"files\"\nroot = \"../www\"".into(),
        ..site()
    };
    Server::start_in(folder, &site.text(), |_| {})
}

#[test]
fn a_request_is_answered_as_over_any_other_version() {
    let server = site().start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/").await;
        assert_eq!(answer.head.status(), StatusCode::OK);
        assert_eq!(&*answer.content, b"Hello, World!");
        let headers = answer.head.headers();
        assert_eq!(headers["content-length"], "13");
        assert_eq!(headers["server"], "portunus");
        assert!(headers.contains_key("date"));
        let head = Request::head("https://localhost/")
            .body(())
            .expect("a request");
        let answer = client.ask(head, &[]).await.expect("a response");
        assert_eq!(answer.head.headers()["content-length"], "13");
        assert!(answer.content.is_empty());
    });
    for line in accesses(&server, 2) {
        assert_eq!(line["protocol"], "h3", "{line}");
        assert_eq!(line["alpn"], "h3", "{line}");
        assert_eq!(line["sni"], "localhost", "{line}");
        assert_eq!(line["tls_version"], "TLSv1.3", "{line}");
        assert_eq!(line["cipher"], "TLS_AES_128_GCM_SHA256", "{line}");
        assert_eq!(line["complete"], true, "{line}");
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn content_goes_up_and_comes_down_through_a_proxy_with_its_trailers() {
    let upstream = Upstream::start(|talk| {
        let head = talk.read_head().expect("a head");
        assert!(head.contains("content-length: 10\r\n"), "{head}");
        let content = talk.read_content(10);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\na\r\n{}\r\n0\r\nx-end: 1\r\n\r\n",
            String::from_utf8(content).expect("text")
        );
        talk.send(&answer);
    });
    let server = Site {
        handler: upstream.handler(),
        ..site()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let request = Request::post("https://localhost/echo?a=b")
            .header("content-length", 10)
            .header("te", "trailers")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .expect("a request");
        let answer = client.ask(request, &[b"01234", b"56789"]).await;
        let answer = answer.expect("a response");
        assert_eq!(&*answer.content, b"0123456789");
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers["x-end"], "1");
    });
    let head = upstream.head();
    assert!(head.starts_with("POST /echo?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: localhost\r\n"), "{head}");
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let upstream = Upstream::start(|talk| {
        talk.read_head().expect("a head");
        assert_eq!(talk.read_content(5), b"hello");
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let server = Site {
        handler: upstream.handler(),
        ..site()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let request = Request::post("https://localhost/")
            .header("expect", "100-continue")
            .header("content-length", 5)
            .body(())
            .expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        let head = stream.recv_response().await.expect("an answer");
        assert_eq!(head.status(), StatusCode::CONTINUE);
        stream
            .send_data(Bytes::from_static(b"hello"))
            .await
            .expect("sent");
        stream.finish().await.expect("finished");
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), StatusCode::OK);
    });
}

#[test]
fn a_hundred_megabytes_go_up_whole_and_wait_for_a_slow_upstream() {
    const PIECES: usize = 1600;
    let upstream = Upstream::start(|talk| {
        talk.read_head().expect("a head");
        // What is not taken for a while must wait at the client.
        std::thread::sleep(Duration::from_millis(300));
        let content = talk.read_content(PIECES << 16);
        assert!(content.iter().all(|byte| *byte == 7));
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut server = Site {
        head: "[limits]\nmax_body_bytes = \"200MB\"\n".into(),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    server.wait_rehearsed();
    let before = server.memory_kib();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let request = Request::post("https://localhost/")
            .header("content-length", PIECES << 16)
            .body(())
            .expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        let piece = Bytes::from(vec![7; 1 << 16]);
        for _ in 0..PIECES {
            stream.send_data(piece.clone()).await.expect("sent");
        }
        stream.finish().await.expect("finished");
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), StatusCode::OK);
    });
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < GROWN_KIB_MAX, "{grown} KiB");
}

#[test]
fn a_line_that_loses_and_reorders_packets_loses_no_content() {
    let server = with_big_file(2 << 20);
    let relay = Relay::start(server.https);
    block_on(async {
        let (endpoint, quic) = handshake_at(&server, relay.port).await;
        let mut client = Http3::over(endpoint, quic).await;
        for _ in 0..2 {
            let answer = client.get("https://localhost/big").await;
            assert_eq!(answer.content.len(), 2 << 20);
            let line: Vec<u8> = (0..=255).collect();
            assert!(answer.content.chunks(256).all(|piece| piece == line));
        }
    });
    assert!(relay.lost() > 50, "{}", relay.lost());
}

#[test]
fn what_goes_up_such_a_line_arrives_whole_too() {
    const PIECES: u8 = 100;
    let upstream = Upstream::start(|talk| {
        talk.read_head().expect("a head");
        for number in 0..PIECES {
            let piece = talk.read_content(1 << 14);
            assert!(piece.iter().all(|byte| *byte == number));
        }
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let server = Site {
        handler: upstream.handler(),
        ..site()
    }
    .start();
    let relay = Relay::start(server.https);
    block_on(async {
        let (endpoint, quic) = handshake_at(&server, relay.port).await;
        let mut client = Http3::over(endpoint, quic).await;
        let request = Request::post("https://localhost/")
            .header("content-length", usize::from(PIECES) << 14)
            .body(())
            .expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        for number in 0..PIECES {
            let piece = Bytes::from(vec![number; 1 << 14]);
            stream.send_data(piece).await.expect("sent");
        }
        stream.finish().await.expect("finished");
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), StatusCode::OK);
    });
    assert!(relay.lost() > 20, "{}", relay.lost());
}

#[test]
fn refusals_are_answered_and_told() {
    let server = Site {
        head: "[limits]\nmax_request_bytes = \"4KiB\"\n".into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let long = "x".repeat(5000);
        for (request, status) in [
            (Request::get("https://other.test/"), 400),
            (
                Request::get("https://localhost/").header("x-long", &long),
                431,
            ),
            (
                Request::builder().method("TRACE").uri("https://localhost/"),
                405,
            ),
            (Request::get("https://localhost/%zz"), 400),
        ] {
            let request = request.body(()).expect("a request");
            let answer = client.ask(request, &[]).await.expect("a response");
            assert_eq!(answer.head.status(), status);
        }
    });
    for reason in ["Hostname", "RequestLength", "Verb", "URL"] {
        let line = server.wait_error(reason);
        assert_eq!(line["protocol"], "h3", "{line}");
    }
}

#[test]
fn two_hundred_streams_at_once_are_all_answered() {
    let server = Site {
        handler: "type = \"respond\"\nbody = \"late\"\ndelay = \"200ms\"".into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let client = Http3::connect(&server, "localhost").await;
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let mut requests = client.requests.clone();
            asking.spawn(async move {
                let request = Request::get("https://localhost/")
                    .body(())
                    .expect("a request");
                let answer = ask(&mut requests, request, &[]).await.expect("a response");
                assert_eq!(answer.head.status(), 200);
                assert_eq!(&*answer.content, b"late");
            });
        }
        while let Some(done) = asking.join_next().await {
            done.expect("answered");
        }
    });
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn a_hundred_megabytes_come_down_whole_and_are_not_gathered_on_the_way() {
    let mut server = with_big_file(100 << 20);
    server.wait_rehearsed();
    let before = server.memory_kib();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/big").await;
        assert_eq!(answer.content.len(), 100 << 20);
        let line: Vec<u8> = (0..=255).collect();
        assert!(answer.content.chunks(256).all(|piece| piece == line));
    });
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < GROWN_KIB_MAX, "{grown} KiB");
}

#[test]
fn a_client_that_changes_its_address_in_the_middle_of_a_download_goes_on() {
    let server = with_big_file(8 << 20);
    block_on(async {
        for _ in 0..4 {
            let mut client = Http3::connect(&server, "localhost").await;
            let request = Request::get("https://localhost/big")
                .body(())
                .expect("a request");
            let mut stream = client.requests.send_request(request).await.expect("sent");
            stream.finish().await.expect("finished");
            stream.recv_response().await.expect("a response");
            let (mut read, mut moves) = (0, 0);
            while let Some(piece) = stream.recv_data().await.expect("content") {
                read += piece.remaining();
                if read > (moves + 1) << 20 {
                    moves += 1;
                    let socket = crate::support::quic::socket();
                    client.endpoint.rebind(socket).expect("another port");
                }
            }
            assert_eq!((read, moves), (8 << 20, 7));
        }
    });
}

#[test]
fn a_request_that_is_answered_early_is_read_on_and_never_an_error_to_the_client() {
    let server = site().start();
    block_on(async {
        let client = Http3::connect(&server, "localhost").await;
        let piece = Bytes::from(vec![7; 16 << 10]);
        for pieces in [1, 8, 200] {
            let mut requests = client.requests.clone();
            let request = Request::post("https://localhost/")
                .body(())
                .expect("a request");
            let mut stream = requests.send_request(request).await.expect("sent");
            let mut refused = None;
            for _ in 0..pieces {
                if let Err(error) = stream.send_data(piece.clone()).await {
                    refused = Some(error);
                    break;
                }
            }
            if refused.is_none() {
                refused = stream.finish().await.err();
            }
            // What is too long to be read for nothing is refused with the code that says that there is no error.
            match refused {
                None => assert!(pieces < 200),
                Some(h3::error::StreamError::RemoteTerminate { code, .. }) => {
                    assert_eq!((pieces, code), (200, h3::error::Code::H3_NO_ERROR));
                }
                Some(other) => panic!("{other}"),
            }
            let head = stream.recv_response().await.expect("a response");
            assert_eq!(head.status(), 200);
            let content = stream.recv_data().await.expect("content").expect("some");
            assert_eq!(content.chunk(), b"Hello, World!");
            assert!(stream.recv_data().await.expect("an end").is_none());
        }
    });
    assert!(
        accesses(&server, 3)
            .iter()
            .all(|line| line["complete"] == true)
    );
}

#[test]
fn a_client_that_gives_up_leaves_the_queue() {
    let server = Site {
        pool: "concurrency = 1\nqueue_length = 1".into(),
        handler: "type = \"respond\"\ndelay = \"10m\"".into(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let request = Request::get("https://localhost/")
                .body(())
                .expect("a request");
            let mut stream = client.requests.send_request(request).await.expect("sent");
            stream.finish().await.expect("finished");
            streams.push(stream);
        }
        // One runs and one waits: there is no room for a third.
        let refused = client.get("https://localhost/").await;
        assert_eq!(refused.head.status(), 503);
        for stream in &mut streams {
            stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        }
        // What is said is sent while this waits.
        until("both to be told", || {
            let errors = server.errors();
            let told = |reason: &str| errors.iter().any(|line| line["reason"] == reason);
            told("Client_Reset") && told("Connection_Dropped")
        })
        .await;
    });
}

#[test]
fn hundreds_of_requests_in_a_row_cost_no_stream_too_many() {
    let server = site().start();
    block_on(async {
        let client = Arc::new(tokio::sync::Mutex::new(
            Http3::connect(&server, "localhost").await,
        ));
        for _ in 0..400 {
            let answer = client.lock().await.get("https://localhost/").await;
            assert_eq!(answer.head.status(), 200);
        }
    });
    accesses(&server, 400);
}
