//! The first things that anybody tries.

use crate::support::{Site, Tool, raw};

#[test]
fn curl_gets_the_page_over_http_and_over_https_in_both_versions() {
    let server = Site::default().start();
    let over = |scheme: &str, port: u16, version: &str| {
        Tool::curl(&server)
            .args([version, "-w", " %{http_version} %{http_code}"])
            .arg(format!("{scheme}://localhost:{port}/"))
            .stdout()
    };
    assert_eq!(
        over("http", server.http, "--http1.1"),
        "Hello, World! 1.1 200"
    );
    assert_eq!(
        over("https", server.https, "--http1.1"),
        "Hello, World! 1.1 200"
    );
    assert_eq!(
        over("https", server.https, "--http2"),
        "Hello, World! 2 200"
    );
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_plain_request_on_a_tls_port_gets_a_readable_400() {
    let server = Site::default().start();
    let response = raw::exchange(server.https, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw::status(&response), 400);
    assert!(response.contains("this port speaks TLS"), "{response}");
    let line = server.wait_error("Tls_NotTls");
    assert_eq!(line["protocol"], "tls");
}

#[test]
fn a_stop_lets_the_process_end_by_itself_with_status_0() {
    let mut server = Site::default().start();
    let mut idle = raw::connect(server.http);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert_eq!(raw::read_to_end(&mut idle), "");
}
