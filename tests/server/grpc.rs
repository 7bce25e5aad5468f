//! gRPC end to end: clients over HTTP/2 and HTTP/3, an upstream over h2c.

use serde_json::{Value, json};

use crate::support::{GrpcServer, Server, Site, aioquic, grpc};

fn proxy(upstream: &GrpcServer) -> Server {
    Site {
        https: "protocols = [\"http/1.1\", \"h2\", \"h3\"]".into(),
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"h2c://127.0.0.1:{}\"]",
            upstream.port
        ),
        ..Site::default()
    }
    .start()
}

#[test]
fn every_kind_of_call_goes_through() {
    let upstream = GrpcServer::start();
    let server = proxy(&upstream);
    for (scenario, began) in [
        ("unary", json!("1")),
        ("streaming", Value::Null),
        ("both_ways", Value::Null),
        ("upload", Value::Null),
    ] {
        let call = grpc(&server, scenario);
        assert_eq!(call["code"], "OK", "{scenario}: {call}");
        assert_eq!(call["whole"], true, "{scenario}: {call}");
        assert_eq!(call["began"], began, "{scenario}: {call}");
        assert_eq!(call["ended"], began, "{scenario}: {call}");
    }
    assert_eq!(server.errors(), [] as [Value; 0]);
}

#[test]
fn a_failure_that_is_trailers_alone_reaches_the_client() {
    let upstream = GrpcServer::start();
    let server = proxy(&upstream);
    let call = grpc(&server, "failing");
    assert_eq!(call["code"], "NOT_FOUND", "{call}");
    assert_eq!(call["details"], "no such thing: ü", "{call}");
    assert_eq!(grpc(&server, "unknown")["code"], "UNIMPLEMENTED");
}

#[test]
fn the_upstream_knows_the_deadline_and_a_client_that_gives_up() {
    let mut upstream = GrpcServer::start();
    let server = proxy(&upstream);
    let call = grpc(&server, "deadlines");
    let left = call["left"].as_i64().expect("a number");
    assert!((900..=1000).contains(&left), "{call}");
    assert_eq!(call["code"], "DEADLINE_EXCEEDED", "{call}");
    upstream.wait_given_up();
    assert_eq!(grpc(&server, "cancelled")["code"], "CANCELLED");
    upstream.wait_given_up();
}

#[test]
fn calls_come_over_http_3_too() {
    let mut upstream = GrpcServer::start();
    let server = proxy(&upstream);
    let call = aioquic(&server, "grpc", &["/test.Peer/Echo", "hello"]);
    assert_eq!(call["head"][":status"], "200", "{call}");
    assert_eq!(call["head"]["x-began"], "1", "{call}");
    assert_eq!(call["messages"], json!(["hello"]), "{call}");
    assert_eq!(call["trailers"]["grpc-status"], "0", "{call}");
    assert_eq!(call["trailers"]["x-ended"], "1", "{call}");
    let call = aioquic(&server, "grpc", &["/test.Peer/Count", "5"]);
    assert_eq!(call["messages"], json!(["0", "1", "2", "3", "4"]), "{call}");
    let call = aioquic(&server, "grpc", &["/test.Peer/Missing", ""]);
    assert_eq!(call["head"]["grpc-status"], "5", "{call}");
    assert_eq!(call["trailers"], Value::Null, "{call}");
    // Until it has begun when its time is up, however slow the machine is.
    let call = ["200m", "2S", "20S"].into_iter().find_map(|time| {
        let call = aioquic(&server, "grpc", &["/test.Peer/Never", "", time]);
        (!call["trailers"].is_null()).then_some(call)
    });
    let call = call.expect("a call that began");
    assert_eq!(call["trailers"]["grpc-status"], "4", "{call}");
    upstream.wait_given_up();
}
