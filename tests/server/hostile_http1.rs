//! HTTP/1 between a hostile client and a hostile upstream: what neither may make of the other's messages, and what no one may
//! have refused in silence.

use crate::http1::bytes;
use crate::support::{Site, raw};

/// Heads that hyper would refuse by itself, with a response of its own and no line in the error log, were they to reach it.
const REFUSED_BEFORE_HYPER: &[(&str, &str)] = &[
    // White space that is none (RFC 9110 section 5.6.3).
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: \u{c}chunked~~0~~",
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Transfer-Encoding: chunked\u{c}~~0~~",
        "Header",
    ),
    (
        "POST / HTTP/1.1~Host: a~Content-Length:\u{c}5~~hello",
        "Header",
    ),
    ("GET / HTTP/1.1~Host: a\u{c}~~", "Header"),
    ("GET / HTTP/1.1~Host: a~X: \u{c}~~", "Header"),
    // Empty lines before the request line.
    ("\r\rGET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    ("~\rGET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    ("~~~~~GET / HTTP/1.1~Host: a~~", "Invalid_CR/LF"),
    // The target (RFC 9112 section 3.2).
    ("GET /a<b HTTP/1.1~Host: a~~", "URL"),
    ("GET /a`b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?a>b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?a\"b HTTP/1.1~Host: a~~", "URL"),
    ("GET /a\u{ff}b HTTP/1.1~Host: a~~", "URL"),
    ("GET /?\u{c3}( HTTP/1.1~Host: a~~", "URL"),
    ("GET ?a HTTP/1.1~Host: a~~", "URL"),
    ("GET */a HTTP/1.1~Host: a~~", "URL"),
    ("GET a/b HTTP/1.1~Host: a~~", "URL"),
    ("GET \\a HTTP/1.1~Host: a~~", "URL"),
    ("GET http:// HTTP/1.1~Host: a~~", "URL"),
    ("GET http:///a HTTP/1.1~Host: a~~", "URL"),
    ("GET http:/a HTTP/1.1~Host: a~~", "URL"),
    ("GET http://a<b/ HTTP/1.1~Host: a~~", "URL"),
    ("GET http://[::1/ HTTP/1.1~Host: [::1]~~", "URL"),
    // A host alone, which would pass for the path `/`.
    ("GET a HTTP/1.1~Host: a~~", "URL"),
    ("GET a:80 HTTP/1.1~Host: a:80~~", "URL"),
    ("OPTIONS a HTTP/1.1~Host: a~~", "URL"),
];

#[test]
fn what_hyper_would_refuse_in_silence_is_refused_before_it() {
    let server = Site::default().start();
    for (index, (request, reason)) in REFUSED_BEFORE_HYPER.iter().enumerate() {
        let response = raw::exchange(server.http, bytes(request));
        assert_eq!(raw::status(&response), 400, "{request:?}: {response}");
        // A response of our own has a line of text, which hyper's has not.
        assert!(!response.ends_with("\r\n\r\n"), "{request:?}: {response}");
        let lines = server.wait_all_errors(index + 1);
        assert_eq!(
            (&lines[index]["reason"], lines.len()),
            (&(*reason).into(), index + 1),
            "{request:?}"
        );
    }
}
