//! In Chromium.

use std::fs;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use super::{Dashboard, exchange, portunus, stdout};
use crate::support::{Page, Server, Site, free_port, raw};

/// A host that is markup.
const HOSTILE: &str = "<img src=x onerror=document.title='harmed'>";

/// How the https binding is called.
fn binding(server: &Server) -> String {
    format!("https://127.0.0.1:{} localhost", server.https)
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
    page.wait_text("#binding-table", &binding(&dashboard.server));
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
    page.wait_text("#explanation", "Running: 0 of ");

    // A pool that was stopped meanwhile.
    stdout(&portunus(&dashboard.server, &["pool", "stop", "main"]));
    page.click("#explain-form button");
    page.wait_text("#verdict", "Refused");
    page.wait_text("#explanation", "503, AppShutdown: the pool is stopped");
    page.wait_text("#explanation", "Stopped: 0 of ");
    stdout(&portunus(&dashboard.server, &["pool", "start", "main"]));

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
fn an_upstream_that_is_up_and_fails_is_marked_and_says_how_it_failed() {
    let dashboard = Dashboard::start(Site {
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]\nretry = {{ wait = \"0s\" }}",
            free_port()
        ),
        ..Site::default()
    });
    let mut stream = raw::connect(dashboard.server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 502);
    let mut page = Page::start();
    page.go(&stdout(&portunus(&dashboard.server, &["dashboard"])));
    page.wait_text("#upstream-table .state", "up, fails");
    let mood = page.value("document.querySelector('#upstream-table .state').dataset.state");
    assert_eq!(mood, "warn");
    page.wait_text("#upstream-table td.prose", "connect");
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
    let socket = fs::canonicalize(server.path().join("run/portunus.sock")).expect("the socket");
    assert_eq!(how, format!("ssh -L 9180:{} HOST", socket.display()));
    let port = forwarded(socket.clone());
    let mut page = Page::start();
    page.go(&format!("http://localhost:{port}/"));
    page.wait("document.documentElement.dataset.live === 'yes'");
    page.wait_text("#binding-table", &binding(&server));
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
