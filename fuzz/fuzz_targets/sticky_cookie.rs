//! Sticky cookies: whatever a client sends, only a cookie that was issued says anything, and says what it was issued for.
#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portunus::config;
use portunus::handler::proxy::Sticky;

const NOW: u64 = 1_800_000_000;

fuzz_target!(|cookies: &[u8]| {
    let config = config::Sticky {
        cookie: "at".into(),
        max_age: Duration::from_secs(60),
        path: "/".into(),
        same_site: config::SameSite::Lax,
        key_file: None::<PathBuf>,
    };
    let sticky = Sticky::new(&config, &[7; 32], ["http://a", "http://b"].into_iter());
    let Ok(line) = HeaderValue::from_bytes(cookies) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, line);
    // The key is known to nobody who made the input, so that whatever is believed was forged.
    assert_eq!(sticky.read(&headers, NOW), None);
    let issued = sticky.issue(1, NOW, true);
    let pair = issued.as_bytes().split(|byte| *byte == b';').next();
    let issued = HeaderValue::from_bytes(pair.unwrap_or_default()).expect("part of a field");
    headers.append(COOKIE, issued);
    if let Some(said) = sticky.read(&headers, NOW) {
        assert_eq!((said.upstream, said.aging), (1, false));
    }
});
