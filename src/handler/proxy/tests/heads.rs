//! What reaches an upstream of a request's head, and a client of a response's.

use http::{HeaderMap, Request, StatusCode};

use super::scripted::Upstream;
use super::*;

/// The lines of the head that an upstream gets of `request`, sorted; the request line first.
async fn lines(request: Request<Body>, authority: &str, client: &str) -> Vec<String> {
    let protocol = match request.version() {
        http::Version::HTTP_2 => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let facts = facts_of(authority, client, request.uri(), protocol);
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let (outcome, (_peer, head)) = tokio::join!(
        proxy.handle(request, &facts).wait(),
        upstream.answer("HTTP/1.1 204 No Content\r\n\r\n")
    );
    assert_eq!(
        outcome.expect("a response").status(),
        StatusCode::NO_CONTENT
    );
    let mut lines: Vec<String> = head.trim_end().lines().map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

async fn first_line(request: Request<Body>) -> String {
    lines(request, "shop.test", "192.0.2.7:4711")
        .await
        .remove(0)
}

/// The fields that reach an upstream beside those which it always gets.
async fn fields(head: http::request::Builder) -> Vec<String> {
    let request = head.body(Body::empty()).expect("a request");
    let ours = ["host: ", "forwarded: ", "x-forwarded-", "via: 1.1 portunus"];
    lines(request, "shop.test", "192.0.2.7:4711").await[1..]
        .iter()
        .filter(|line| !ours.iter().any(|ours| line.starts_with(ours)))
        .cloned()
        .collect()
}

#[tokio::test]
async fn an_upstream_gets_a_request_of_our_own() {
    let request = Request::get("http://shop.test/basket?item=1")
        .header("host", "other.test")
        .header("accept", "text/html")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(
        lines(request, "shop.test", "192.0.2.7:4711").await,
        [
            "GET /basket?item=1 HTTP/1.1",
            "accept: text/html",
            "forwarded: for=192.0.2.7;host=shop.test;proto=http",
            "host: shop.test",
            "via: 1.1 portunus",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: shop.test",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn addresses_and_ports_are_quoted_where_the_grammar_asks_for_it() {
    let request = Request::get("/").body(Body::empty()).expect("a request");
    assert_eq!(
        lines(request, "[2001:db8::80]:8080", "[2001:db8::7]:4711").await[1..],
        [
            "forwarded: for=\"[2001:db8::7]\";host=\"[2001:db8::80]:8080\";proto=http",
            "host: [2001:db8::80]:8080",
            "via: 1.1 portunus",
            "x-forwarded-for: 2001:db8::7",
            "x-forwarded-host: [2001:db8::80]:8080",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn the_host_is_what_was_understood_of_it() {
    for (sent, told) in [
        ("shop.test", "shop.test"),
        ("SHOP.test.", "shop.test"),
        ("shop.test:80", "shop.test:80"),
        ("shop.test:0080", "shop.test:80"),
    ] {
        let request = Request::get("/")
            .header("host", sent)
            .body(Body::empty())
            .expect("a request");
        let lines = lines(request, sent, "192.0.2.7:4711").await;
        assert!(lines.contains(&format!("host: {told}")), "{lines:?}");
        assert!(
            lines.contains(&format!("x-forwarded-host: {told}")),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn what_a_client_says_as_proxies_do_is_not_believed() {
    let forged = request("GET", "/")
        .header("forwarded", "for=10.0.0.1")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-for", "10.0.0.2")
        .header("x-forwarded-host", "admin.test")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header("x-forwarded-prefix", "/admin")
        .header("x-forwarded-server", "admin")
        .header("x-real-ip", "10.0.0.1")
        .header("x_forwarded_for", "10.0.0.1")
        .header("x.real.ip", "10.0.0.1")
        .header("proxy", "http://evil.test")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(
        lines(forged, "shop.test", "192.0.2.7:4711").await[1..],
        [
            "forwarded: for=192.0.2.7;host=shop.test;proto=http",
            "host: shop.test",
            "via: 1.1 portunus",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: shop.test",
            "x-forwarded-proto: http",
        ]
    );
}

#[tokio::test]
async fn via_says_what_the_client_spoke_behind_those_before() {
    for (version, said) in [
        (http::Version::HTTP_10, "via: 1.0 portunus"),
        (http::Version::HTTP_11, "via: 1.1 portunus"),
        (http::Version::HTTP_2, "via: 2 portunus"),
    ] {
        let request = Request::get("/")
            .version(version)
            .header("via", "1.1 before")
            .body(Body::empty())
            .expect("a request");
        let lines = lines(request, "shop.test", "192.0.2.7:4711").await;
        assert!(lines.contains(&"via: 1.1 before".to_owned()), "{lines:?}");
        assert!(lines.contains(&said.to_owned()), "{lines:?}");
    }
}

#[tokio::test]
async fn fields_of_one_connection_stay_on_it() {
    for (sent, passed) in [
        (vec![("connection", "close")], vec![]),
        (
            vec![("connection", "keep-alive"), ("keep-alive", "5")],
            vec![],
        ),
        (
            vec![
                ("connection", "x-a, X-B"),
                ("x-a", "1"),
                ("x-b", "2"),
                ("x-c", "3"),
            ],
            vec!["x-c: 3"],
        ),
        // A client cannot have the fields taken out that we set.
        (
            vec![("connection", "x-forwarded-for, host, via, forwarded")],
            vec![],
        ),
        (vec![("proxy-connection", "keep-alive")], vec![]),
        (vec![("proxy-authorization", "Basic eA==")], vec![]),
        (vec![("te", "gzip")], vec![]),
        (
            vec![("te", "gzip, trailers")],
            vec!["connection: te", "te: trailers"],
        ),
        (vec![("transfer-encoding", "chunked")], vec![]),
        (vec![("content-length", "7")], vec![]),
        (vec![("expect", "100-continue")], vec![]),
        (vec![("upgrade", "websocket")], vec![]),
        (
            vec![("authorization", "Basic eA=="), ("cookie", "a=1; b=2")],
            vec!["authorization: Basic eA==", "cookie: a=1; b=2"],
        ),
    ] {
        let head = sent
            .iter()
            .fold(request("GET", "/"), |head, (name, value)| {
                head.header(*name, *value)
            });
        assert_eq!(fields(head).await, passed, "{sent:?}");
    }
}

#[tokio::test]
async fn a_path_reaches_the_upstream_as_it_was_routed() {
    for (sent, passed) in [
        ("/a%20b?q=%2e", "/a%20b?q=%2e"),
        ("/%61", "/%61"),
        ("/open/../closed?x", "/closed?x"),
        ("/open/%2e%2e/closed", "/closed"),
        ("//a", "/a"),
        ("/a/../%3f%25", "/%3F%25"),
        ("/a/../%c3%a9", "/%C3%A9"),
        ("http://shop.test", "/"),
    ] {
        assert_eq!(
            first_line(get(sent)).await,
            format!("GET {passed} HTTP/1.1"),
            "{sent}"
        );
    }
    let options = request("OPTIONS", "*").body(Body::empty());
    assert_eq!(
        first_line(options.expect("a request")).await,
        "OPTIONS * HTTP/1.1"
    );
}

#[tokio::test]
async fn a_request_that_may_go_no_further_ends_here() {
    let proxy = proxy([]);
    let sent = |method, left| {
        request(method, "/")
            .header("max-forwards", left)
            .body(Body::empty())
            .expect("a request")
    };
    let options = ask(&proxy, sent("OPTIONS", "0")).await;
    assert_eq!(options.expect("a response").status(), StatusCode::OK);
    assert_eq!(
        reason(ask(&proxy, sent("TRACE", "0")).await),
        Reason::NotImplemented
    );
    assert_eq!(
        reason(ask(&proxy, sent("CONNECT", "9")).await),
        Reason::NotImplemented
    );
    let head = request("OPTIONS", "/").header("max-forwards", "3");
    assert_eq!(fields(head).await, ["max-forwards: 2"]);
    let head = request("GET", "/").header("max-forwards", "0");
    assert_eq!(fields(head).await, ["max-forwards: 0"]);
}

/// The fields of the response that a client gets.
async fn passed(method: &str, response: &str) -> HeaderMap {
    let upstream = Upstream::start().await;
    let proxy = proxy([upstream.config()]);
    let request = request(method, "/").body(Body::empty()).expect("a request");
    let (outcome, _peer) = tokio::join!(ask(&proxy, request), upstream.answer(response));
    let response = outcome.expect("a response");
    let headers = response.headers().clone();
    text(response).await.expect("the content");
    headers
}

#[tokio::test]
async fn fields_of_the_upstream_s_connection_stay_on_it() {
    let headers = passed(
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
         Proxy-Connection: close\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
         Transfer-Encoding: chunked\r\nServer: upstream\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "date: Sat, 01 Jan 2000 00:00:00 GMT",
            "server: upstream",
            "set-cookie: a",
            "set-cookie: b"
        ]
    );
}

#[tokio::test]
async fn a_length_is_passed_on_where_no_content_shows_it() {
    let length = |headers: HeaderMap| {
        headers
            .get("content-length")
            .map(|length| length.to_str().expect("text").to_owned())
    };
    for (method, response, expected) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            Some("7"),
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            Some("7"),
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            None,
        ),
    ] {
        let headers = passed(method, response).await;
        assert_eq!(length(headers).as_deref(), expected, "{method} {response}");
    }
}
