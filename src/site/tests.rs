use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use proptest::prelude::*;

use super::explain::is_under;
use super::*;
use crate::config::{Hsts, Place as FilePlace};
use crate::model::HostName;

fn site(routes: &[(&str, &[Method])]) -> Site {
    Site::build(&config::Site {
        name: "shop".into(),
        https_redirect: false,
        hsts: None,
        keys: Default::default(),
        routes: routes
            .iter()
            .enumerate()
            .map(|(index, (path, methods))| config::Route {
                path: (*path).into(),
                methods: methods.to_vec(),
                pool: index,
                max_body_bytes: None,
                keys: Default::default(),
                place: FilePlace::default(),
            })
            .collect(),
        place: FilePlace::default(),
    })
}

fn path(text: &str) -> RoutePath {
    let target: PathAndQuery = text.parse().expect(text);
    RoutePath::parse(&target).expect(text)
}

fn ask(site: &Site, text: &str, method: Method) -> Result<usize, Refusal> {
    site.route(&path(text), &method).map(|route| route.index)
}

#[track_caller]
fn takes(site: &Site, text: &str, method: Method, index: usize) {
    assert_eq!(ask(site, text, method).expect(text), index, "{text}");
}

const ALL: &[Method] = &[];

#[test]
fn the_longest_prefix_wins_on_whole_segments() {
    let site = site(&[
        ("/", ALL),
        ("/api", ALL),
        ("/api/v1/users", ALL),
        ("/apix", ALL),
    ]);
    for (text, index) in [
        ("/", 0),
        ("/ap", 0),
        ("/api", 1),
        ("/api/", 1),
        ("/api/x", 1),
        ("/api/v1", 1),
        ("/api/v1/", 1),
        ("/api/v1/user", 1),
        ("/api/v1/usersx", 1),
        ("/api/v1/users", 2),
        ("/api/v1/users/7?a=/apix", 2),
        ("/apix", 3),
        ("/apixx", 0),
        ("/API", 0),
        ("/x/api", 0),
    ] {
        takes(&site, text, Method::GET, index);
    }
}

#[test]
fn no_spelling_of_a_path_gets_past_its_route() {
    let site = site(&[("/", ALL), ("/admin", ALL)]);
    for text in [
        "/admin",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/%61dmin",
        "/admin/../admin/",
        "/admin%20/../admin",
        "/admin//x",
    ] {
        takes(&site, text, Method::GET, 1);
    }
    for text in ["/%2561dmin", "/admin%20", "/admin;x", "/admin/.."] {
        takes(&site, text, Method::GET, 0);
    }
}

#[test]
fn a_path_that_no_route_takes_is_404() {
    let refusing = site(&[("/api", ALL)]);
    for text in ["/", "/ap", "/apix", "/x/api", "*"] {
        let refusal = ask(&refusing, text, Method::GET).expect_err(text);
        assert_eq!(refusal.reason, Reason::NoRoute);
        assert_eq!(refusal.status(), Some(StatusCode::NOT_FOUND));
        assert!(refusal.allow.is_none());
    }
    assert!(ask(&site(&[]), "/", Method::GET).is_err());
    assert!(ask(&site(&[("/", ALL)]), "*", Method::OPTIONS).is_err());
}

#[test]
fn a_method_that_the_longest_path_does_not_take_is_405_with_allow() {
    let site = site(&[
        ("/", ALL),
        ("/api", &[Method::POST]),
        ("/api", &[Method::GET, Method::POST]),
    ]);
    let refusal = ask(&site, "/api/x", Method::DELETE).expect_err("not taken");
    assert_eq!(refusal.reason, Reason::Verb);
    assert_eq!(refusal.status(), Some(StatusCode::METHOD_NOT_ALLOWED));
    assert_eq!(refusal.allow.as_deref(), Some("GET, HEAD, POST"));
    assert_eq!(
        refusal.detail,
        "the route /api of the site shop does not take the method DELETE, but GET, HEAD, POST"
    );
    assert!(ask(&site, "/api", Method::OPTIONS).is_err());
    takes(&site, "/x", Method::DELETE, 0);
}

#[test]
fn among_routes_of_one_path_the_one_that_names_the_method_wins() {
    let report = Method::from_bytes(b"REPORT").expect("a token");
    let site = site(&[
        ("/", ALL),
        ("/", &[Method::GET]),
        ("/", &[Method::POST, report.clone()]),
        ("/", &[Method::POST]),
        ("/h", &[Method::GET]),
        ("/h", &[Method::HEAD]),
    ]);
    takes(&site, "/", Method::PUT, 0);
    takes(&site, "/", Method::GET, 1);
    takes(&site, "/", Method::HEAD, 1);
    takes(&site, "/", Method::POST, 2);
    takes(&site, "/", report, 2);
    takes(&site, "/h", Method::GET, 4);
    takes(&site, "/h", Method::HEAD, 5);
}

#[test]
fn methods_are_told_apart_by_case() {
    let get = Method::from_bytes(b"get").expect("a token");
    assert!(ask(&site(&[("/", &[Method::GET])]), "/", get).is_err());
}

#[test]
fn a_route_keeps_its_pool_and_limit() {
    let built = Site::build(&config::Site {
        name: "shop".into(),
        https_redirect: true,
        hsts: None,
        keys: Default::default(),
        routes: vec![config::Route {
            path: "/up".into(),
            methods: vec![],
            pool: 7,
            max_body_bytes: Some(None),
            keys: Default::default(),
            place: FilePlace::default(),
        }],
        place: FilePlace::default(),
    });
    let route = built.route(&path("/up/x"), &Method::PUT).expect("taken");
    assert_eq!((route.pool, route.max_body_bytes), (7, Some(None)));
    assert!(built.https_redirect);
    assert!(built.hsts().is_none());
}

#[test]
fn hsts_is_written_as_its_rfc_has_it() {
    let text = |max_age, include_subdomains, preload| {
        let max_age = Duration::from_secs(max_age);
        headers::hsts(&Hsts {
            max_age,
            include_subdomains,
            preload,
        })
    };
    assert_eq!(text(300, false, false), "max-age=300");
    assert_eq!(text(300, true, false), "max-age=300; includeSubDomains");
    assert_eq!(
        text(31_536_000, true, true),
        "max-age=31536000; includeSubDomains; preload"
    );
}

#[test]
fn a_redirect_keeps_host_path_and_query_as_they_came() {
    for (host, uri, port, location) in [
        ("shop.test", "/", 443, "https://shop.test/"),
        (
            "shop.test",
            "/a/%2e%2e//b?x=%0d%0a&y[]=/",
            443,
            "https://shop.test/a/%2e%2e//b?x=%0d%0a&y[]=/",
        ),
        ("shop.test", "/", 8443, "https://shop.test:8443/"),
        ("::1", "/a", 8443, "https://[::1]:8443/a"),
        (
            "shop.test",
            "http://other.test:80/a?b",
            443,
            "https://shop.test/a?b",
        ),
        (
            "shop.test",
            "http://other.test?b",
            443,
            "https://shop.test/?b",
        ),
        (
            "shop.test",
            "//evil.test/",
            443,
            "https://shop.test//evil.test/",
        ),
        (
            "shop.test",
            "/@evil.test",
            443,
            "https://shop.test/@evil.test",
        ),
        ("shop.test", "*", 443, "https://shop.test/"),
        ("shop.test", "evil.test:80", 443, "https://shop.test/"),
        ("shop.test", "/é", 443, "https://shop.test/%C3%A9"),
    ] {
        let uri: Uri = uri.parse().expect(uri);
        let host = HostName::parse(host).expect(host);
        assert_eq!(https_redirect_target(&host, &uri, port), location);
    }
}

#[test]
fn explains_every_route_the_longest_path_first() {
    let site = site(&[
        ("/", ALL),
        ("/api", &[Method::GET]),
        ("/api", ALL),
        ("/api", &[Method::POST]),
        ("/static", ALL),
    ]);
    let told: Vec<_> = site
        .explain_route(&path("/api/x"), &Method::GET)
        .iter()
        .map(|candidate| format!("{} {}", candidate.route.index, candidate.verdict))
        .collect();
    assert_eq!(
        told,
        [
            "4 the request's path is not at or under its path",
            "1 it has the longest path that takes the request's, and takes the method",
            "2 it takes the path and the method too, but a route of the same path names the method or stands before it",
            "3 it takes the path, but not the method",
            "0 it takes the path too, but /api is longer",
        ]
    );
}

#[test]
fn a_path_of_very_many_segments_is_answered_at_once() {
    let many: Vec<String> = (0..1_000).map(|n| format!("/a/s{n}/b")).collect();
    let mut routes: Vec<(&str, &[Method])> = many.iter().map(|path| (&**path, ALL)).collect();
    let deep = "/a".repeat(30_000);
    routes.push(("/", ALL));
    let site = site(&routes);
    let deep = path(&deep);
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(site.route(&deep, &Method::GET).expect("taken").index, 1_000);
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    for (index, path) in many.iter().enumerate() {
        takes(&site, path, Method::GET, index);
    }
}

/// What the documentation says, over the whole list.
fn reference(
    routes: &[Route],
    path: &str,
    method: &Method,
) -> Result<usize, Option<BTreeSet<String>>> {
    let longest = routes
        .iter()
        .filter(|route| is_under(path, &route.path))
        .map(|route| route.path.len())
        .max()
        .ok_or(None)?;
    let alike: Vec<_> = routes
        .iter()
        .filter(|route| route.path.len() == longest && is_under(path, &route.path))
        .collect();
    let named = |wanted: &Method| alike.iter().find(|route| route.methods.contains(wanted));
    let head = (*method == Method::HEAD)
        .then(|| named(&Method::GET))
        .flatten();
    let all = alike.iter().find(|route| route.methods.is_empty());
    match named(method).or(head).or(all) {
        Some(route) => Ok(route.index),
        None => Err(Some(
            alike
                .iter()
                .flat_map(|route| route.methods.iter())
                .flat_map(|method| match *method {
                    Method::GET => vec!["GET".to_owned(), "HEAD".to_owned()],
                    _ => vec![method.to_string()],
                })
                .collect(),
        )),
    }
}

proptest! {
    #[test]
    fn routes_as_the_rule_read_word_by_word_does(
        routes in prop::collection::vec(
            (
                prop_oneof![Just("/".to_owned()), "(/(a|b|ab|c)){1,4}", "/[a-p]"],
                prop::sample::subsequence(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT], 0..3),
            ),
            0..30,
        ),
        asked in prop::collection::vec(
            ("(/(a|b|ab|c)){0,5}/?|/[a-p]", prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE])),
            1..20,
        ),
    ) {
        let routes: Vec<_> = routes.iter().map(|(path, methods)| (&**path, &methods[..])).collect();
        let site = site(&routes);
        for (text, method) in asked.iter().filter(|(text, _)| !text.is_empty()) {
            let path = path(text);
            let found = site.route(&path, method);
            let found_index = found.as_ref().ok().map(|route| route.index);
            let told = found.map(|route| route.index).map_err(|refusal| {
                refusal.allow.map(|allow| allow.split(", ").map(str::to_owned).collect())
            });
            prop_assert_eq!(told, reference(site.routes(), path.as_str(), method));
            let explained = site.explain_route(&path, method);
            prop_assert_eq!(explained.len(), routes.len());
            let winner = explained.iter().find(|c| c.verdict == RouteVerdict::Won).map(|c| c.route.index);
            prop_assert_eq!(winner, found_index);
        }
    }

    #[test]
    fn a_redirect_is_always_a_uri_of_the_same_host(
        bytes in prop::collection::vec(any::<u8>(), 1..40),
        port in any::<u16>(),
    ) {
        let mut target = vec![b'/'];
        target.extend(bytes);
        if let Ok(target) = PathAndQuery::try_from(&target[..]) {
            let host = HostName::parse("shop.test").expect("a host");
            let value = https_redirect_target(&host, &Uri::from(target), port);
            prop_assert!(value.as_bytes().iter().all(u8::is_ascii_graphic));
            let location: Uri = value.to_str().expect("ASCII").parse().expect("a URI");
            prop_assert_eq!(location.host(), Some("shop.test"));
            prop_assert_eq!(location.scheme_str(), Some("https"));
        }
    }
}
