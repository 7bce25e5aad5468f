use http::Method;
use proptest::prelude::*;

use super::*;
use crate::handler::tests::facts;

fn redirect(to: &str) -> Redirect {
    Redirect::new(&config::Redirect {
        to: to.to_owned(),
        status: StatusCode::MOVED_PERMANENTLY,
    })
}

fn answer(to: &str, uri: &str, host: &str) -> Response<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.parse().unwrap();
    match redirect(to).handle(request, &facts(host)) {
        Reply::Now(outcome) => outcome.unwrap(),
        Reply::Later(_) => panic!("an answer that is known came later"),
    }
}

fn location(to: &str, uri: &str) -> String {
    let response = answer(to, uri, "shop.test");
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

#[test]
fn placeholders_stand_for_what_the_client_sent() {
    for (to, uri, expected) in [
        (
            "https://new.test{uri}",
            "/a%20b/c?d=e&f",
            "https://new.test/a%20b/c?d=e&f",
        ),
        ("https://new.test{uri}", "/", "https://new.test/"),
        (
            "https://new.test{uri}",
            "http://shop.test/a?b",
            "https://new.test/a?b",
        ),
        ("https://new.test{uri}", "//a//b", "https://new.test//a//b"),
        ("https://new.test{path}", "/a?b", "https://new.test/a"),
        (
            "https://new.test/?from={path}&{query}",
            "/a?b=c",
            "https://new.test/?from=/a&b=c",
        ),
        ("https://new.test/x?{query}", "/a", "https://new.test/x?"),
        (
            "https://www.{host}{uri}",
            "/a?b",
            "https://www.shop.test/a?b",
        ),
        ("/new{path}", "/a/b?c", "/new/a/b"),
        ("/new", "/a/b?c", "/new"),
        (
            "https://new.test/{other}",
            "/a",
            "https://new.test/%7Bother%7D",
        ),
    ] {
        assert_eq!(location(to, uri), expected, "{to} for {uri}");
    }
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let response = answer("https://{host}:8443{uri}", "/a", "2001:db8::1");
    assert_eq!(response.headers()[LOCATION], "https://[2001:db8::1]:8443/a");
}

#[test]
fn a_request_cannot_choose_another_host() {
    for (to, uri, expected) in [
        ("{uri}", "//evil.test/a", "/evil.test/a"),
        ("{uri}", "///evil.test/a", "/evil.test/a"),
        ("{path}", "//evil.test", "/evil.test"),
        ("/{uri}", "/evil.test", "/evil.test"),
        ("{query}", "/?https://evil.test", "/https://evil.test"),
        ("https:{uri}", "/evil.test", "/https:/evil.test"),
        ("https://{uri}", "/evil.test", "/https:///evil.test"),
        (
            "https://new.test{query}",
            "/?.evil.test",
            "https://new.test/.evil.test",
        ),
        (
            "https://new.test{query}",
            "/?@evil.test",
            "https://new.test/@evil.test",
        ),
        (
            "https://{host}{query}",
            "/?@evil.test",
            "https://shop.test/@evil.test",
        ),
        ("https://new.test{uri}", "*", "https://new.test/*"),
    ] {
        assert_eq!(location(to, uri), expected, "{to} for {uri}");
    }
}

#[test]
fn what_no_uri_may_hold_is_encoded() {
    // The parser of targets lets these through, as clients send them.
    let target = location("https://new.test{uri}", "/a{b}|\"c\"?x={y}");
    assert_eq!(target, "https://new.test/a%7Bb%7D%7C%22c%22?x=%7By%7D");
}

#[test]
fn the_content_is_one_line_of_text() {
    let mut response = answer("https://new.test{uri}", "/a", "shop.test");
    assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
    let content = response.body_mut().take_full().unwrap();
    assert_eq!(content, "301 Moved Permanently -> https://new.test/a\n");
}

#[test]
fn every_method_is_redirected() {
    let handler = redirect("/new");
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let facts = facts("shop.test");
        let Reply::Now(Ok(response)) = handler.handle(request, &facts) else {
            panic!("no answer");
        };
        assert_eq!(response.headers()[LOCATION], "/new");
    }
}

proptest! {
    /// Whatever a client sends, and however odd the template, the field is well-formed and leads where the template says.
    #[test]
    fn no_target_breaks_out(bytes in prop::collection::vec(any::<u8>(), 0..40), to in "[{}a-z/:?#]{0,12}(\\{uri\\}|\\{path\\}|\\{query\\})[ -~]{0,8}") {
        let Ok(uri) = http::Uri::try_from([b"/", &bytes[..]].concat()) else { return Ok(()) };
        let host = crate::model::HostName::parse("shop.test").unwrap();
        let local = template::Template::parse(&to).fill(&uri, &host);
        prop_assert!(local.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{}", local);
        if !to.contains("://") {
            prop_assert!(local.starts_with('/') && !local.starts_with("//"), "{}", local);
        }
        let absolute = template::Template::parse(&format!("https://new.test{{uri}}{to}")).fill(&uri, &host);
        prop_assert!(absolute.starts_with("https://new.test/"), "{}", absolute);
    }
}
