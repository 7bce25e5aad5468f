//! Clients behind proxies of HTTP: whom a request is from, what is believed of that, and what upstreams and logs are told.

use serde_json::Value;

use crate::support::quic::{Http3, block_on};
use crate::support::{Nginx, Server, Site, Tool, Upstream, free_port, raw, wait_for};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const LOGS: &str = "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n[server]\n";

/// A server with `keys` in `[server]`, in front of `upstream`.
fn in_front_of(upstream: &Upstream, keys: &str, proxy: &str) -> Server {
    Site {
        head: format!("{LOGS}{keys}\n"),
        handler: format!("{}\n{proxy}", upstream.handler()),
        ..Site::default()
    }
    .start()
}

/// Asks with these fields, and gives the whole response.
fn ask(server: &Server, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n{fields}\r\n");
    raw::exchange(server.http, request)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The last of so many lines of a log.
fn line(server: &Server, log: &str, count: usize) -> Value {
    wait_for(&format!("{count} lines in {log}"), || {
        let text = std::fs::read_to_string(server.path().join(log)).ok()?;
        let line = text.lines().nth(count - 1)?;
        serde_json::from_str(line).ok()
    })
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

#[test]
fn the_client_is_whom_trusted_hops_name_in_logs_and_for_upstreams() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = in_front_of(&upstream, TRUSTED, "");
    let fields = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: www.shop.test:8443\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    assert_eq!(raw::status(&ask(&server, fields)), 200);
    let head = upstream.head();
    let told = |name| field(&head, name);
    assert_eq!(
        told("x-forwarded-for"),
        Some("203.0.113.7, 10.0.0.2, 127.0.0.1")
    );
    assert_eq!(told("x-forwarded-proto"), Some("https"));
    assert_eq!(told("x-forwarded-host"), Some("www.shop.test:8443"));
    assert_eq!(told("host"), Some("shop.test"));
    assert_eq!(told("x-real-ip"), None);
    assert_eq!(
        told("forwarded"),
        Some(
            "for=203.0.113.7;host=\"www.shop.test:8443\";proto=https, for=10.0.0.2, for=127.0.0.1;host=shop.test;proto=http"
        )
    );
    let access = line(&server, "access.log", 1);
    assert_eq!(access["client"], "203.0.113.7");
    assert_eq!(access["scheme"], "https");
    assert!(
        access["peer"]
            .as_str()
            .expect("a peer")
            .starts_with("127.0.0.1:")
    );
}

#[test]
fn nobody_is_believed_by_default_or_by_a_binding_that_says_so() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n";
    for (keys, binding) in [("", ""), (TRUSTED, "trusted_proxies = []")] {
        let server = Site {
            head: format!("{LOGS}{keys}\n"),
            http: binding.into(),
            handler: upstream.handler(),
            ..Site::default()
        }
        .start();
        assert_eq!(raw::status(&ask(&server, fields)), 200);
        let head = upstream.head();
        assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
        let access = line(&server, "access.log", 1);
        assert!(
            access["client"]
                .as_str()
                .expect("a client")
                .starts_with("127.0.0.1:")
        );
        assert_eq!(
            (&access["peer"], &access["scheme"]),
            (&Value::Null, &"http".into())
        );
    }
}

#[test]
fn a_binding_chooses_the_field_that_is_read_and_the_other_is_dropped() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = Site {
        http: "trusted_proxies = { from = [\"127.0.0.1\"], field = \"forwarded\" }".into(),
        handler: format!(
            "{}\nforwarded = [\"x-forwarded\", \"x-forwarded-port\", \"x-real-ip\"]",
            upstream.handler()
        ),
        ..Site::default()
    }
    .start();
    let fields = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\n\
                  Forwarded: for=\"[2001:db8::7]:4711\";proto=https;host=\"a.test\"\r\n";
    assert_eq!(raw::status(&ask(&server, fields)), 200);
    let head = upstream.head();
    let told = |name| field(&head, name);
    assert_eq!(told("x-forwarded-for"), Some("2001:db8::7, 127.0.0.1"));
    assert_eq!(told("x-forwarded-proto"), Some("https"));
    assert_eq!(told("x-forwarded-host"), Some("a.test"));
    assert_eq!(told("x-forwarded-port"), Some("443"));
    assert_eq!(told("x-real-ip"), Some("2001:db8::7"));
    assert_eq!(told("forwarded"), None);
}

#[test]
fn a_refusal_is_logged_with_the_client_too() {
    let site = Site {
        head: format!("{LOGS}{TRUSTED}\nrequest_id = \"response\"\n"),
        ..Site::default()
    };
    let config = site
        .text()
        .replace("hostname = \"*\"", "hostname = \"www.test\"");
    let server = Server::start(&config);
    let fields = "X-Forwarded-For: 203.0.113.7:4711\r\nX-Request-Id: from-the-balancer\r\n";
    let response = ask(&server, fields);
    assert_eq!(raw::status(&response), 400);
    assert_eq!(field(&response, "x-request-id"), Some("from-the-balancer"));
    let refused = line(&server, "errors.log", 1);
    assert_eq!(refused["client"], "203.0.113.7:4711");
    assert_eq!(refused["request_id"], "from-the-balancer");
    // What cannot be read has a name as well.
    let response = raw::exchange(server.http, "GET\r\n\r\n");
    let id = field(&response, "x-request-id").expect("an id").to_owned();
    assert_eq!(line(&server, "errors.log", 2)["request_id"], id.as_str());
}

#[test]
fn behind_a_balancer_that_ends_tls_https_redirect_leads_in_no_circle() {
    let redirecting = |keys: &str| {
        let site = Site {
            head: format!("[server]\n{keys}\n"),
            ..Site::default()
        };
        let hsts =
            "name = \"main\"\nhttps_redirect = true\nhsts = { max_age = \"1d\" }\n[[site.route]]";
        Server::start(&site.text().replace("name = \"main\"\n[[site.route]]", hsts))
    };
    let server = redirecting(TRUSTED);
    let nginx = Nginx::start(&format!(
        "location / {{ proxy_set_header Host shop.test; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_set_header X-Forwarded-Proto $http_x_test_scheme; proxy_pass http://127.0.0.1:{}; }}",
        server.http
    ));
    let get = |port: u16, scheme: &str| {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nX-Test-Scheme: {scheme}\r\nX-Forwarded-Proto: {scheme}\r\n\r\n"
        );
        raw::exchange(port, request)
    };
    let by_https = get(nginx.port, "https");
    assert_eq!(raw::status(&by_https), 200, "{by_https}");
    assert_eq!(
        field(&by_https, "strict-transport-security"),
        Some("max-age=86400")
    );
    let by_http = get(nginx.port, "http");
    assert_eq!(raw::status(&by_http), 308, "{by_http}");
    assert_eq!(field(&by_http, "strict-transport-security"), None);
    // Whoever is not trusted is redirected, whatever it says.
    let server = redirecting("");
    assert_eq!(raw::status(&get(server.http, "https")), 308);
}

#[test]
fn over_http2_and_http3_hops_are_believed_as_well() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = in_front_of(&upstream, TRUSTED, "");
    let url = format!("https://localhost:{}/", server.https);
    Tool::curl(&server)
        .args(["--http2", "-H", "X-Forwarded-For: 203.0.113.7", &url])
        .stdout();
    let head = upstream.head();
    assert_eq!(
        field(&head, "x-forwarded-for"),
        Some("203.0.113.7, 127.0.0.1")
    );
    let access = line(&server, "access.log", 1);
    assert_eq!(
        (&access["client"], &access["protocol"]),
        (&"203.0.113.7".into(), &"h2".into())
    );
    block_on(async {
        let mut http3 = Http3::connect(&server, "localhost").await;
        let request = http::Request::get(&url).header("x-forwarded-for", "203.0.113.8");
        let answer = http3.ask(request.body(()).expect("a request"), &[]).await;
        assert_eq!(answer.expect("a response").head.status(), 200);
    });
    let head = upstream.head();
    assert_eq!(
        field(&head, "x-forwarded-for"),
        Some("203.0.113.8, 127.0.0.1")
    );
}

#[test]
fn odd_field_names_are_passed_on_only_where_that_is_asked_for_and_never_for_ours() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let fields = "X_Plain: 1\r\nx.dot: 2\r\nX_Forwarded_For: 6.6.6.6\r\nClient_Cert: x\r\nx.real_ip: 6.6.6.6\r\n\
                  Transfer_Encoding: chunked\r\n";
    for (keys, passed) in [("", false), ("odd_field_names = true", true)] {
        let server = in_front_of(&upstream, "", keys);
        assert_eq!(raw::status(&ask(&server, fields)), 200);
        let head = upstream.head();
        assert_eq!(field(&head, "x_plain").is_some(), passed, "{head}");
        assert_eq!(field(&head, "x.dot").is_some(), passed, "{head}");
        for ours in [
            "x_forwarded_for",
            "client_cert",
            "x.real_ip",
            "transfer_encoding",
        ] {
            assert_eq!(field(&head, ours), None, "{head}");
        }
    }
}

#[test]
fn a_request_has_one_id_for_client_upstream_and_logs() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let server = in_front_of(
        &upstream,
        "request_id = \"response\"\ntraceparent = true",
        "",
    );
    // A client that nobody trusts names no request, and takes no id away either.
    let fields =
        "X-Request-Id: forged\r\nConnection: X-Request-Id, traceparent\r\ntracestate: a=b\r\n";
    let response = ask(&server, fields);
    let head = upstream.head();
    let id = field(&response, "x-request-id").expect("an id").to_owned();
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(field(&head, "x-request-id"), Some(&*id));
    let trace = field(&head, "traceparent").expect("a trace").to_owned();
    assert_eq!(field(&head, "tracestate"), None);
    let access = line(&server, "access.log", 1);
    assert_eq!(access["request_id"], id.as_str());
    assert_eq!(access["trace_id"], trace[3..35]);
    // A valid trace goes on, whoever sent it.
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    ask(
        &server,
        &format!("traceparent: {given}\r\ntracestate: a=b\r\n"),
    );
    let head = upstream.head();
    assert_eq!(field(&head, "traceparent"), Some(given));
    assert_eq!(field(&head, "tracestate"), Some("a=b"));
    assert_eq!(line(&server, "access.log", 2)["trace_id"], given[3..35]);
}

#[test]
fn nginx_takes_its_clients_from_the_proxy_protocol() {
    for version in ["v1", "v2"] {
        let port = free_port();
        let nginx = Nginx::start(&format!(
            "listen 127.0.0.1:{port} proxy_protocol;\n\
             location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port $remote_addr\"; }}"
        ));
        let server = Site {
            head: format!("[server]\n{TRUSTED}\n"),
            handler: format!(
                "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]\nproxy_protocol = \"{version}\""
            ),
            ..Site::default()
        }
        .start();
        for client in ["203.0.113.7", "203.0.113.8"] {
            let fields = format!("X-Forwarded-For: {client}:4711\r\n");
            let response = ask(&server, &fields);
            assert!(
                response.ends_with(&format!("{client} 4711 127.0.0.1")),
                "{response}"
            );
        }
        drop(nginx);
    }
}

#[test]
fn haproxy_and_an_edge_of_our_own_take_their_clients_from_the_proxy_protocol() {
    let inner = Site {
        head: LOGS.into(),
        http: "proxy_protocol = { from = [\"127.0.0.1\"] }".into(),
        ..Site::default()
    }
    .start();
    let port = free_port();
    let config = inner.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n timeout connect 100s\n timeout client 100s\n timeout server 100s\n\
         frontend f\n bind 127.0.0.1:{port} accept-proxy\n http-request return status 200 content-type text/plain lf-string %[src]\n"
    );
    std::fs::write(&config, text).expect("haproxy's configuration");
    let mut haproxy = std::process::Command::new("/usr/sbin/haproxy")
        .arg("-f")
        .arg(&config)
        .arg("-db")
        .spawn()
        .expect("haproxy");
    wait_for("haproxy", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let asked = [port, inner.http].map(|port| {
        let server = Site {
            head: format!("[server]\n{TRUSTED}\n"),
            handler: format!(
                "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]\nproxy_protocol = \"v2\""
            ),
            ..Site::default()
        }
        .start();
        ask(&server, "X-Forwarded-For: 2001:db8::7\r\n")
    });
    haproxy.kill().expect("haproxy runs");
    haproxy.wait().expect("haproxy ends");
    assert!(asked[0].ends_with("2001:db8::7"), "{}", asked[0]);
    assert_eq!(raw::status(&asked[1]), 200, "{}", asked[1]);
    assert_eq!(line(&inner, "access.log", 1)["client"], "2001:db8::7");
}
