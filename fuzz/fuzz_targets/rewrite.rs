//! What an upstream answers with (Location, Set-Cookie) and what a client asks for, where a route rewrites paths: a Location that is
//! changed leads to the client's host, and the upstream reads the routed path.
#![no_main]

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use portunus::model::{Rewrite, RewriteHost, RoutePath};

const ORIGIN: &str = "https://shop.test";

fuzz_target!(|text: &str| {
    for (strip, add) in [("/shop", "/v2"), ("/shop", ""), ("", "/v2")] {
        let rewrite = Rewrite::new(strip, add, RewriteHost::Client);
        let own = |authority: &str| authority == "up.test";
        if let Some(back) = rewrite.location_back(text, own, ORIGIN) {
            let elsewhere = back.starts_with("//") || back.starts_with("/\\");
            let here = back.starts_with('/') && !elsewhere;
            let rest = back
                .strip_prefix(ORIGIN)
                .or_else(|| back.strip_prefix("http://shop.test"));
            let ours = rest.is_some_and(|rest| rest.starts_with('/'));
            assert!(here || ours, "{text:?} leads to {back:?}");
        }
        let _ = rewrite.cookie_back(text);
        let asked = format!("{strip}{text}");
        if let Ok(target) = asked.parse::<PathAndQuery>()
            && let Ok(path) = RoutePath::parse(&target)
            && let Some(rest) = path.as_str().strip_prefix(strip)
            && rest.starts_with('/')
        {
            let sent = rewrite.path(target.path(), path.as_str());
            let read = sent
                .parse()
                .ok()
                .and_then(|sent| RoutePath::parse(&sent).ok());
            let read = read.expect("what is sent is a path");
            assert_eq!(read.as_str(), format!("{add}{rest}"));
        }
    }
});
