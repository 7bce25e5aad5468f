//! Paths: a route's path is in normal form whatever the target was, so that no spelling reaches another route.
#![no_main]

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use portunus::model::RoutePath;

fuzz_target!(|text: &str| {
    let Ok(target) = PathAndQuery::try_from(text) else {
        return;
    };
    let Ok(path) = RoutePath::parse(&target) else {
        return;
    };
    let path = path.as_str();
    // The target of `OPTIONS *`; no route takes it.
    if path == "*" {
        return;
    }
    let segments = path.strip_prefix('/').expect("the root is where it begins");
    let mut segments = segments.split('/').rev();
    // Behind the last slash there may be nothing.
    assert!(!is_dots(segments.next()), "{path:?} ends in dots");
    let inner_is_plain = segments.all(|segment| !segment.is_empty() && !is_dots(Some(segment)));
    assert!(inner_is_plain, "{path:?} can be read in two ways");
    assert!(!path.contains(|c: char| c == '\\' || c.is_ascii_control()));
});

fn is_dots(segment: Option<&str>) -> bool {
    matches!(segment, Some("." | ".."))
}
