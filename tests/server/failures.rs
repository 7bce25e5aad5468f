//! Every way in which an upstream can fail, as clients of every version see it, and as the error log tells it; and clients that
//! fail, as upstreams see it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::quic::{Http3, block_on};
use crate::support::{Nginx, Server, Site, Talk, Tool, Upstream, free_port, raw};

const VERSIONS: [&str; 3] = ["h1", "h2", "h3"];

/// A server that leads `/name` to each upstream of that name.
fn server(upstreams: &[(&str, u16)]) -> Server {
    let tail = upstreams.iter().map(|(name, port)| {
        // Only what is to run out is short: the others have as long as this machine takes.
        let short = match *name {
            "slow-head" => "response_timeout = \"400ms\"",
            "slow-body" => "body_timeout = \"400ms\"",
            "takes-no-connection" => "connect_timeout = \"400ms\"",
            _ => "",
        };
        format!(
            "[[site.route]]\npath = \"/{name}\"\npool = \"{name}\"\n[[pool]]\nname = \"{name}\"\n[pool.handler]\ntype = \"proxy\"\n\
             upstreams = [\"http://127.0.0.1:{port}\"]\n{short}\n"
        )
    });
    let mut server = Site {
        head: "[limits]\nmax_body_bytes = \"100MiB\"".into(),
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        https: "protocols = [\"h2\", \"http/1.1\", \"h3\"]".into(),
        tail: tail.collect(),
        ..Site::default()
    }
    .start();
    server.wait_rehearsed();
    server
}

/// What a client sees: the status, and whether the content came whole.
fn ask(server: &Server, version: &str, path: &str) -> (u16, bool) {
    let url = format!("https://localhost:{}{path}", server.https);
    if version == "h3" {
        return block_on(async {
            let mut client = Http3::connect(server, "localhost").await;
            let request = Request::get(url).body(()).expect("a request");
            let mut stream = client.requests.send_request(request).await.expect("sent");
            stream.finish().await.expect("sent");
            let Ok(head) = stream.recv_response().await else {
                // A reset overtakes what was sent before it, and the head with it (RFC 9000 section 3.5).
                return (200, false);
            };
            let whole = loop {
                match stream.recv_data().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            (head.status().as_u16(), whole)
        });
    }
    let flag = if version == "h1" {
        "--http1.1"
    } else {
        "--http2"
    };
    let output = Tool::curl(server)
        .args([flag, "-o", "/dev/null", "-w", "%{http_code}"])
        .arg(url)
        .output();
    let status = String::from_utf8_lossy(&output.stdout);
    // 18: partial file. 56: chunks make no sense. 92: the stream was not closed cleanly.
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 18 | 56 | 92)), "{path}: {code:?}");
    (status.parse().expect("a status"), code == Some(0))
}

/// A socket that takes no connection: once the queue of a listening one is full, Linux drops what wants to connect.
fn black_hole() -> (u16, Vec<Socket>) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = socket();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).expect("a port");
    listener.listen(0).expect("a queue");
    let address = listener.local_addr().expect("an address");
    let port = address.as_socket().expect("an address").port();
    let waiting = (0..4).map(|_| {
        let socket = socket();
        socket.set_nonblocking(true).expect("a flag");
        let _ = socket.connect(&address);
        socket
    });
    let mut held: Vec<Socket> = waiting.collect();
    held.push(listener);
    (port, held)
}

type Script = fn(&mut Talk);

/// What an upstream does, the status that becomes of it, whether the content comes whole, and the reason in the error log.
const ROWS: [(&str, Script, u16, bool, &str); 12] = [
    (
        "slow-head",
        |talk| {
            talk.read_head();
            talk.read_to_end();
        },
        504,
        true,
        "Upstream_Timeout",
    ),
    (
        "slow-body",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            talk.read_to_end();
        },
        200,
        false,
        "Upstream_Timeout",
    ),
    (
        "closes-before-the-head",
        |talk| drop(talk.read_head()),
        502,
        true,
        "Upstream_Reset",
    ),
    (
        "resets-before-the-head",
        |talk| {
            talk.read_head();
            talk.reset();
        },
        502,
        true,
        "Upstream_Reset",
    ),
    (
        "closes-in-the-head",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nContent-");
        },
        502,
        true,
        "Upstream_Reset",
    ),
    (
        "resets-after-the-head",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
            talk.reset();
        },
        200,
        false,
        "Upstream_Reset",
    ),
    (
        "cuts-the-body",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        },
        200,
        false,
        "Upstream_Reset",
    ),
    (
        "cuts-the-chunks",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        },
        200,
        false,
        "Upstream_Reset",
    ),
    (
        "talks-garbage",
        |talk| {
            talk.read_head();
            talk.send("220 smtp.test ESMTP\r\n\r\n");
        },
        502,
        true,
        "Upstream_Protocol",
    ),
    (
        "chunks-garbage",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n");
            talk.read_to_end();
        },
        200,
        false,
        "Upstream_Protocol",
    ),
    (
        "sends-two-lengths",
        |talk| {
            talk.read_head();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
        },
        502,
        true,
        "Upstream_Protocol",
    ),
    (
        "switches-unasked",
        |talk| {
            talk.read_head();
            talk.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            );
        },
        502,
        true,
        "Upstream_Protocol",
    ),
];

#[test]
fn every_failure_of_an_upstream_has_its_status_and_its_reason_and_a_cut_is_a_cut() {
    let running = ROWS.map(|(name, script, ..)| (name, Upstream::start(script)));
    let (hole, _held) = black_hole();
    let mut upstreams: Vec<_> = running
        .iter()
        .map(|(name, upstream)| (*name, upstream.port))
        .collect();
    upstreams.push(("refuses", free_port()));
    upstreams.push(("takes-no-connection", hole));
    let server = server(&upstreams);
    let rows = ROWS.map(|(name, _, status, whole, reason)| (name, status, whole, reason));
    let more = [
        ("refuses", 502, true, "Upstream_Connect"),
        ("takes-no-connection", 504, true, "Upstream_Timeout"),
    ];
    let mut told = 0;
    for (name, status, whole, reason) in rows.into_iter().chain(more) {
        for version in VERSIONS {
            let path = format!("/{name}");
            let seen = ask(&server, version, &path);
            assert_eq!(seen, (status, whole), "{version}: an upstream that {name}");
            told += 1;
            let line = server.wait_all_errors(told).remove(told - 1);
            let facts = (
                &line["reason"],
                &line["status"],
                &line["pool"],
                &line["path"],
            );
            let expected: [Value; 4] = [reason.into(), status.into(), name.into(), path.into()];
            let [reason, status, pool, path] = &expected;
            assert_eq!(facts, (reason, status, pool, path), "{version}: {line}");
            let spoken = line["protocol"].as_str().expect("a protocol");
            assert!(spoken.ends_with(&version[1..]), "{version}: {line}");
        }
    }
}

/// A moment on a machine with little time for us; every timer that would end it otherwise runs for longer.
const SOON: Duration = Duration::from_secs(20);

/// How long it takes until the upstream of a client that goes sees that.
fn seen_within(upstream: &Upstream, what: &str, go: impl FnOnce()) {
    let gone = Instant::now();
    go();
    assert_eq!(upstream.head(), "it went");
    let within = gone.elapsed();
    println!("{what}: {} µs", within.as_micros());
    assert!(within < SOON, "{what}: {within:?}");
}

#[test]
fn an_upstream_sees_at_once_that_a_client_has_gone() {
    let upstream = Upstream::start(|talk| {
        let head = talk.read_head().unwrap_or_default();
        if head.contains("/going/content ") {
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        }
        talk.read_to_end();
        talk.tell("it went".into());
    });
    let tail = format!(
        "[[site.route]]\npath = \"/going\"\npool = \"going\"\n[[pool]]\nname = \"going\"\n[pool.handler]\n{}",
        upstream.handler()
    );
    let server = Site {
        http: "protocols = [\"http/1.1\", \"h2\"]".into(),
        https: "protocols = [\"h2\", \"http/1.1\", \"h3\"]".into(),
        tail,
        ..Site::default()
    }
    .start();
    for path in ["/going/head", "/going/content"] {
        let begun = path.ends_with("content");
        let mut client = raw::connect(server.http);
        raw::ask(&mut client, path);
        upstream.head();
        if begun {
            raw::read_head(&mut client);
        }
        seen_within(&upstream, &format!("h1 closes, {path}"), || drop(client));
        block_on(leaves_h2(&server, &upstream, path, begun));
        block_on(leaves_h3(&server, &upstream, path, begun));
    }
    // Of what had not begun the error log tells; what had is in the access log.
    assert_eq!(server.wait_errors("Connection_Dropped", 5).len(), 5);
}

async fn leaves_h2(server: &Server, upstream: &Upstream, path: &str, begun: bool) {
    for closes in [false, true] {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.http)).await;
        let (requests, conn) = h2::client::handshake(stream.expect("a connection"))
            .await
            .expect("HTTP/2");
        let driver = tokio::spawn(conn);
        let mut requests = requests.ready().await.expect("a stream");
        let uri = format!("http://localhost:{}{path}", server.http);
        let request = Request::get(uri).body(()).expect("a request");
        let (response, _) = requests.send_request(request, true).expect("sent");
        let what = if closes { "closes" } else { "resets" };
        let what = format!("h2 {what}, {path}");
        let mut content = None;
        let mut awaited = Some(response);
        if begun && let Some(response) = awaited.take() {
            content = Some(response.await.expect("a response").into_body());
        }
        wait_head(upstream).await;
        let gone = Instant::now();
        if closes {
            driver.abort();
        } else {
            drop((awaited, content.take()));
        }
        see(upstream, &what, gone).await;
    }
}

async fn leaves_h3(server: &Server, upstream: &Upstream, path: &str, begun: bool) {
    for closes in [false, true] {
        let mut client = Http3::connect(server, "localhost").await;
        let uri = format!("https://localhost:{}{path}", server.https);
        let request = Request::get(uri).body(()).expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        stream.finish().await.expect("sent");
        wait_head(upstream).await;
        if begun {
            stream.recv_response().await.expect("a response");
        }
        let what = if closes { "closes" } else { "stops" };
        let what = format!("h3 {what}, {path}");
        let gone = Instant::now();
        if closes {
            client.quic.close(0x100_u32.into(), b"");
        } else {
            stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        }
        see(upstream, &what, gone).await;
    }
}

/// The next thing that an upstream tells, while the client's own tasks go on.
async fn next(upstream: &Upstream) -> String {
    loop {
        match upstream.told() {
            Some(told) => return told,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn wait_head(upstream: &Upstream) {
    assert!(next(upstream).await.starts_with("GET "));
}

async fn see(upstream: &Upstream, what: &str, gone: Instant) {
    assert_eq!(next(upstream).await, "it went");
    let within = gone.elapsed();
    println!("{what}: {} µs", within.as_micros());
    assert!(within < SOON, "{what}: {within:?}");
}

const HUNDRED_MB: usize = 100_000_000;

#[test]
fn a_hundred_megabytes_go_up_and_down_with_flat_memory() {
    let nginx = Nginx::start("root html;");
    std::fs::create_dir_all(nginx.path().join("html/down")).expect("a folder");
    let big = nginx.path().join("html/down/big");
    let file = std::fs::File::create(&big).expect("a file");
    file.set_len(HUNDRED_MB as u64).expect("a hole in it");
    let upload = Upstream::start(|talk| {
        while talk.read_head().is_some() {
            for _ in 0..HUNDRED_MB / 1_000_000 {
                talk.read_content(1_000_000);
            }
            talk.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let server = server(&[("down", nginx.port), ("up", upload.port)]);
    for version in VERSIONS {
        let before = server.memory_kib();
        if version == "h3" {
            block_on(through_h3(&server));
        } else {
            through_curl(&server, version, &big);
        }
        let after = server.memory_kib();
        println!("{version}: {before} KiB before, {after} KiB after");
        assert!(after < before + (16 << 10), "{version}: {before} {after}");
    }
}

fn through_curl(server: &Server, version: &str, file: &std::path::Path) {
    let flag = if version == "h1" {
        "--http1.1"
    } else {
        "--http2"
    };
    let down = Tool::curl(server)
        .args([flag, "-o", "/dev/null", "-w", "%{size_download}"])
        .arg(format!("https://localhost:{}/down/big", server.https));
    assert_eq!(down.stdout(), HUNDRED_MB.to_string());
    let up = Tool::curl(server)
        .args([flag, "-w", "%{size_upload} %{http_code}", "-T"])
        .arg(file)
        .arg(format!("https://localhost:{}/up", server.https));
    assert_eq!(up.stdout(), format!("{HUNDRED_MB} 204"));
}

async fn through_h3(server: &Server) {
    let mut client = Http3::connect(server, "localhost").await;
    let uri = |path| format!("https://localhost:{}{path}", server.https);
    let request = Request::get(uri("/down/big")).body(()).expect("a request");
    let mut stream = client.requests.send_request(request).await.expect("sent");
    stream.finish().await.expect("sent");
    stream.recv_response().await.expect("a response");
    let mut length = 0;
    while let Some(piece) = stream.recv_data().await.expect("content") {
        length += bytes::Buf::remaining(&piece);
    }
    assert_eq!(length, HUNDRED_MB);
    let request = Request::put(uri("/up")).header("content-length", HUNDRED_MB);
    let request = request.body(()).expect("a request");
    let mut stream = client.requests.send_request(request).await.expect("sent");
    let piece = Bytes::from(vec![7; 1_000_000]);
    for _ in 0..HUNDRED_MB / piece.len() {
        stream.send_data(piece.clone()).await.expect("sent");
    }
    stream.finish().await.expect("sent");
    let head = stream.recv_response().await.expect("a response");
    assert_eq!(head.status(), 204);
}
