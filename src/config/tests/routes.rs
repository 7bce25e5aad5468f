//! What sites and routes do around their handlers.

use super::super::*;
use super::{BINDING, config, read, rendered};
use crate::model::{RewriteHost, RouteRules};

const PROXY: &str =
    "[[pool]]\nname = \"app\"\nhandler = { type = \"proxy\", upstreams = [\"http://a.test\"] }\n";

/// A configuration with keys of its site and of its route, `/shop`.
fn text(site: &str, route: &str, pool: &str) -> String {
    format!(
        "{BINDING}[[site]]\nname = \"www\"\n{site}\n[[site.route]]\npath = \"/shop\"\npool = \"app\"\n{route}\n{pool}"
    )
}

fn rules(route: &str) -> RouteRules {
    let route = config(&text("", route, PROXY))
        .sites
        .remove(0)
        .routes
        .remove(0);
    (*route.keys.rules.expect("rules")).clone()
}

#[test]
fn a_route_that_says_nothing_has_no_rules() {
    let site = config(&text("", "rewrite = {}\nrequest_fields = {}", PROXY))
        .sites
        .remove(0);
    assert_eq!(site.keys, SiteKeys::default());
    assert_eq!(site.routes[0].keys, RouteKeys::default());
}

#[test]
fn rewriting_and_times_are_read() {
    let read = rules(
        "rewrite = { strip_prefix = \"/shop/\", host = \"app.internal:81\" }\nresponse_timeout = \"10m\"\nbody_timeout = \"1s\"",
    );
    assert_eq!(read.response_timeout, Some(Duration::from_secs(600)));
    assert_eq!(read.body_timeout, Some(Duration::from_secs(1)));
    let rewrite = read.rewrite.expect("rewriting");
    assert_eq!(rewrite.path("/shop/a", "/shop/a"), "/a");
    assert!(matches!(rewrite.host, RewriteHost::Named(host) if host == "app.internal:81"));
    let host = rules("rewrite = { host = \"upstream\" }")
        .rewrite
        .expect("a host")
        .host;
    assert_eq!(host, RewriteHost::Upstream);
}

#[test]
fn pages_are_relative_to_the_file() {
    let site = config(&text(
        "error_pages = { \"5xx\" = \"pages/a.html\" }\nintercept_errors = true",
        "",
        PROXY,
    ))
    .sites
    .remove(0);
    assert!(site.keys.intercept_errors);
    assert_eq!(
        site.keys.error_pages[0].file,
        std::path::Path::new("/etc/portunus/pages/a.html")
    );
    assert_eq!(site.keys.error_pages[0].statuses, ErrorStatuses::Class(5));
}

#[test]
fn mistakes_in_what_routes_do() {
    let routes = [
        "request_fields = { set = { x-a = \"{hots}\", host = \"b\", content-length = \"1\", \"a b\" = \"c\", x-b = \"a\\nb\", x-c = \"\" } }",
        "request_fields = { add = { x-a = \"{status}\" }, remove = [\"Transfer-Encoding\", \"Client-Cert\"], sett = {} }",
        "response_fields = { set = { Date = \"now\" }, add = { x-a = 1, X-A = \"2\" } }",
        "rewrite = { strip_prefix = \"/sho\", add_prefix = \"v2\", host = \"{host}\" }",
        "rewrite = { strip_prefix = \"/shop/a\", host = \"a b\", path = \"/x\" }",
        "response_timeout = \"0s\"\nentity_body = 5\nintercept_errors = \"true\"",
    ];
    let mut texts: Vec<_> = routes.iter().map(|route| text("", route, PROXY)).collect();
    for site in [
        "error_pages = { 5 = \"a.html\", 5XX = \"a.html\", 200 = \"a.html\", 503 = \"page\", 504 = 1 }",
        "intercept_errors = true",
        "response_fields = { remove = [\"connection\"] }",
    ] {
        texts.push(text(site, "", PROXY));
    }
    let files = "[[pool]]\nname = \"app\"\nhandler = { type = \"files\", root = \"www\" }\n";
    let every = "rewrite = { strip_prefix = \"/shop\" }\nrequest_fields = { remove = [\"cookie\"] }\nresponse_timeout = \"1s\"";
    texts.push(text("", every, files));
    texts.push(text(
        "",
        every,
        "[[pool]]\nname = \"app\"\nhandler = { type = \"library\" }\n",
    ));
    insta::assert_snapshot!(rendered(texts));
}

#[test]
fn every_placeholder_is_taken() {
    let known = crate::model::template::Placeholder::of_requests();
    for placeholder in known {
        let name = placeholder.as_str();
        let route = format!("request_fields = {{ set = {{ x-a = \"{{{name}}}\" }} }}");
        assert!(read(&text("", &route, PROXY)).config.is_some(), "{name}");
    }
}
