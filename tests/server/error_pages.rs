//! Pages of one's own for errors.

use std::fs;

use crate::support::{Server, Site, Tool, Upstream, folder, raw};

fn text(site: &str, handler: &str) -> String {
    let whole = Site {
        handler: handler.into(),
        ..Site::default()
    };
    whole.text().replace(
        "name = \"main\"\n[[site.route]]",
        &format!("name = \"main\"\n{site}\n[[site.route]]"),
    )
}

const PAGES: &str = "error_pages = { \"503\" = \"pages/busy.html\", \"5xx\" = \"pages/error.html\", \"404\" = \"pages/lost.json\" }";

fn start(site: &str, handler: &str) -> Server {
    let folder = folder();
    let pages = folder.path().join("config/pages");
    fs::create_dir(&pages).expect("pages/");
    for (name, page) in [
        (
            "busy.html",
            "<h1>busy {status} {reason}</h1><style>p { color: red }</style>",
        ),
        ("error.html", "<h1>error {status} at {host}{path}</h1>"),
        ("lost.json", "{\"status\": {status}}"),
    ] {
        fs::write(pages.join(name), page).expect("a page");
    }
    Server::start_in(folder, &text(site, handler), |_| {})
}

fn ask(server: &Server, method: &str, target: &str) -> String {
    raw::exchange(
        server.http,
        format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn responses_of_portunus_have_the_sites_pages() {
    let gone = "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:9\"]\nretry = { wait = \"0s\" }";
    let server = start(PAGES, gone);
    let response = ask(&server, "GET", "/a'b");
    assert_eq!(raw::status(&response), 502);
    assert!(
        response.ends_with("\r\n\r\n<h1>error 502 at shop.test/a&#39;b</h1>"),
        "{response}"
    );
    assert!(
        response.contains("content-type: text/html; charset=utf-8\r\n"),
        "{response}"
    );
    let head = ask(&server, "HEAD", "/");
    assert_eq!(raw::status(&head), 502);
    assert!(
        head.ends_with("\r\n\r\n") && head.contains("content-length: 32\r\n"),
        "{head}"
    );
    let url = format!("https://localhost:{}/", server.https);
    let over_h2 = Tool::curl(&server)
        .args(["--http2", "-w", " %{http_code}"])
        .arg(url)
        .stdout();
    assert_eq!(over_h2, "<h1>error 502 at localhost/</h1> 502");
}

#[test]
fn a_full_queue_keeps_its_retry_after() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    });
    let text = text(PAGES, &upstream.handler()).replace(
        "[[pool]]\nname = \"main\"\n",
        "[[pool]]\nname = \"main\"\nconcurrency = 1\nqueue_length = 0\n",
    );
    let server = start(PAGES, &upstream.handler());
    let mut server = server;
    assert!(server.reload(&text).contains("reloaded"));
    let mut first = raw::connect(server.http);
    raw::ask(&mut first, "/");
    upstream.head();
    let response = ask(&server, "GET", "/");
    assert_eq!(raw::status(&response), 503);
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    assert!(
        response.contains("<h1>busy 503 Service Unavailable</h1><style>p { color: red }</style>"),
        "{response}"
    );
}

#[test]
fn an_upstreams_own_errors_are_left_alone_unless_asked() {
    let upstream = Upstream::start(|talk| {
        talk.answer_all("HTTP/1.1 503 Busy\r\nContent-Length: 3\r\nContent-Encoding: br\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\n\r\napp");
    });
    let server = start(PAGES, &upstream.handler());
    assert!(ask(&server, "GET", "/").ends_with("app"));
    let server = start(
        &format!("{PAGES}\nintercept_errors = true"),
        &upstream.handler(),
    );
    let response = ask(&server, "GET", "/");
    assert_eq!(raw::status(&response), 503);
    assert!(response.contains("<h1>busy 503"), "{response}");
    for kept in ["retry-after: 7\r\n", "set-cookie: a=b\r\n"] {
        assert!(response.contains(kept), "{response}");
    }
    assert!(!response.contains("content-encoding"), "{response}");
    // A route of programs keeps its own.
    let kept = text(
        &format!("{PAGES}\nintercept_errors = true"),
        &upstream.handler(),
    )
    .replace("[[site.route]]", "[[site.route]]\nintercept_errors = false");
    let mut server = server;
    assert!(server.reload(&kept).contains("reloaded"));
    assert!(ask(&server, "GET", "/").ends_with("app"));
}

#[test]
fn a_reload_reads_pages_anew_and_one_that_is_missing_leaves_the_old() {
    let mut server = start(PAGES, "type = \"files\"\nroot = \".\"");
    let lost = |server: &Server| {
        let response = ask(server, "GET", "/gone");
        assert_eq!(raw::status(&response), 404);
        response
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(lost(&server), "{\"status\": 404}");
    let config = text(PAGES, "type = \"files\"\nroot = \".\"");
    let page = server.path().join("config/pages/lost.json");
    fs::write(&page, "[{status}]").expect("the page");
    assert!(server.reload(&config).contains("reloaded"));
    assert_eq!(lost(&server), "[404]");
    fs::remove_file(&page).expect("the page");
    assert!(server.reload(&config).contains("was not taken"));
    assert_eq!(lost(&server), "[404]");
    let checked = Tool::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(["check", "--json"])
        .output();
    assert_eq!(checked.status.code(), Some(64));
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(
        told.contains("\"error-page\"") && told.contains("lost.json"),
        "{told}"
    );
}
