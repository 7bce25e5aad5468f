//! Requests that are called otherwise upstream, and what leads back.

use std::time::Duration;

use crate::support::{Nginx, Server, Site, Tool, Upstream, raw, wait_for};

fn text(route: &str, handler: &str) -> String {
    let whole = Site {
        handler: handler.into(),
        ..Site::default()
    };
    whole.text().replace("path = \"/\"", route)
}

fn ask(port: u16, target: &str) -> String {
    raw::exchange(
        port,
        format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"),
    )
}

fn line<'h>(head: &'h str, name: &str) -> &'h str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

fn sends(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\nSet-Cookie: a=b; Path=/v2; HttpOnly\r\n\r\n"
    )
}

#[test]
fn an_upstream_sees_the_path_and_the_host_that_the_route_says() {
    let upstream = Upstream::start(|talk| talk.answer_all("HTTP/1.1 204 No Content\r\n\r\n"));
    let route = "path = \"/shop\"\nrewrite = { strip_prefix = \"/shop\", add_prefix = \"/v2\", host = \"app.internal:81\" }";
    let server = Server::start(&text(route, &upstream.handler()));
    for (target, expected) in [
        ("/shop", "/v2"),
        ("/shop/", "/v2/"),
        ("/shop/a%2Bb?c=/shop", "/v2/a%2Bb?c=/shop"),
        ("/%73hop/x", "/v2/x"),
        ("/x/../shop//a/./b", "/v2/a/b"),
    ] {
        ask(server.http, target);
        let head = upstream.head();
        assert!(
            head.starts_with(&format!("GET {expected} HTTP/1.1\r\n")),
            "{target}: {head}"
        );
        assert_eq!(line(&head, "host"), "app.internal:81");
        assert_eq!(line(&head, "x-forwarded-host"), "shop.test");
    }
    assert_eq!(raw::status(&ask(server.http, "/shopping")), 404);
    assert_eq!(raw::status(&ask(server.http, "/shop/%2e%2e/a")), 404);
}

#[test]
fn what_an_upstream_answers_leads_back_to_the_client() {
    let upstream = Upstream::start(|talk| {
        while let Some(head) = talk.read_head() {
            let (_, location) = head.split_once("location=").expect("a location");
            let location = location
                .split(' ')
                .next()
                .expect("the target's end")
                .to_owned();
            let host = line(&head, "host").to_owned();
            talk.send(sends(&location.replace("HOST", &host)));
        }
    });
    let route = "path = \"/shop\"\nrewrite = { strip_prefix = \"/shop\", add_prefix = \"/v2\", host = \"upstream\" }";
    let server = Server::start(&text(route, &upstream.handler()));
    for (location, expected) in [
        ("/v2/login?next=1", "/shop/login?next=1"),
        ("http://HOST/v2/login", "http://shop.test/shop/login"),
        ("http://HOST/else", "http://shop.test/else"),
        ("https://pay.test/v2", "https://pay.test/v2"),
        ("http://HOST//evil.test", "http://shop.test//evil.test"),
    ] {
        let response = ask(server.http, &format!("/shop?location={location}"));
        assert_eq!(line(&response, "location"), expected);
        assert_eq!(line(&response, "set-cookie"), "a=b; Path=/shop; HttpOnly");
        let head = upstream.head();
        assert_eq!(line(&head, "host"), format!("127.0.0.1:{}", upstream.port));
    }
}

#[test]
fn a_folder_of_nginx_redirects_to_where_the_client_finds_it() {
    let nginx = Nginx::start(
        "root .; location /docs/a/ { return 200 $host$uri; } location = /docs/a { return 301 /docs/a/; }",
    );
    let route = "path = \"/help\"\nrewrite = { strip_prefix = \"/help\", add_prefix = \"/docs\" }";
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
        nginx.port
    );
    let server = Server::start(&text(route, &handler));
    let url = format!("https://localhost:{}/help/a", server.https);
    let followed = Tool::curl(&server)
        .args(["-L", "--http2", "-w", " %{url_effective}"])
        .arg(&url)
        .stdout();
    assert_eq!(followed, format!("localhost/docs/a/ {url}/"));
}

#[test]
fn a_route_may_wait_longer_or_shorter_than_its_pool() {
    let upstream = Upstream::start(|talk| {
        let Some(head) = talk.read_head() else { return };
        if head.starts_with("GET /cut") {
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut");
        }
        talk.read_to_end();
    });
    let handler = upstream.handler();
    let more = "[[site.route]]\npath = \"/cut\"\nbody_timeout = \"50ms\"\npool = \"main\"\n\
                [[site.route]]\npath = \"/upload\"\nentity_body = \"50ms\"\npool = \"main\"\n[[pool]]";
    let text = text("path = \"/slow\"\nresponse_timeout = \"50ms\"", &handler)
        .replacen("[[pool]]", more, 1);
    let server = Server::start(&text);
    assert_eq!(raw::status(&ask(server.http, "/slow")), 504);
    assert!(ask(server.http, "/cut").ends_with("cut"));
    let reason = |reason| {
        wait_for("its line", || {
            server
                .errors()
                .into_iter()
                .find(|line| line["reason"] == reason)
        })
    };
    reason("Upstream_Timeout");
    let upload = raw::exchange(
        server.http,
        "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    );
    assert_eq!(raw::status(&upload), 408);
    reason("Timer_EntityBody");
}

#[test]
fn a_route_may_wait_longer_than_its_pool() {
    let upstream = Upstream::start(|talk| {
        talk.read_head();
        std::thread::sleep(Duration::from_millis(300));
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        talk.read_to_end();
    });
    let handler = format!("{}\nresponse_timeout = \"100ms\"", upstream.handler());
    let server = Server::start(&text("path = \"/\"\nresponse_timeout = \"20s\"", &handler));
    assert!(ask(server.http, "/report").ends_with("late"));
}

#[test]
fn explain_shows_what_the_route_does() {
    let route = "path = \"/shop\"\nresponse_timeout = \"5m\"\nrewrite = { strip_prefix = \"/shop\", add_prefix = \"/v2\", host = \"upstream\" }\n\
                 request_fields = { set = { x-tenant = \"{host}\" }, remove = [\"cookie\"] }\nresponse_fields = { add = { vary = \"a\" } }";
    let server = Server::start(&text(
        route,
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:9\"]",
    ));
    let explained = Tool::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(["explain", "http://shop.test:0/shop/a%20b"])
        .stdout();
    for says in [
        "/v2/a%20b with the Host of the upstream",
        "request: remove cookie; set x-tenant",
        "response: add vary",
        "response_timeout 5m",
    ] {
        assert!(explained.contains(says), "{says}:\n{explained}");
    }
}
