//! The dashboard: in Chromium, by whoever else asks what it asks, and by those who may not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Page, Server, Site, free_port, raw};

/// A server whose dashboard is at a loopback address.
struct Dashboard {
    server: Server,
    port: u16,
}

impl Dashboard {
    fn start(site: Site) -> Self {
        let port = free_port();
        let site = Site {
            head: format!("[server]\nadmin = \"127.0.0.1:{port}\"\n{}", site.head),
            ..site
        };
        let server = site.start();
        Self { server, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn token(&self) -> String {
        fs::read_to_string(self.server.path().join("state/admin-token")).expect("the token")
    }

    fn connect(&self) -> TcpStream {
        raw::connect(self.port)
    }

    /// What a program with the token is answered.
    fn ask(&self, path: &str) -> (u16, String) {
        let token = format!("Authorization: Bearer {}", self.token());
        exchange(self.connect(), "GET", path, &[&token], "")
    }

    fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask(path);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The head of an answer to a login.
    fn log_in(&self, fields: &[&str], form: &str) -> (u16, String) {
        exchange(self.connect(), "POST", "/login", fields, form)
    }
}

/// One request with some fields, and its answer: status, and head with content.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    fields: &[&str],
    content: &str,
) -> (u16, String) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        head.push_str("Host: localhost\r\n");
    }
    for field in fields {
        head.push_str(&format!("{field}\r\n"));
    }
    let request = format!("{head}Content-Length: {}\r\n\r\n{content}", content.len());
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let status = response.split(' ').nth(1).expect("a status");
    let status = status.parse().expect("a number");
    let content = match path.starts_with("/v1/") && status == 200 {
        true => response
            .split_once("\r\n\r\n")
            .expect("a head")
            .1
            .to_owned(),
        false => response,
    };
    (status, content)
}

fn portunus(server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(arguments)
        .output()
        .expect("the portunus binary")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What `ssh -L` does: whoever comes to a port is brought to a unix socket.
fn forwarded(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = UnixStream::connect(&socket) else {
                break;
            };
            let (mut up, mut down) = (
                (
                    client.try_clone().expect("a stream"),
                    server.try_clone().expect("a stream"),
                ),
                (server, client),
            );
            thread::spawn(move || {
                let _ = std::io::copy(&mut up.0, &mut up.1);
                let _ = up.1.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut down.0, &mut down.1);
                let _ = down.1.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

const HOSTILE: &str = "<img src=x onerror=document.title='harmed'>";

/// Has every text that the page is told of be meant for harm.
const HARM: &str = "
    const harm = value => typeof value === 'string' && !/^\\d{4}-/.test(value) ? `${value}<img src=x onerror=document.title=1>`
        : Array.isArray(value) ? value.map(harm)
        : value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([key, it]) => [key, harm(it)]))
        : value;
    const [parse, json] = [JSON.parse, Response.prototype.json];
    JSON.parse = text => harm(parse(text));
    Response.prototype.json = async function () { return harm(await json.call(this)); };
";

#[test]
fn a_browser_sees_live_numbers_and_what_is_behind_them() {
    let site = Site {
        tail: "[[site.route]]\npath = \"/only\"\nmethods = [\"PUT\"]\npool = \"main\"".into(),
        ..Site::default()
    };
    let dashboard = Dashboard::start(site);
    let link = stdout(&portunus(&dashboard.server, &["dashboard"]));
    assert!(link.starts_with(&dashboard.url("/login#")), "{link}");
    let mut page = Page::start();
    page.go(&link);
    page.wait("document.documentElement.dataset.live === 'yes'");
    assert_eq!(page.value("location.href"), dashboard.url("/"));
    page.wait_text("#ready", "Ready");
    page.wait_text("#binding-table", "https://127.0.0.1:0 localhost");
    page.wait_text("#certificate-table", "localhost");

    // What comes after the page was opened, it is told of.
    let get = |path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw::exchange(dashboard.server.http, request)
    };
    for _ in 0..7 {
        assert!(get("/", "a.test").starts_with("HTTP/1.1 200 "));
    }
    for host in ["a.test", "b.test"] {
        assert!(get("/only", host).starts_with("HTTP/1.1 405 "));
    }
    assert!(get("/", HOSTILE).starts_with("HTTP/1.1 400 "));
    assert!(get(&format!("/{}", HOSTILE.replace(' ', "")), "a.test").starts_with("HTTP/1.1 400 "));
    page.wait_text("#rate-beside", "11 in the hour");
    page.wait_text("#reasons", "Verb");
    page.wait_text("#chart-traffic", "4xx");
    let canvases = page.value("document.querySelectorAll('.plot canvas').length");
    assert_eq!(canvases, 3, "each chart is drawn");

    // From a reason to its requests, and from one of them to why.
    let rows = "#request-table tbody tr";
    page.value("[...document.querySelectorAll('#reasons button')].find(it => it.textContent === 'Verb').id = 'the-reason'");
    page.click("#the-reason");
    page.wait_text("#request-table", "b.test");
    assert_eq!(
        page.value(&format!("document.querySelectorAll('{rows}').length")),
        2
    );
    page.wait_text("#requests-said", "2 remembered of reason Verb");
    page.click("#request-table button.link");
    page.wait_text("#verdict", "Refused");
    page.wait_text("#explanation", "405, Verb");

    // By the form.
    page.value("document.getElementById('explain-form').reset()");
    page.write(
        "#explain-form input[name=url]",
        &format!("https://localhost:{}/", dashboard.server.https),
    );
    page.enter();
    page.wait_text("#verdict", "Served");
    page.wait_text("#explanation", "respond: 200");

    // Whatever anybody says is text.
    page.order(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": HARM }),
    );
    page.go(&dashboard.url("/#refused?reason=Verb"));
    page.order("Page.reload", json!({}));
    for table in [
        "#request-table",
        "#binding-table",
        "#pool-table",
        "#certificate-table",
        "#reasons",
    ] {
        page.wait_text(table, "<img src=x");
    }
    assert_eq!(
        page.value("document.querySelectorAll('main img').length"),
        0
    );
    assert_ne!(page.value("document.title"), "1");
    assert_eq!(page.complaints(), Vec::<Value>::new());
}

#[test]
fn who_has_the_token_logs_in_and_no_other_page_can_use_it() {
    let mut dashboard = Dashboard::start(Site::default());
    let mut page = Page::start();
    page.go(&dashboard.url("/"));
    page.wait("location.pathname === '/login'");
    page.write("#token", "0123456789abcdef0123456789abcdef");
    page.enter();
    page.wait_text(".said", "That is not the token");
    page.write("#token", &dashboard.token());
    page.enter();
    page.wait("document.documentElement.dataset.live === 'yes'");
    let cookies = page.order("Network.getCookies", json!({}));
    let cookie = &cookies["cookies"][0];
    assert_eq!(cookie["httpOnly"], true, "{cookies}");
    assert_eq!(cookie["sameSite"], "Strict");
    assert_eq!(cookie["domain"], "127.0.0.1");
    assert_ne!(cookie["value"], dashboard.token());

    // A page of another port of the same host, for which browsers send the cookie: nothing of the API, and no frame.
    let evil = Site {
        handler: format!(
            "type = \"respond\"\nheaders = {{ content-type = \"text/html\" }}\nbody = '''<!doctype html><script>
            const to = 'http://127.0.0.1:{}';
            const ask = (path, how) => fetch(to + path, {{ credentials: 'include', ...how }}).then(it => it.type + it.status, () => 'refused');
            Promise.all([ask('/v1/overview'), ask('/v1/stop', {{ method: 'POST' }}), ask('/v1/stop', {{ method: 'POST', mode: 'no-cors' }}),
                ask('/login', {{ method: 'POST', mode: 'no-cors' }})]).then(all => {{ document.title = all.join(' '); }});
            </script><iframe src=\"http://127.0.0.1:{}/\"></iframe>'''",
            dashboard.port, dashboard.port
        ),
        ..Site::default()
    }
    .start();
    page.go(&format!("http://127.0.0.1:{}/", evil.http));
    page.wait("document.title.startsWith('refused refused ')");
    for _ in 0..4 {
        let refused = dashboard
            .server
            .wait_line("requests that another page makes are refused");
        assert!(refused.is_some());
    }
    // The server is there, and the session too; until it is ended.
    page.go(&dashboard.url("/"));
    page.wait("document.documentElement.dataset.live === 'yes'");
    page.click("#logout button");
    page.wait("location.pathname === '/login'");
    page.go(&dashboard.url("/"));
    page.wait("location.pathname === '/login'");
}

#[test]
fn a_unix_socket_that_ssh_forwards_is_enough() {
    let server = Site::default().start();
    let how = stdout(&portunus(&server, &["dashboard"]));
    let socket = server.path().join("run/portunus.sock");
    assert_eq!(how, format!("ssh -L 9180:{} HOST", socket.display()));
    let port = forwarded(socket.clone());
    let mut page = Page::start();
    page.go(&format!("http://localhost:{port}/"));
    page.wait("document.documentElement.dataset.live === 'yes'");
    page.wait_text("#binding-table", "https://127.0.0.1:0 localhost");
    assert_eq!(page.complaints(), Vec::<Value>::new());

    // Whoever may use the socket may ask; a page that his browser shows may not, under whatever name.
    let ask = |method: &str, path: &str, fields: &[&str]| {
        let stream = UnixStream::connect(&socket).expect("connected");
        exchange(stream, method, path, fields, "").0
    };
    assert_eq!(ask("GET", "/v1/overview", &[]), 200);
    let rebound = format!("Host: evil.test:{port}");
    assert_eq!(ask("GET", "/v1/overview", &[&rebound]), 421);
    assert_eq!(ask("GET", "/", &[&rebound]), 421);
    let evil = "Origin: https://evil.test";
    assert_eq!(ask("POST", "/v1/reload", &[evil]), 403);
    let own = format!("Host: localhost:{port}");
    let origin = format!("Origin: http://localhost:{port}");
    let from_page = "Sec-Fetch-Site: same-origin";
    assert_eq!(ask("POST", "/v1/reload", &[&own, from_page]), 403);
    assert_eq!(ask("POST", "/v1/reload", &[&own, from_page, &origin]), 200);
    let cross = "Sec-Fetch-Site: cross-site";
    assert_eq!(ask("GET", "/v1/overview", &[&own, cross]), 403);
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
    let (status, running, text) = asked(&format!("/v1/explain?url={url}"));
    assert_eq!(status, 200, "{text}");
    let by_command: Value =
        serde_json::from_str(&stdout(&portunus(&server, &["explain", "--json", &url])))
            .expect("JSON");
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
