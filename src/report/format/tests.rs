use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, Scheme, Took};
use crate::report::SentTo;

fn client() -> ClientAddr {
    ClientAddr::new(SocketAddr::from(([192, 0, 2, 7], 50123)))
}

fn local() -> LocalAddr {
    LocalAddr::new("[2001:db8::1]:443".parse().unwrap())
}

/// 2026-01-02 03:04:05.678
fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

fn text(line: &[u8]) -> String {
    String::from_utf8(line.to_vec()).unwrap()
}

fn access(format: AccessFormat, entry: &Access<'_>) -> String {
    accessed(format, entry, text)
}

fn bare() -> Access<'static> {
    Access::new(time(), client(), local(), "http/1.1", Scheme::Http)
}

fn whole() -> Access<'static> {
    Access {
        peer: Some(ClientAddr::new("10.0.0.1:4711".parse().unwrap())),
        request_id: Some("f6c1"),
        trace_id: Some("4bf9"),
        span_id: Some("00f0"),
        sni: Some("www.shop.test"),
        alpn: Some("h2"),
        tls_version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_256_GCM_SHA384"),
        tls_resumed: Some(true),
        client_subject: Some("CN=alice,O=Shop Ltd"),
        client_fingerprint: Some("0af1"),
        method: "GET",
        host: Some("www.shop.test"),
        path: "/x",
        query: Some("a=b"),
        status: Some(200),
        bytes_sent: 13,
        bytes_received: 7,
        site: Some("shop"),
        pool: Some("api"),
        binding: Some("https://www.shop.test:443"),
        queue_wait: Duration::from_micros(1500),
        handler_time: Duration::from_micros(2250),
        upstream: Some(SentTo {
            name: "http://10.0.0.1:80",
            attempts: 2,
            took: Took {
                connect: Some(Duration::from_micros(1200)),
                response: Some(Duration::from_micros(2100)),
            },
        }),
        duration: Duration::from_millis(40),
        user_agent: Some("curl/8 (x y)"),
        referer: Some("https://a.test/"),
        reason: Some(Reason::QueueFull),
        complete: true,
        ..Access::new(time(), client(), local(), "h2", Scheme::Https)
    }
}

#[test]
fn the_error_log_has_its_fields_by_name_and_in_order() {
    let entry = Refused {
        sni: Some("www.shop.test"),
        alpn: Some("h2 http/1.1"),
        tls_version: Some("TLSv1.2 TLSv1.3"),
        ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1"),
        client_subject: Some("CN=alice"),
        client_fingerprint: Some("0af1"),
        host: Some("www.shop.test"),
        method: Some("GET"),
        path: Some("/x"),
        status: Some(503),
        site: Some("shop"),
        pool: Some("api"),
        upstream: Some("unix:/run/app.sock"),
        detail: Some("the queue of pool api is full (10 requests wait)"),
        ..Refused::new(Reason::QueueFull, client(), local(), Protocol::Http2)
    };
    assert_eq!(
        refused(time(), &entry, text),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","reason":"QueueFull","client":"192.0.2.7:50123","local":"[2001:db8::1]:443","#,
            r#""protocol":"h2","sni":"www.shop.test","alpn":"h2 http/1.1","tls_version":"TLSv1.2 TLSv1.3","#,
            r#""ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","client_subject":"CN=alice","client_fingerprint":"0af1","host":"www.shop.test","method":"GET","path":"/x","status":503,"#,
            r#""site":"shop","pool":"api","upstream":"unix:/run/app.sock","detail":"the queue of pool api is full (10 requests wait)"}"#,
            "\n"
        )
    );
}

#[test]
fn the_error_log_leaves_out_what_is_not_known() {
    let entry = Refused::new(Reason::InvalidCrLf, client(), local(), Protocol::Tcp);
    assert_eq!(
        refused(time(), &entry, text),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","reason":"Invalid_CR/LF","client":"192.0.2.7:50123","#,
            r#""local":"[2001:db8::1]:443","protocol":"tcp"}"#,
            "\n"
        )
    );
}

#[test]
fn an_access_as_json() {
    assert_eq!(
        access(AccessFormat::Json, &whole()),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","client":"192.0.2.7:50123","peer":"10.0.0.1:4711","local":"[2001:db8::1]:443","protocol":"h2","#,
            r#""scheme":"https","sni":"www.shop.test","alpn":"h2","tls_version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","#,
            r#""tls_resumed":true,"client_subject":"CN=alice,O=Shop Ltd","client_fingerprint":"0af1","#,
            r#""method":"GET","host":"www.shop.test","path":"/x","query":"a=b","status":200,"bytes_sent":13,"bytes_received":7,"#,
            r#""site":"shop","pool":"api","binding":"https://www.shop.test:443","queue_wait_ms":1.5,"handler_time_ms":2.25,"#,
            r#""upstream":"http://10.0.0.1:80","upstream_attempts":2,"upstream_connect_ms":1.2,"upstream_response_ms":2.1,"#,
            r#""duration_ms":40.0,"user_agent":"curl/8 (x y)","referer":"https://a.test/","reason":"QueueFull","request_id":"f6c1","trace_id":"4bf9","span_id":"00f0","complete":true}"#,
            "\n"
        )
    );
}

#[test]
fn an_access_as_w3c() {
    assert_eq!(
        access(AccessFormat::W3c, &whole()),
        "2026-01-02 03:04:05 2001:db8::1 GET /x a=b 443 192.0.2.7 HTTP/2.0 curl/8+(x+y) https://a.test/ www.shop.test 200 13 7 \
         40 www.shop.test h2 TLSv1.3 TLS_AES_256_GCM_SHA384 1 api 1 2 QueueFull CN=alice,O=Shop+Ltd 0af1 10.0.0.1 f6c1 4bf9 00f0 \
         http://10.0.0.1:80 2 1 2\n"
    );
    let bare = Access {
        method: "GET",
        path: "/",
        ..bare()
    };
    assert_eq!(
        access(AccessFormat::W3c, &bare),
        "2026-01-02 03:04:05 2001:db8::1 GET / - 443 192.0.2.7 HTTP/1.1 - - - - 0 0 0 - - - - - - 0 0 - - - - - - - - - - -\n"
    );
}

#[test]
fn a_w3c_log_begins_with_its_directives_and_every_line_has_the_fields_they_name() {
    let header = text(&header(AccessFormat::W3c, time()));
    let lines: Vec<_> = header.lines().collect();
    assert_eq!(
        lines[0],
        concat!("#Software: Portunus ", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(lines[1], "#Version: 1.0");
    assert_eq!(lines[2], "#Date: 2026-01-02 03:04:05");
    assert_eq!(
        lines[3],
        "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs-version cs(User-Agent) cs(Referer) \
         cs-host sc-status sc-bytes cs-bytes time-taken x-sni x-alpn x-tls x-cipher x-tls-resumed x-pool x-queue-wait x-handler-time x-reason \
         x-client-subject x-client-fingerprint x-peer x-request-id x-trace-id x-span-id x-upstream x-upstream-attempts x-upstream-connect \
         x-upstream-response"
    );
    let fields = lines[3].split(' ').count() - 1;
    for entry in [whole(), bare()] {
        let line = access(AccessFormat::W3c, &entry);
        assert_eq!(line.trim_end().split(' ').count(), fields, "{line}");
    }
    for format in [AccessFormat::Json, AccessFormat::Common] {
        assert!(super::header(format, time()).is_empty());
    }
}

#[test]
fn an_access_as_common() {
    assert_eq!(
        access(AccessFormat::Common, &whole()),
        "192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] \"GET /x?a=b HTTP/2.0\" 200 13\n"
    );
    let entry = Access {
        method: "HEAD",
        path: "/",
        ..bare()
    };
    assert_eq!(
        access(AccessFormat::Common, &entry),
        "192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] \"HEAD / HTTP/1.1\" - -\n"
    );
}

#[test]
fn nothing_a_client_sends_makes_a_line_or_a_field() {
    let table = [
        ("a\r\nb", r"a\r\nb", "a++b", r"a\x0D\x0Ab"),
        ("a\tb c", r"a\tb c", "a+b+c", r"a\x09b c"),
        (r#"a" 200 1"#, r#"a\" 200 1"#, r#"a"+200+1"#, r"a\x22 200 1"),
        (r"a\b", r"a\\b", r"a\b", r"a\x5Cb"),
        (
            "a\0b\x1b[2J",
            r"a\u0000b\u001b[2J",
            "a+b+[2J",
            r"a\x00b\x1B[2J",
        ),
        ("a\x7fb", "a\x7fb", "a+b", r"a\x7Fb"),
        ("é", "é", "é", r"\xC3\xA9"),
        (
            "a\u{2028}b\u{85}c",
            "a\u{2028}b\u{85}c",
            "a+b+c",
            r"a\xE2\x80\xA8b\xC2\x85c",
        ),
    ];
    for (sent, json, w3c, common) in table {
        let entry = Access {
            method: sent,
            path: sent,
            query: Some(sent),
            host: Some(sent),
            sni: Some(sent),
            user_agent: Some(sent),
            referer: Some(sent),
            ..bare()
        };
        let line = access(AccessFormat::Json, &entry);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.contains(&format!(r#""path":"{json}""#)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for field in [
            "method",
            "path",
            "query",
            "host",
            "sni",
            "user_agent",
            "referer",
        ] {
            assert_eq!(value[field], sent);
        }

        let line = access(AccessFormat::W3c, &entry);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let fields: Vec<_> = line.trim_end_matches('\n').split(' ').collect();
        assert_eq!(fields.len(), 35, "{line}");
        for at in [3, 4, 5, 9, 10, 11, 16] {
            assert_eq!(fields[at], w3c);
        }

        let line = access(AccessFormat::Common, &entry);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(line.matches('"').count(), 2, "{line}");
        assert!(
            line.contains(&format!("\"{common} {common}?{common} HTTP/1.1\"")),
            "{line}"
        );
    }
}

#[test]
fn a_field_longer_than_its_bound_is_cut_where_a_character_ends() {
    let long = format!("{}é", "x".repeat(FIELD_BYTES_MAX - 1));
    let entry = Access {
        path: &long,
        ..bare()
    };
    let cut = format!("{}...", "x".repeat(FIELD_BYTES_MAX - 1));
    for format in [AccessFormat::Json, AccessFormat::W3c, AccessFormat::Common] {
        let line = access(format, &entry);
        assert!(line.contains(&cut), "{format:?}");
        assert!(!line.contains('é') && !line.contains("\\xC3"), "{format:?}");
    }
}

#[test]
fn the_texts_of_a_second_do_not_outlive_it() {
    let mut clock = Clock::new();
    for (millis, rfc3339, common) in [
        (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        (7, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
        (
            971_186_136_999,
            "2000-10-10T13:55:36.999Z",
            "10/Oct/2000:13:55:36 +0000",
        ),
        (
            971_186_137_000,
            "2000-10-10T13:55:37.000Z",
            "10/Oct/2000:13:55:37 +0000",
        ),
        (
            971_186_136_999,
            "2000-10-10T13:55:36.999Z",
            "10/Oct/2000:13:55:36 +0000",
        ),
        (
            1_709_164_800_120,
            "2024-02-29T00:00:00.120Z",
            "29/Feb/2024:00:00:00 +0000",
        ),
    ] {
        clock.set(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(clock.rfc3339(), rfc3339);
        assert_eq!(clock.common(), common.as_bytes());
    }
    clock.set(UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(clock.rfc3339(), "1970-01-01T00:00:00.000Z");
}
