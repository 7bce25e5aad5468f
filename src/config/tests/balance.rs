//! A proxy's keys of which upstream a request goes to.

use std::time::Duration;

use super::super::*;
use super::{handler, rendered_handlers};

fn balance(keys: &str) -> Balance {
    let upstreams = "\"http://a.test\", { url = \"http://b.test\", weight = 2, backup = true, max_connections = 9 }";
    let text = format!("{{ type = \"proxy\", upstreams = [{upstreams}], {keys} }}");
    match handler(&text) {
        Handler::Proxy(proxy) => *proxy.balance,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upstream_is_a_string_or_a_table() {
    let second = Member {
        weight: 2,
        backup: true,
        max_connections: Some(9),
    };
    let read = balance("slow_start = \"0s\"");
    assert_eq!(read.members, [Member::default(), second]);
    assert_eq!(read.slow_start, Duration::ZERO);
}

#[test]
fn a_policy_is_a_word_or_a_table() {
    let policy = |keys: &str| balance(keys).policy;
    assert_eq!(policy("balance = \"power_of_two\""), Policy::PowerOfTwo);
    let hash = |by: &str| policy(&format!("balance = {{ policy = \"hash\", by = \"{by}\" }}"));
    assert_eq!(hash("client"), Policy::Hash(HashBy::Client));
    assert_eq!(hash("cookie:a"), Policy::Hash(HashBy::Cookie("a".into())));
    assert!(matches!(hash("field:X-User"), Policy::Hash(HashBy::Field(name)) if name == "x-user"));
}

#[test]
fn the_key_of_cookies_lies_where_state_does_unless_another_is_named() {
    let file = |keys: &str| balance(keys).sticky.and_then(|sticky| sticky.key_file);
    assert_eq!(
        file("sticky = {}"),
        Some("/etc/portunus/../state/sticky.key".into())
    );
    let named = file("sticky = { key_file = \"/run/key\" }");
    assert_eq!(named, Some("/run/key".into()));
}

#[test]
fn retries_and_statuses_are_read() {
    let read = balance(
        "retry = { attempts = 2, on = [\"timeout\", \"503\"], per_try_timeout = \"1s\", budget = \"5%\" }, \
         health = { statuses = [\"204\", \"300-399\"], healthy_after = 1 }, eject = { time = \"10m\" }",
    );
    let retry = &read.retry;
    assert_eq!(
        (retry.on_connect, retry.on_reset, retry.on_timeout),
        (false, false, true)
    );
    assert_eq!((retry.attempts, retry.budget), (2, 5));
    assert_eq!(retry.on_status, [StatusCode::SERVICE_UNAVAILABLE]);
    let health = read.health.expect("checks");
    assert_eq!(health.statuses, [204..=204, 300..=399]);
    // The longest is never shorter than the first.
    assert_eq!(read.eject.time_max, Duration::from_secs(600));
}

#[test]
fn waiting_and_hedging_are_read() {
    let read = balance("retry = { wait = \"20s\" }, hedge = { after = \"50ms\" }");
    assert_eq!(read.retry.wait, Duration::from_secs(20));
    let after = Duration::from_millis(50);
    let max_share = 5;
    assert_eq!(read.hedge, Some(Hedge { after, max_share }));
    assert_eq!(balance("retry = {}").hedge, None);
}

#[test]
fn mistakes_in_balancing() {
    let with =
        |keys: &str| format!("{{ type = \"proxy\", upstreams = [\"http://a.test\"], {keys} }}");
    let texts = [
        "{ type = \"proxy\", upstreams = [{ url = \"http://a.test\", backup = true }, { wieght = 2 }, 7] }".to_owned(),
        with("balance = \"least_request\""),
        with("balance = \"hash\""),
        with("balance = { policy = \"round_robin\", by = \"client\" }"),
        with("balance = { policy = \"hash\", by = \"user\" }"),
        with("balance = { policy = \"hash\", by = \"field:a b\" }"),
        with("sticky = { cookie = \"a b\", path = \"shop\", same_site = \"Lax\" }"),
        with("retry = { on = [\"always\", \"404\"], budget = 20, attempts = 0 }"),
        with("retry = { wait = \"1h\" }"),
        with("hedge = { max_share = 5 }"),
        with("health = { path = \"healthz\", statuses = [\"2xx\"], jitter = \"200%\" }"),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(rendered_handlers(&texts));
}

#[test]
fn protocols_to_leave_http_for_are_named_and_none_is_a_version_of_http() {
    let upgrade = |keys: &str| {
        let text = format!("{{ type = \"proxy\", upstreams = [\"http://a.test\"], {keys} }}");
        match handler(&text) {
            Handler::Proxy(proxy) => proxy.upgrade,
            other => panic!("{other:?}"),
        }
    };
    assert!(upgrade("").allow("WebSocket"));
    assert!(!upgrade("").allow("tcp"));
    assert!(!upgrade("upgrade = []").allow("websocket"));
    let two = upgrade("upgrade = [\"tcp\", \"Foo/2\"]");
    for (protocol, may) in [
        ("TCP", true),
        ("tcp/1", true),
        ("foo/2", true),
        ("foo", false),
        ("foo/1", false),
    ] {
        assert_eq!(two.allow(protocol), may, "{protocol}");
    }
    insta::assert_snapshot!(rendered_handlers(&[
        "{ type = \"proxy\", upstreams = [\"http://a.test\"], upgrade = [\"h2c\", \"TLS/1.2\", \"a b\", \"websocket, tcp\"] }",
        "{ type = \"proxy\", upstreams = [\"http://a.test\"], upgrade = \"websocket\" }",
    ]));
}
