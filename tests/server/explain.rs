//! `portunus explain --running`: what it says of a request is what becomes of the request.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;

use crate::support::{Gate, Server, Site, Upstream, folder, raw, wait_for};

/// Whether it would be served, and what was said on stdout and on stderr.
fn explain(server: &Server, arguments: &[&str]) -> (bool, String, String) {
    let url = format!("http://localhost:{}/", server.http);
    let config = server.path().join("config/bindings.toml");
    run(&config, &[&["explain", &url], arguments].concat())
}

fn run(config: &Path, arguments: &[&str]) -> (bool, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(config)
        .args(arguments)
        .output()
        .expect("the portunus binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        done.status.success(),
        text(&done.stdout),
        text(&done.stderr),
    )
}

/// The explanation as JSON, which says the same as the text.
fn explained(server: &Server) -> Value {
    let (served, text, _) = explain(server, &["--running"]);
    let (also, json, _) = explain(server, &["--running", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!((served, also), (json["served"] == true, served), "{text}");
    if let Some(reason) = json["refused"]["reason"].as_str() {
        assert!(text.contains(reason), "{reason}: {text}");
    }
    json
}

fn get(server: &Server) -> u16 {
    raw::get(&mut raw::connect(server.http), "/").0
}

/// The request ends as was said: the same status to the client, and the same reason, status and words in the error log.
fn ends_as_said(server: &Server, json: &Value) {
    let refused = &json["refused"];
    let reason = refused["reason"].as_str().expect("a reason");
    assert_eq!(json["served"], false);
    assert_eq!(Value::from(get(server)), refused["status"], "{json}");
    let logged = server.wait_error(reason);
    assert_eq!(logged["status"], refused["status"], "{logged}");
    if refused.get("likely").is_none() {
        assert_eq!(logged["detail"], refused["detail"], "{logged}");
    }
}

#[test]
fn a_pool_that_is_stopped_is_explained_by_the_refusal_that_its_requests_get() {
    let server = Site::default().start();
    let json = explained(&server);
    assert_eq!(json["served"], true);
    assert_eq!(json["now"]["state"], "Running");
    let (stopped, ..) = run(
        &server.path().join("config/bindings.toml"),
        &["pool", "stop", "main"],
    );
    assert!(stopped);
    let json = explained(&server);
    assert_eq!(json["refused"]["reason"], "AppShutdown");
    assert_eq!(json["refused"]["status"], 503);
    assert_eq!(json["now"]["state"], "Stopped");
    ends_as_said(&server, &json);
    // The bindings file knows nothing of that, and of the port that the system chose.
    let (_, text, _) = explain(&server, &[]);
    assert!(!text.contains("Stopped"), "{text}");

    let (started, ..) = run(
        &server.path().join("config/bindings.toml"),
        &["pool", "start", "main"],
    );
    assert!(started);
    let (served, text, _) = explain(&server, &["--running"]);
    assert!(served, "{text}");
    assert!(text.contains("Running: 0 of "), "{text}");
    assert!(text.ends_with("It would be served.\n"), "{text}");
    assert_eq!(get(&server), 200);
}

#[test]
fn a_full_pool_is_explained_by_the_place_in_its_queue_and_then_by_the_refusal() {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let site = Site {
        pool: "concurrency = 1\nqueue_length = 1".into(),
        handler: upstream.handler(),
        ..Site::default()
    };
    let server = site.start();
    let mut clients = Vec::new();
    for (running, waiting) in [(1, 0), (1, 1)] {
        let mut client = raw::connect(server.http);
        raw::ask(&mut client, "/");
        clients.push(client);
        wait_for("the request in the pool", || {
            let now = explained(&server)["now"].clone();
            (now["running"] == running && now["waiting"] == waiting).then_some(())
        });
        if waiting == 0 {
            let json = explained(&server);
            let waits = json["waits"].as_str().expect("a wait");
            assert!(
                waits.starts_with("in place 1 of 1 in its pool's queue"),
                "{waits}"
            );
            assert_eq!(json["served"], true);
        }
    }
    let json = explained(&server);
    assert_eq!(json["refused"]["reason"], "QueueFull");
    ends_as_said(&server, &json);
    gate.open();
}

#[test]
fn upstreams_that_are_all_down_are_explained_by_how_they_fail_until_one_answers() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let upstream = Upstream::start(move |talk| {
        while talk.read_head().is_some() {
            if !is_well.load(SeqCst) {
                return;
            }
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = Site {
        handler: upstream.handler() + "\nretry = { attempts = 1 }",
        ..Site::default()
    };
    let server = site.start();
    // Nobody has found out yet.
    assert_eq!(explained(&server)["served"], true);
    assert_eq!(get(&server), 502);
    let json = explained(&server);
    assert_eq!(json["refused"]["reason"], "Upstream_Reset");
    assert_eq!(json["refused"]["likely"], true);
    assert_eq!(json["now"]["upstreams"][0]["failing"], true);
    ends_as_said(&server, &json);
    let (_, text, _) = explain(&server, &["--running"]);
    for said in [
        "is up, and fails; last at ",
        "It would most likely be refused: 502, Upstream_Reset: every upstream",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    well.store(true, SeqCst);
    assert_eq!(get(&server), 200);
    let json = explained(&server);
    assert_eq!(json["served"], true);
    assert_eq!(json["now"]["upstreams"][0].get("last_failure"), None);
}

#[test]
fn upstreams_without_room_are_explained_by_the_refusal_of_their_queue() {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let site = Site {
        handler: format!(
            "type = \"proxy\"\n\
             upstreams = [{{ url = \"http://127.0.0.1:{}\", max_connections = 1 }}]\n\
             queue = {{ length = 0 }}",
            upstream.port
        ),
        ..Site::default()
    };
    let server = site.start();
    let mut client = raw::connect(server.http);
    raw::ask(&mut client, "/");
    wait_for("the request at the upstream", || {
        (upstream.heads_so_far() == 1).then_some(())
    });
    let json = explained(&server);
    assert_eq!(json["refused"]["reason"], "QueueFull");
    assert_eq!(json["now"]["state"], "Running");
    ends_as_said(&server, &json);
    gate.open();
}

#[test]
fn an_application_that_keeps_failing_is_explained_with_why() {
    let handler = "type = \"process\"\ncommand = [\"false\"]\nrapid_fail = { failures = 2 }";
    let site = Site {
        handler: handler.into(),
        ..Site::default()
    };
    let server = site.start();
    assert_eq!(get(&server), 503);
    let json = wait_for("a pool that is disabled", || {
        let json = explained(&server);
        (json["now"]["state"] == "Disabled").then_some(json)
    });
    assert_eq!(json["refused"]["reason"], "AppOffline");
    let known = server.errors().len();
    assert_eq!(get(&server), 503);
    let logged = server.wait_all_errors(known + 1);
    let logged = logged.last().expect("a line");
    for field in ["reason", "status", "detail"] {
        assert_eq!(logged[field], json["refused"][field], "{logged}");
    }
}

#[test]
fn who_asks_a_server_that_does_not_run_is_told_what_else_there_is() {
    let folder = folder();
    let config = folder.path().join("config/bindings.toml");
    std::fs::write(&config, Site::default().text()).expect("the bindings file");
    let (done, text, why) = run(&config, &["explain", "http://localhost/", "--running"]);
    assert!(!done && text.is_empty(), "{text}");
    assert!(why.contains("no server answers at"), "{why}");
    assert!(
        why.contains("Without --running the bindings file alone is asked"),
        "{why}"
    );
    // Where it is asked means nothing where it is not.
    let elsewhere = ["explain", "http://localhost/", "--admin", "unix:/nowhere"];
    let (done, _, why) = run(&config, &elsewhere);
    assert!(!done && why.contains("--running"), "{why}");
}
