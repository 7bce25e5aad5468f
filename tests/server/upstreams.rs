//! How upstreams are spoken to: TLS and HTTP/2 with nginx, what is passed on before a response and within it, and what `check`
//! says of it.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use http::{Request, StatusCode};
use tempfile::TempDir;

use crate::support::quic::{Http3, block_on};
use crate::support::{Authority, Nginx, Server, Site, Tool, Upstream, folder, free_port, raw};

/// nginx that asks for a client's certificate, and says what it was asked by.
struct Secure {
    _nginx: Nginx,
    port: u16,
    files: TempDir,
    pid: std::path::PathBuf,
}

impl Secure {
    fn start() -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        servers.write(&files.path().join("ca.pem"));
        clients.write(&files.path().join("clients.pem"));
        servers.issue(&["app.test"]).write(files.path(), "server");
        let client = clients.issue_with(&["portunus.test"], |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        client.write(files.path(), "client");
        let (port, place) = (free_port(), files.path().display());
        let nginx = Nginx::start(&format!(
            "listen 127.0.0.1:{port} ssl http2; ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;\n\
             ssl_client_certificate {place}/clients.pem; ssl_verify_client on; client_body_buffer_size 2m;\n\
             location / {{ return 200 \"$server_protocol $ssl_server_name $ssl_client_verify $http_host\"; }}"
        ));
        let pid = nginx.path().join("pid");
        Self {
            _nginx: nginx,
            port,
            files,
            pid,
        }
    }

    fn handler(&self, keys: &str) -> String {
        let place = self.files.path().display();
        format!(
            "type = \"proxy\"\nupstreams = [\"https://127.0.0.1:{}\"]\n\
             [pool.handler.tls]\nca = \"{place}/ca.pem\"\nserver_name = \"app.test\"\n{keys}",
            self.port
        )
    }

    fn shown(&self) -> String {
        let place = self.files.path().display();
        format!(
            "client_certificate = {{ chain = \"{place}/client.pem\", key = \"{place}/client.key\" }}"
        )
    }

    fn reload(&self) {
        let pid = std::fs::read_to_string(&self.pid).expect("nginx' pid");
        let sent = Command::new("kill").args(["-HUP", pid.trim()]).status();
        assert!(sent.expect("kill").success());
    }
}

fn proxy(handler: String) -> Server {
    Site {
        handler,
        ..Site::default()
    }
    .start()
}

fn get(port: u16) -> String {
    raw::exchange(
        port,
        "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
    )
}

#[test]
fn nginx_is_spoken_to_by_http_2_over_tls_with_a_certificate_on_both_sides() {
    let nginx = Secure::start();
    let server = proxy(nginx.handler(&nginx.shown()));
    for _ in 0..3 {
        let response = get(server.http);
        assert!(
            response.ends_with("HTTP/2.0 app.test SUCCESS shop.test"),
            "{response}"
        );
    }
    let response = raw::exchange(
        server.http,
        format!(
            "POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n{}",
            "x".repeat(1_000_000)
        ),
    );
    assert_eq!(raw::status(&response), 200, "{response}");
}

#[test]
fn an_upstream_that_is_not_whom_it_should_be_is_told_with_the_check_that_failed() {
    let nginx = Secure::start();
    let wrong = nginx.handler("").replace("app.test", "else.test");
    for (handler, says) in [
        (wrong, "its certificate is not for else.test"),
        (
            nginx.handler("").replace("/ca.pem", "/clients.pem"),
            "not signed by an authority that is trusted",
        ),
    ] {
        let server = proxy(handler);
        assert_eq!(raw::status(&get(server.http)), 502);
        let line = server.wait_error("Upstream_Connect");
        let detail = line["detail"].as_str().expect("a detail");
        assert!(detail.contains(says), "{detail}");
    }
    // nginx asks for a certificate in the handshake, and says that it misses one by HTTP.
    let server = proxy(nginx.handler(""));
    assert_eq!(raw::status(&get(server.http)), 400);
}

#[test]
fn an_upstream_that_is_reloaded_under_load_costs_no_request() {
    let nginx = Secure::start();
    let server = proxy(nginx.handler(&nginx.shown()));
    let port = server.http;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || (0..100).map(|_| raw::status(&get(port))).collect()))
            .collect();
        for _ in 0..5 {
            nginx.reload();
            assert_eq!(raw::status(&get(server.http)), 200);
        }
        for client in clients {
            let statuses: Vec<u16> = client.join().expect("statuses");
            assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
        }
    });
}

/// An upstream that sends a hint before its page.
fn hinting() -> Upstream {
    Upstream::start(|talk| {
        while talk.read_head().is_some() {
            talk.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
        }
    })
}

#[test]
fn early_hints_reach_browsers_that_ask_for_a_page_and_nobody_else() {
    let upstream = hinting();
    let server = proxy(upstream.handler());
    for (mode, hinted) in [("navigate", true), ("cors", false)] {
        let output = Tool::curl(&server)
            .args(["--http2", "-i", "-H"])
            .arg(format!("Sec-Fetch-Mode: {mode}"))
            .arg(format!("https://localhost:{}/", server.https))
            .output();
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.ends_with("page"), "{text}");
        assert_eq!(text.starts_with("HTTP/2 103"), hinted, "{text}");
        assert_eq!(
            text.contains("link: </a.css>; rel=preload"),
            hinted,
            "{text}"
        );
    }
}

#[test]
fn early_hints_reach_http_3_too() {
    let upstream = hinting();
    let server = Site {
        https: "protocols = [\"h2\", \"h3\"]".into(),
        handler: upstream.handler(),
        ..Site::default()
    }
    .start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let request = Request::get("https://localhost/")
            .header("sec-fetch-mode", "navigate")
            .body(())
            .expect("a request");
        let mut stream = client.requests.send_request(request).await.expect("sent");
        stream.finish().await.expect("finished");
        let head = stream.recv_response().await.expect("a hint");
        assert_eq!(head.status(), StatusCode::EARLY_HINTS);
        assert_eq!(head.headers()["link"], "</a.css>; rel=preload");
        let head = stream.recv_response().await.expect("a response");
        assert_eq!(head.status(), StatusCode::OK);
    });
}

#[test]
fn events_reach_a_client_when_they_happen() {
    let (happen, events) = mpsc::channel::<&'static str>();
    let events = std::sync::Mutex::new(events);
    let upstream = Upstream::start(move |talk| {
        talk.read_head();
        talk.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Ok(event) = events.lock().expect("events").recv() {
            talk.send(format!("{:x}\r\n{event}\r\n", event.len()));
        }
        talk.send("0\r\n\r\n");
    });
    let server = proxy(upstream.handler());
    let mut curl = Command::new("curl")
        .args([
            "-sSN",
            "--http2",
            "--max-time",
            "100",
            "--noproxy",
            "*",
            "--cacert",
        ])
        .arg(server.ca())
        .arg(format!("https://localhost:{}/", server.https))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut lines = BufReader::new(curl.stdout.take().expect("stdout is piped"));
    // Each happens only when the one before has arrived.
    for event in ["data: 1\n", "data: 2\n", "data: 3\n"] {
        happen.send(event).expect("an upstream");
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        assert_eq!(line, event);
    }
    drop(happen);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "");
    assert!(curl.wait().expect("curl").success());
}

/// What `portunus check` says of a proxy with these keys.
fn checked(keys: &str) -> (bool, String) {
    let folder = folder();
    let file = folder.path().join("config/bindings.toml");
    let handler = format!("type = \"proxy\"\nupstreams = [\"https://app.test\"]\n{keys}");
    let site = Site {
        handler,
        ..Site::default()
    };
    std::fs::write(&file, site.text()).expect("the bindings file");
    let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(&file)
        .arg("check")
        .output()
        .expect("portunus");
    let mut text = String::from_utf8(output.stdout).expect("text");
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn check_warns_of_upstreams_that_are_not_verified_and_names_files_that_are_not_there() {
    let (good, said) = checked("tls = { verify = false }");
    assert!(good, "{said}");
    assert!(said.contains("upstream-not-verified"), "{said}");
    let (good, said) = checked("tls = { ca = \"nowhere.pem\" }");
    assert!(!good, "{said}");
    assert!(said.contains("nowhere.pem cannot be read"), "{said}");
}

/// An axum application on a port of its own, on a thread that lives as long as the test's process.
fn axum_app() -> u16 {
    use axum::Router;
    use axum::extract::Path;
    use axum::routing::{get, post};
    use hyper_util::rt::TokioIo;
    use tower_service::Service as _;

    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a flag");
    let port = listener.local_addr().expect("an address").port();
    let app = Router::new()
        .route(
            "/hello/{name}",
            get(|Path(name): Path<String>| async move { format!("Hello, {name}!") }),
        )
        .route("/echo", post(|body: axum::body::Body| async move { body }));
    std::thread::spawn(move || {
        block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let app = app.clone();
                let service = hyper::service::service_fn(move |request: Request<_>| {
                    app.clone().call(request.map(axum::body::Body::new))
                });
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    port
}

#[test]
fn an_axum_application_is_an_upstream_for_every_version() {
    let server = Site {
        https: "protocols = [\"h2\", \"http/1.1\", \"h3\"]".into(),
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
            axum_app()
        ),
        ..Site::default()
    }
    .start();
    let url = |path: &str| format!("https://localhost:{}{path}", server.https);
    for version in ["--http1.1", "--http2"] {
        let hello = Tool::curl(&server).args([version]).arg(url("/hello/you"));
        assert_eq!(hello.stdout(), "Hello, you!");
        let sized = Tool::curl(&server).args([version, "-d", "to and fro"]);
        assert_eq!(sized.arg(url("/echo")).stdout(), "to and fro");
        let chunked = Tool::curl(&server)
            .args([
                version,
                "-d",
                "to and fro",
                "-H",
                "Transfer-Encoding: chunked",
            ])
            .arg(url("/echo"));
        assert_eq!(chunked.stdout(), "to and fro");
        let missing = Tool::curl(&server).args([version, "-o", "/dev/null", "-w", "%{http_code}"]);
        assert_eq!(missing.arg(url("/missing")).stdout(), "404");
    }
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        assert_eq!(client.get(&url("/hello/you")).await.content, "Hello, you!");
        let request = Request::post(url("/echo")).body(()).expect("a request");
        let echo = client.ask(request, &[b"to and ", b"fro"]).await;
        assert_eq!(echo.expect("a response").content, "to and fro");
    });
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}
