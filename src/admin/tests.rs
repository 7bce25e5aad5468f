//! Who may ask over a loopback address.

use http::{HeaderMap, StatusCode};

use super::access::over_loopback;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn asked(fields: &[(&'static str, &str)]) -> Result<(), StatusCode> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().expect("a value"));
    }
    over_loopback(&map, TOKEN).map_err(|(status, _)| status)
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
