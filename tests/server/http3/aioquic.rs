//! HTTP/3, asked by aioquic: two that agree on a mistake are one implementation too few.

use serde_json::json;

use super::*;
use crate::support::{Authority, aioquic, aioquic_trusting};

/// H3_NO_ERROR and H3_MESSAGE_ERROR, as aioquic tells them (RFC 9114 section 8.1).
const NO_ERROR: u64 = 0x100;
const MESSAGE_ERROR: u64 = 0x10e;

/// Whether a response came whole, with this content.
fn assert_served(response: &Value, content: &str) {
    assert_eq!(response["head"][":status"], "200", "{response}");
    assert_eq!(response["content"], content, "{response}");
    assert_eq!(response["reset"], Value::Null, "{response}");
}

#[test]
fn a_request_and_its_head_alone_are_answered() {
    let server = site().start();
    let response = aioquic(&server, "ask", &["GET", "/"]);
    assert_served(&response, "Hello, World!");
    assert_eq!(response["head"]["content-length"], "13");
    let response = aioquic(&server, "ask", &["HEAD", "/"]);
    assert_served(&response, "");
    assert_eq!(response["head"]["content-length"], "13");
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn content_and_trailers_go_up_and_come_down_through_a_proxy() {
    let upstream = Upstream::start(|talk| {
        let head = talk.read_head().expect("a head");
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        let mut content = String::new();
        while !content.ends_with("0\r\nx-up: 1\r\n\r\n") {
            content += &String::from_utf8(talk.read_content(1)).expect("text");
        }
        assert!(content.contains("0123456789"), "{content}");
        talk.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-down\r\n\r\na\r\n0123456789\r\n0\r\nx-down: 2\r\n\r\n",
        );
    });
    let server = Site {
        handler: upstream.handler(),
        ..site()
    }
    .start();
    let trailers = json!([["x-up", "1"]]).to_string();
    let fields = json!([["te", "trailers"], ["trailer", "x-up"]]).to_string();
    let request = ["POST", "/echo", "0123456789", &fields, &trailers];
    let response = aioquic(&server, "ask", &request);
    assert_served(&response, "0123456789");
    assert_eq!(response["trailers"], json!({"x-down": "2"}));
}

#[test]
fn content_that_nobody_reads_is_no_error_to_the_client() {
    let server = site().start();
    for length in ["1000", "100000", "2000000"] {
        let response = aioquic(&server, "early", &[length]);
        assert_served(&response, "Hello, World!");
        let stopped = &response["stopped"];
        assert!(stopped.is_null() || *stopped == NO_ERROR, "{response}");
    }
    let lines = accesses(&server, 3);
    assert!(lines.iter().all(|line| line["complete"] == true));
}

#[test]
fn two_hundred_requests_at_once_are_all_answered() {
    let server = Site {
        handler: "type = \"respond\"\nbody = \"late\"\ndelay = \"200ms\"".into(),
        ..site()
    }
    .start();
    let responses = aioquic(&server, "together", &["200"]);
    let responses = responses.as_array().expect("a list");
    assert_eq!(responses.len(), 200);
    for response in responses {
        assert_served(response, "late");
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn a_client_that_must_show_where_it_is_does_and_is_served() {
    let server = Site {
        head: "[server]\nthreads = 1\n".into(),
        ..Site::default()
    }
    .start();
    let sockets = block_on(super::handshakes::silent_handshakes(&server, 132));
    let told = aioquic(&server, "retried", &[]);
    assert_eq!(told["retries"], 1, "{told}");
    assert_served(&told["response"], "Hello, World!");
    drop(sockets);
}

#[test]
fn a_client_that_begins_with_another_version_comes_to_speak_ours() {
    let server = site().start();
    let told = aioquic(&server, "negotiated", &[]);
    assert_eq!(told["version"], 1, "{told}");
    assert_served(&told["response"], "Hello, World!");
}

#[test]
fn a_client_that_changes_its_ids_and_keys_goes_on() {
    let server = site().start();
    let told = aioquic(&server, "renewed", &[]);
    assert_eq!(told["statuses"], json!(["200", "200", "200", "200"]));
    assert_eq!(told["ids"], 4, "{told}");
    assert_eq!(told["phases"], json!([1, 0, 1, 0]), "{told}");
}

#[test]
fn a_client_that_changes_its_port_in_the_middle_of_a_download_goes_on() {
    let server = with_big_file(2 << 20);
    // Each connection is some thread's, and new ports are hashed to any of them.
    for _ in 0..3 {
        let told = aioquic(&server, "moving", &["/big", "400000"]);
        assert_eq!(told["moves"], 5, "{told}");
        assert_eq!(told["response"]["length"], 2 << 20, "{told}");
    }
}

#[test]
fn a_session_resumes_within_its_binding_alone() {
    let folder = crate::support::folder();
    let authority = Authority::new("Test CA");
    let names = ["a.test", "b.test"];
    for name in names {
        let certificate = authority.issue(&[name]);
        certificate.write(&folder.path().join("certs"), name);
    }
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    let bindings = names.map(|name| {
        format!(
            "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{name}\"\nsite = \"main\"\n"
        )
    });
    let text = bindings.concat()
        + "[[site]]\nname = \"main\"\n[[site.route]]\npool = \"main\"\n[[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\nbody = \"it\"\n";
    let server = Server::start_in(folder, &text, |_| {});
    let told = aioquic_trusting(&server, &ca, "resumed", &names);
    for (told, (name, resumed)) in told
        .as_array()
        .expect("a list")
        .iter()
        .zip([("a.test", true), ("b.test", false)])
    {
        assert_eq!(told["name"], name);
        assert_eq!(told["resumed"], resumed, "{told}");
        assert_served(&told["response"], "it");
    }
}

#[test]
fn what_nobody_knows_is_ignored() {
    let server = site().start();
    let told = aioquic(&server, "greased", &[]);
    assert_eq!(told["ended"], Value::Null, "{told}");
    for response in told["responses"].as_array().expect("a list") {
        assert_served(response, "Hello, World!");
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn requests_that_are_none_are_reset_and_disturb_no_other() {
    let server = site().start();
    let head = |fields: &[(&str, &str)]| json!(fields);
    let good = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    let with = |more: &[(&str, &str)]| head(&[&good[..], more].concat());
    let heads = [
        head(&good[1..]),
        head(&good[..3]),
        with(&[(":path", "/again")]),
        with(&[(":status", "200")]),
        with(&[("x-field", "1"), (":extra", "1")]),
        with(&[("X-Field", "1")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "five")]),
        with(&[("x-field", "1\r\nx-other: 2")]),
        with(&[("x-field", "1\0")]),
    ];
    let told = aioquic(&server, "malformed", &[&json!(heads).to_string()]);
    let malformed = told["malformed"].as_array().expect("a list");
    for (head, response) in heads.iter().zip(malformed) {
        assert_eq!(response["reset"], MESSAGE_ERROR, "{head}: {response}");
        assert_eq!(response["head"], Value::Null, "{head}: {response}");
    }
    assert_served(&told["good"], "Hello, World!");
    let lines = server.wait_errors("H3_Protocol", heads.len());
    assert_eq!(lines.len(), heads.len());
}

#[test]
fn each_that_does_not_come_to_speak_is_told_once_and_why() {
    let server = Site::default().start();
    let messages = [
        ("02000001", "no ClientHello"),
        ("01ffffff00", "longer than 16384 bytes"),
        (
            "010000020303",
            "a length inside the ClientHello does not fit",
        ),
    ];
    for (count, (message, why)) in messages.into_iter().enumerate() {
        aioquic(&server, "misspoken", &[message]);
        let lines = server.wait_all_errors(count + 1);
        assert_eq!(lines.len(), count + 1, "{lines:?}");
        let line = &lines[count];
        assert_eq!(line["reason"], "Tls_Other", "{line}");
        assert_eq!(line["protocol"], "quic", "{line}");
        let detail = line["detail"].as_str().expect("a detail");
        assert!(detail.contains(why), "{line}");
    }
}

#[test]
fn a_handshake_that_breaks_a_rule_of_quic_is_told() {
    let server = Site::default().start();
    let told = aioquic(&server, "impossible", &[]);
    assert!(told.is_string(), "{told}");
    let line = server.wait_error("Quic_Handshake");
    assert_eq!(line["protocol"], "quic", "{line}");
    assert_eq!(line["sni"], "localhost", "{line}");
    assert_eq!(server.errors().len(), 1);
}

#[test]
fn handshakes_that_fail_under_any_address_fill_no_log() {
    let server = Site {
        head: "[server]\nthreads = 1\n".into(),
        ..Site::default()
    }
    .start();
    // Each has a port of its own, and none shows that it is there.
    aioquic(&server, "misspoken", &["02000001"; 300]);
    let told = aioquic(&server, "retried", &[]);
    assert_eq!(told["retries"], 1, "{told}");
    assert_served(&told["response"], "Hello, World!");
    assert_eq!(server.wait_all_errors(128).len(), 128);
}
