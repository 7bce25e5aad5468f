//! Fields that sites and routes set, add and remove.

use crate::support::{Server, Site, Tool, Upstream, raw};

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: app\r\nX-Powered-By: app\r\nVary: a\r\n\r\nok";

/// A configuration with keys of its site and its route.
fn text(site: &str, route: &str, handler: &str) -> String {
    let whole = Site {
        handler: handler.into(),
        ..Site::default()
    };
    whole.text().replace(
        "name = \"main\"\n[[site.route]]\n",
        &format!("name = \"main\"\n{site}\n[[site.route]]\n{route}\n"),
    )
}

fn get(port: u16, target: &str, fields: &str) -> String {
    raw::exchange(
        port,
        format!(
            "GET {target} HTTP/1.1\r\nHost: shop.test:8443\r\nConnection: close\r\n{fields}\r\n"
        ),
    )
}

/// The values of a field in a head.
fn values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[test]
fn an_upstream_is_told_what_the_route_says() {
    let upstream = Upstream::start(|talk| talk.answer_all(OK));
    let route = "request_fields = { remove = [\"cookie\", \"x-forwarded-host\"], add = { x-many = [\"1\", \"2\"] }, set = { \
                 x-said = \"{client}|{host}|{port}|{scheme}|{method}|{path}|{query}|{uri}|{sni}|{protocol}|\", x-fixed = \"yes\", \
                 x-none = \"{query}\", X-Real-IP = \"{client}\", x-json = '{\"a\": \"{scheme}\"}' } }";
    let server = Server::start(&text("", route, &upstream.handler()));
    get(
        server.http,
        "/a%20b?c='d'",
        "Cookie: a=b\r\nX-Fixed: no\r\nX-Many: 0\r\nX-None: client\r\n",
    );
    let head = upstream.head();
    assert_eq!(
        values(&head, "x-said"),
        ["127.0.0.1|shop.test|8443|http|GET|/a%20b|c='d'|/a%20b?c='d'||http/1.1|"]
    );
    assert_eq!(values(&head, "x-fixed"), ["yes"]);
    assert_eq!(values(&head, "x-many"), ["0", "1", "2"]);
    assert_eq!(values(&head, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(values(&head, "x-json"), ["{\"a\": \"http\"}"]);
    assert_eq!(values(&head, "cookie"), Vec::<&str>::new());
    assert_eq!(values(&head, "x-forwarded-host"), Vec::<&str>::new());
    get(server.http, "/", "X-None: client\r\n");
    // What comes out empty is not sent, and the client's own neither.
    assert_eq!(values(&upstream.head(), "x-none"), Vec::<&str>::new());
    Tool::curl(&server)
        .arg(format!("https://localhost:{}/", server.https))
        .args(["--http2"])
        .stdout();
    let head = upstream.head();
    let port = server.https;
    assert_eq!(
        values(&head, "x-said"),
        [format!(
            "127.0.0.1|localhost|{port}|https|GET|/||/|localhost|h2|"
        )]
    );
}

#[test]
fn every_response_has_the_fields_of_its_site_and_route() {
    let upstream = Upstream::start(|talk| {
        while let Some(head) = talk.read_head() {
            // No answer at all: the response is Portunus' own then.
            if head.starts_with("GET /broken") {
                return;
            }
            talk.send(OK);
        }
    });
    let site = "response_fields = { set = { x-frame-options = \"DENY\", x-from = \"site\" }, remove = [\"server\", \"X-Powered-By\"] }";
    let route = "methods = [\"GET\"]\nresponse_fields = { set = { x-from = \"route {path}\" }, add = { vary = \"b\" } }";
    let server = Server::start(&text(site, route, &upstream.handler()));
    let response = get(server.http, "/a", "");
    assert_eq!(raw::status(&response), 200);
    assert_eq!(values(&response, "x-frame-options"), ["DENY"]);
    assert_eq!(values(&response, "x-from"), ["route /a"]);
    assert_eq!(values(&response, "vary"), ["a", "b"]);
    assert_eq!(
        values(&response, "server").len() + values(&response, "x-powered-by").len(),
        0
    );
    let broken = get(server.http, "/broken", "");
    assert_eq!(raw::status(&broken), 502);
    assert_eq!(values(&broken, "x-frame-options"), ["DENY"]);
    assert_eq!(values(&broken, "x-from"), ["route /broken"]);
    // No route takes it: what the site says alone.
    let refused = raw::exchange(
        server.http,
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(raw::status(&refused), 405);
    assert_eq!(values(&refused, "x-from"), ["site"]);
    let over_h2 = Tool::curl(&server)
        .args(["--http2", "-D-"])
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    assert!(over_h2.contains("x-from: route /"), "{over_h2}");
}

#[test]
fn files_and_fixed_responses_have_them_too() {
    let route = "response_fields = { set = { cache-control = \"no-store\", content-security-policy = \"default-src 'self'\" } }";
    let server = Server::start(&text("", route, "type = \"respond\"\nbody = \"hello\""));
    let response = get(server.http, "/", "");
    assert_eq!(values(&response, "cache-control"), ["no-store"]);
    assert_eq!(
        values(&response, "content-security-policy"),
        ["default-src 'self'"]
    );
    assert!(response.ends_with("hello"), "{response}");
}
