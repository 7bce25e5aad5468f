use proptest::prelude::*;

use super::*;
use crate::model::RoutePath;

fn rewrite(strip: &str, add: &str) -> Rewrite {
    Rewrite::new(strip, add, RewriteHost::Client)
}

fn there(rewrite: &Rewrite, written: &str) -> String {
    let path = RoutePath::parse(&written.parse().unwrap()).unwrap();
    rewrite.path(written, path.as_str())
}

#[test]
fn a_prefix_gives_way_to_another() {
    for (strip, add, written, expected) in [
        ("/api", "", "/api/a", "/a"),
        ("/api", "", "/api", "/"),
        ("/api", "", "/api/", "/"),
        ("/api", "/v2", "/api", "/v2"),
        ("/api", "/v2/", "/api/", "/v2/"),
        ("/api", "/v2", "/api/a/b", "/v2/a/b"),
        ("", "/v2", "/", "/v2/"),
        ("/", "/v2", "/a", "/v2/a"),
        ("/a b", "/c d", "/a%20b/e", "/c%20d/e"),
    ] {
        assert_eq!(
            there(&rewrite(strip, add), written),
            expected,
            "{strip} {add} {written}"
        );
    }
}

#[test]
fn what_is_not_rewritten_stays_as_the_client_wrote_it() {
    let api = rewrite("/api", "");
    assert_eq!(there(&api, "/api/a%2Bb+c%7E"), "/a%2Bb+c%7E");
    // Spelt otherwise, the prefix is the prefix all the same.
    assert_eq!(there(&api, "/%61pi/a%2Bb"), "/a+b");
    assert_eq!(there(&api, "/x/../api/a%25"), "/a%25");
}

#[test]
fn a_location_leads_back() {
    let api = rewrite("/api", "/v2");
    let back = |location: &str| {
        let own = |authority: &str| authority == "10.0.0.1:80";
        api.location_back(location, own, "https://shop.test")
    };
    for (location, expected) in [
        ("/v2/login?a=/v2#b", "/api/login?a=/v2#b"),
        ("/v2", "/api"),
        ("http://10.0.0.1:80/v2/a", "https://shop.test/api/a"),
        ("http://10.0.0.1:80", "https://shop.test/"),
        ("http://10.0.0.1:80/v3", "https://shop.test/v3"),
        ("https://shop.test/v2/a?b", "https://shop.test/api/a?b"),
        ("http://shop.test/v2", "http://shop.test/api"),
    ] {
        assert_eq!(back(location).as_deref(), Some(expected), "{location}");
    }
    for location in [
        "/v22",
        "/other",
        "//shop.test/v2",
        "login",
        "https://other.test/v2/a",
        "ftp://10.0.0.1:80/v2",
        "",
    ] {
        assert_eq!(back(location), None, "{location}");
    }
}

#[test]
fn a_location_does_not_lead_to_another_host() {
    let v2 = rewrite("", "/v2");
    let back = |location: &str| v2.location_back(location, |_| true, "https://shop.test");
    assert_eq!(back("/v2//evil.test"), None);
    assert_eq!(back("/v2/\\evil.test"), None);
    assert_eq!(
        back("http://up.test/v2//evil.test").as_deref(),
        Some("https://shop.test/v2//evil.test")
    );
}

#[test]
fn a_cookie_is_for_the_path_that_the_client_knows() {
    let back = |strip, add, cookie: &str| rewrite(strip, add).cookie_back(cookie);
    assert_eq!(
        back("/api", "/v2", "a=b; Path=/v2; HttpOnly").as_deref(),
        Some("a=b; Path=/api; HttpOnly")
    );
    assert_eq!(
        back("/api", "/v2", "a=b; path=/v2/x").as_deref(),
        Some("a=b; path=/api/x")
    );
    assert_eq!(
        back("/api", "", "a=b; Path=/").as_deref(),
        Some("a=b; Path=/api")
    );
    assert_eq!(
        back("", "/v2", "a=b; Path=/v2").as_deref(),
        Some("a=b; Path=/")
    );
    assert_eq!(back("/api", "/v2", "a=b; Path=/"), None);
    assert_eq!(back("/api", "/v2", "path2=/v2; Secure"), None);
}

proptest! {
    /// Whatever a client writes, the upstream reads the routed path with its prefix changed, and nothing else.
    #[test]
    fn no_path_is_read_as_another(written in "(/|%2e|%61|[a-c.]|/api|/%61pi){1,12}") {
        let written = format!("/api/{written}");
        let Ok(path) = RoutePath::parse(&written.parse().unwrap()) else { return Ok(()) };
        prop_assume!(path.as_str() == "/api" || path.as_str().starts_with("/api/"));
        let sent = rewrite("/api", "/v2").path(&written, path.as_str());
        let read = RoutePath::parse(&sent.parse().unwrap()).unwrap();
        prop_assert_eq!(read.as_str(), format!("/v2{}", &path.as_str()["/api".len()..]));
    }
}
