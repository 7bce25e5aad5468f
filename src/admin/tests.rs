//! Who may ask over a loopback address.

use http::{HeaderMap, StatusCode, Uri};

use super::access::over_loopback;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn asked(fields: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().expect("a value"));
    }
    over_loopback(&Uri::from_static("/v1/pools"), &map, TOKEN).map_err(|(status, _)| status)
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
