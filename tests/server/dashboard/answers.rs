//! What the page asks, asked by others.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::{Dashboard, exchange, portunus, stdout};
use crate::support::{Server, Site, free_port, raw};

/// Listens to what happens, as far as the head of the answer.
fn listen(dashboard: &Dashboard) -> (u16, BufReader<TcpStream>) {
    let mut stream = dashboard.connect();
    let token = dashboard.token();
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), reader)
}

#[test]
fn few_listen_and_each_hears_until_the_server_stops() {
    let mut dashboard = Dashboard::start(Site::default());
    let all: Vec<_> = (0..9).map(|_| listen(&dashboard)).collect();
    let statuses: Vec<u16> = all.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 503]);
    let mut listeners: Vec<_> = all.into_iter().take(8).map(|(_, reader)| reader).collect();
    // More than the first, which comes at once.
    for reader in &mut listeners {
        let events = reader.lines().map_while(Result::ok);
        let data: Vec<_> = events
            .filter(|line| line.starts_with("data: "))
            .take(2)
            .collect();
        let [first, second] = &data[..] else {
            panic!("{data:?}");
        };
        let last = |event: &str| -> Value {
            let json: Value = serde_json::from_str(&event[6..]).expect("JSON");
            json["last"]["number"].clone()
        };
        assert!(
            last(second).as_u64() > last(first).as_u64(),
            "{first}\n{second}"
        );
    }
    // One who goes makes room.
    drop(listeners.pop());
    crate::support::wait_for("room for another", || {
        let (status, reader) = listen(&dashboard);
        (status == 200).then_some(reader)
    });
    dashboard.server.signal("TERM");
    for mut reader in listeners {
        let mut rest = String::new();
        // It ends, by a reset or not.
        let _ = reader.read_to_string(&mut rest);
    }
    assert!(dashboard.server.wait_exit().success());
}

#[test]
fn what_was_refused_last_is_told_by_reason_site_and_pool() {
    let site = Site {
        tail: "[[site.route]]\npath = \"/only\"\nmethods = [\"PUT\"]\npool = \"main\"".into(),
        ..Site::default()
    };
    let dashboard = Dashboard::start(site);
    let server = &dashboard.server;
    raw::exchange(
        server.http,
        "GET /only?secret=1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    );
    raw::exchange(server.http, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    raw::exchange(server.https, "this is no handshake, and never will be one");
    server.wait_all_errors(3);
    let told = |query: &str| dashboard.json(&format!("/v1/refusals{query}"))["refusals"].clone();
    let reasons = |query: &str| -> Vec<Value> {
        let all = told(query);
        let all = all.as_array().expect("a list").iter();
        all.map(|it| it["reason"].clone()).collect()
    };
    assert_eq!(reasons(""), ["Tls_NotTls", "Hostname", "Verb"]);
    assert_eq!(reasons("?reason=Tls_NotTls"), ["Tls_NotTls"]);
    assert_eq!(reasons("?site=main"), ["Verb"]);
    assert_eq!(reasons("?site=other"), Vec::<Value>::new());
    let verb = &told("?reason=Verb")[0];
    for (field, is) in [
        ("host", json!("a.test")),
        ("method", json!("GET")),
        ("path", json!("/only")),
        ("status", json!(405)),
        ("site", json!("main")),
        ("scheme", json!("http")),
        ("local", json!(format!("127.0.0.1:{}", server.http))),
    ] {
        assert_eq!(verb[field], is, "{field}: {verb}");
    }
    let (status, why) = dashboard.ask("/v1/refusals?reason=Verbs");
    assert_eq!(status, 409, "{why}");
    let (status, why) = dashboard.ask("/v1/refusals?why=Verb");
    assert_eq!(status, 400, "{why}");
}

#[test]
fn explain_asks_the_configuration_that_runs() {
    let (http, https) = (free_port(), free_port());
    let at_ports = |text: String| {
        let mut text = text.replacen("port = 0", &format!("port = {http}"), 1);
        text = text.replacen("port = 0", &format!("port = {https}"), 1);
        text
    };
    let mut server = Server::start(&at_ports(Site::default().text()));
    let socket = server.path().join("run/portunus.sock");
    let asked = |path: &str| {
        let stream = UnixStream::connect(&socket).expect("connected");
        let (status, text) = exchange(stream, "GET", path, &[], "");
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        (status, json, text)
    };
    let url = format!("https://localhost:{https}/page");
    let (status, mut running, text) = asked(&format!("/v1/explain?url={url}"));
    assert_eq!(status, 200, "{text}");
    let by_command: Value =
        serde_json::from_str(&stdout(&portunus(&server, &["explain", "--json", &url])))
            .expect("JSON");
    // How the pool stands, the file does not know.
    let now = running.as_object_mut().and_then(|it| it.remove("now"));
    assert_eq!(now.expect("its pool")["state"], "Running");
    assert_eq!(running, by_command);
    let (status, _, why) = asked("/v1/explain?url=nowhere");
    assert_eq!(status, 400, "{why}");

    // The file says something else by now; what runs does not.
    let file = server.path().join("config/bindings.toml");
    let text = fs::read_to_string(&file).expect("the bindings file");
    fs::write(&file, text.replace("path = \"/\"", "path = \"/other\"")).expect("written");
    let explained = |server: &Server| {
        portunus(server, &["explain", "--json", &url])
            .status
            .success()
    };
    assert!(!explained(&server));
    assert_eq!(asked(&format!("/v1/explain?url={url}")).1["served"], true);
    server.signal("HUP");
    assert!(server.wait_line("reloaded").is_some());
    assert_eq!(asked(&format!("/v1/explain?url={url}")).1["served"], false);
}

#[test]
fn guesses_are_slowed_down_and_a_link_works_once() {
    let dashboard = Dashboard::start(Site::default());
    let host = format!("Host: 127.0.0.1:{}", dashboard.port);
    let origin = format!("Origin: http://127.0.0.1:{}", dashboard.port);
    let fields = [&*host, &origin];
    let link = stdout(&portunus(&dashboard.server, &["dashboard"]));
    let code = link.rsplit_once('#').expect("a code").1;
    let form = format!("code={code}");
    // Only a page of its own logs in.
    assert_eq!(dashboard.log_in(&[&host], &form).0, 403);
    let (status, head) = dashboard.log_in(&fields, &form);
    assert_eq!(status, 303, "{head}");
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie
        .and_then(|it| it.split(';').next())
        .expect("a cookie");
    let cookie = format!("Cookie: {cookie}");
    let ask = |fields: &[&str]| exchange(dashboard.connect(), "GET", "/v1/overview", fields, "").0;
    assert_eq!(ask(&[&host, &cookie]), 200);
    assert_eq!(ask(&[&host]), 401);
    // A session makes no further ones.
    let more = exchange(
        dashboard.connect(),
        "POST",
        "/v1/login-codes",
        &[&host, &origin, &cookie],
        "",
    );
    assert_eq!(more.0, 409, "{}", more.1);

    let guesses: Vec<u16> = (0..30)
        .map(|_| dashboard.log_in(&fields, &form).0)
        .collect();
    assert_eq!(guesses[0], 403, "a link works once");
    assert!(guesses.contains(&429), "{guesses:?}");
    // Who has the token asks as before.
    assert_eq!(dashboard.ask("/v1/overview").0, 200);
}

#[test]
fn what_the_page_is_made_of_is_hardened_and_holds_nothing_of_the_server() {
    let dashboard = Dashboard::start(Site::default());
    let get = |path: &str| exchange(dashboard.connect(), "GET", path, &[], "");
    for path in [
        "/",
        "/login",
        "/dashboard/page.js",
        "/dashboard/uplot.js",
        "/dashboard/uplot-LICENSE",
    ] {
        let (status, text) = get(path);
        assert_eq!(status, 200, "{path}");
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "cache-control: no-store",
        ] {
            assert!(text.contains(field), "{path}: {field}: {text}");
        }
        assert!(
            !text.contains(" style=\"") && !text.contains(" onclick="),
            "{path}"
        );
        assert!(
            !text.contains(&dashboard.server.path().display().to_string()),
            "{path}"
        );
    }
    for path in [
        "/v1/overview",
        "/v1/history",
        "/v1/refusals",
        "/v1/events",
        "/v1/explain?url=http://a/",
    ] {
        let (status, text) = get(path);
        assert_eq!(status, 401, "{path}: {text}");
        assert!(text.contains("frame-ancestors 'none'"), "{path}: {text}");
    }
}
