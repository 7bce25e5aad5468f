//! Whatever stands in `X-Forwarded-For` and `Forwarded`, all that is believed behind the client is trusted, and what a trusted hop
//! appends is never hidden by what stands before it.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portunus::model::{ClientAddr, HopField, TrustedProxies};

fuzz_target!(|bytes: &[u8]| {
    let peer = ClientAddr::new("10.0.0.1:80".parse().expect("an address"));
    for (field, name, appended) in [
        (HopField::XForwardedFor, "x-forwarded-for", ", 192.0.2.7"),
        (HopField::Forwarded, "forwarded", ",for=\"192.0.2.7\""),
    ] {
        let trusted = TrustedProxies {
            from: vec!["10.0.0.0/8".parse().expect("a network")],
            field,
        };
        let heard = |line: &[u8]| {
            let mut headers = HeaderMap::new();
            let line = HeaderValue::from_bytes(line).ok()?;
            headers.append(HeaderName::from_static("x-forwarded-proto"), line.clone());
            headers.append(HeaderName::from_static("x-forwarded-host"), line.clone());
            headers.append(HeaderName::from_static("x-forwarded-port"), line.clone());
            headers.insert(HeaderName::from_static(name), line);
            trusted.hear(peer, &headers)
        };
        if let Some(hops) = heard(bytes) {
            let mut behind = hops.chain().iter().skip(1);
            assert!(behind.all(|hop| trusted.trusts(hop.ip())));
        }
        let line = [bytes, appended.as_bytes()].concat();
        if HeaderValue::from_bytes(&line).is_ok() {
            let client = heard(&line).and_then(|hops| hops.client());
            assert_eq!(
                client.map(|client| client.to_string()).as_deref(),
                Some("192.0.2.7")
            );
        }
    }
});
