//! Who may ask over a loopback address.

use http::{HeaderMap, Method, Request, StatusCode};

use super::access::{NO_TOKEN, cookies, has_token, same_origin};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn request(path: &str, method: &Method, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().expect("a path");
    *request.method_mut() = method.clone();
    for (name, value) in fields {
        let value = value.parse().expect("a value");
        request.headers_mut().append(*name, value);
    }
    request
}

fn asked(fields: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    let request = request("/v1/pools", &Method::GET, fields);
    same_origin(&request).map_err(|(status, _)| status)?;
    let has = has_token(request.headers(), TOKEN);
    has.then_some(()).ok_or(NO_TOKEN.0)
}

fn page(method: &Method, fields: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    page_at("/", method, fields)
}

fn page_at(path: &str, method: &Method, fields: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    same_origin(&request(path, method, fields)).map_err(|(status, _)| status)
}

const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");

#[test]
fn who_has_the_token_and_names_a_loopback_address_may_ask() {
    for host in [
        "127.0.0.1:9180",
        "localhost:9180",
        "[::1]:9180",
        "127.9.9.9",
        "LOCALHOST",
    ] {
        assert_eq!(asked(&[("host", host), BEARER]), Ok(()), "{host}");
    }
    let lower = ("authorization", "bearer 0123456789abcdef0123456789abcdef");
    assert_eq!(asked(&[("host", "localhost"), lower]), Ok(()));
    let typed = ("sec-fetch-site", "none");
    assert_eq!(asked(&[("host", "localhost"), BEARER, typed]), Ok(()));
}

#[test]
fn without_the_token_nobody_may() {
    let host = ("host", "127.0.0.1:9180");
    for authorization in [
        "Bearer 0123456789abcdef0123456789abcdee",
        "Bearer ",
        "Bearer",
        "",
        "Basic 0123456789abcdef0123456789abcdef",
        "Bearer 0123456789abcdef0123456789abcdef0",
    ] {
        let fields = [host, ("authorization", authorization)];
        assert_eq!(
            asked(&fields),
            Err(StatusCode::UNAUTHORIZED),
            "{authorization:?}"
        );
    }
    assert_eq!(asked(&[host]), Err(StatusCode::UNAUTHORIZED));
}

#[test]
fn a_name_that_was_rebound_to_this_machine_is_refused() {
    for host in ["evil.test:9180", "127.0.0.1.evil.test", "10.0.0.1:9180", ""] {
        let result = asked(&[("host", host), BEARER]);
        assert_eq!(result, Err(StatusCode::MISDIRECTED_REQUEST), "{host:?}");
    }
    assert_eq!(asked(&[BEARER]), Err(StatusCode::MISDIRECTED_REQUEST));
    let two = [("host", "localhost"), ("host", "evil.test"), BEARER];
    assert_eq!(asked(&two), Err(StatusCode::MISDIRECTED_REQUEST));
}

#[test]
fn what_another_page_asks_is_refused_token_or_not() {
    let host = ("host", "localhost:9180");
    for from_a_page in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let result = asked(&[host, BEARER, from_a_page]);
        assert_eq!(result, Err(StatusCode::FORBIDDEN), "{from_a_page:?}");
    }
}

#[test]
fn the_document_has_every_path_and_method_of_the_api_and_no_other() {
    let document: serde_json::Value =
        serde_json::from_str(super::api::DOCUMENT).expect("docs/openapi.json is JSON");
    let mut documented = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            documented.push((method.to_ascii_uppercase(), path.clone()));
        }
    }
    documented.sort_unstable();
    let mut known = super::api::all();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn our_own_page_may_ask_and_may_change_what_it_says_it_comes_from() {
    let host = ("host", "localhost:9180");
    let own = ("sec-fetch-site", "same-origin");
    assert_eq!(page(&Method::GET, &[host, own]), Ok(()));
    let origin = ("origin", "http://localhost:9180");
    assert_eq!(page(&Method::POST, &[host, own, origin]), Ok(()));
    let refused = Err(StatusCode::FORBIDDEN);
    assert_eq!(page(&Method::POST, &[host, own]), refused);
    // A browser that says nothing of where it comes from is known by its cookie.
    let cookie = ("cookie", "portunus-9180=x");
    assert_eq!(page(&Method::POST, &[host, cookie]), refused);
    assert_eq!(page(&Method::POST, &[host, cookie, origin]), Ok(()));
    for other in [
        "http://localhost:3000",
        "https://localhost:9180",
        "http://127.0.0.1:9180",
        "localhost:9180",
    ] {
        let fields = [host, own, ("origin", other)];
        assert_eq!(page(&Method::POST, &fields), refused, "{other}");
    }
    // No program says these.
    assert_eq!(page(&Method::POST, &[host]), Ok(()));
}

#[test]
fn a_link_from_elsewhere_leads_to_the_page_and_a_frame_does_not() {
    let host = ("host", "localhost:9180");
    let site = ("sec-fetch-site", "cross-site");
    let mode = ("sec-fetch-mode", "navigate");
    let shown = |as_what| [host, site, mode, ("sec-fetch-dest", as_what)];
    assert_eq!(page(&Method::GET, &shown("document")), Ok(()));
    let refused = Err(StatusCode::FORBIDDEN);
    assert_eq!(page(&Method::GET, &shown("iframe")), refused);
    assert_eq!(page(&Method::POST, &shown("document")), refused);
    assert_eq!(
        page_at("/v1/events", &Method::GET, &shown("document")),
        refused
    );
}

#[test]
fn a_cookie_is_found_among_others_and_under_its_whole_name() {
    let mut fields = HeaderMap::new();
    fields.append(
        "cookie",
        "xportunus-1=no; portunus-12=no".parse().expect("a value"),
    );
    assert_eq!(cookies(&fields, "portunus-1").next(), None);
    fields.append("cookie", "a=b; portunus-1=yes".parse().expect("a value"));
    fields.append("cookie", "portunus-1=or no".parse().expect("a value"));
    let all: Vec<_> = cookies(&fields, "portunus-1").collect();
    assert_eq!(all, ["yes", "or no"]);
}
