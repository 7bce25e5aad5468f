//! Requests that fire a rule: written step by step, without secrets, in bounds, and never in the way.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};

use serde_json::Value;

use crate::support::{Nginx, Server, Site, Upstream, free_port, raw, wait_for};

const FOLDER: &str = "failed-requests";

/// A server with rules, or other text of `[failed_requests]`.
fn watching(rules: &str, handler: &str) -> Site {
    Site {
        head: format!("[server]\nthreads = 1\nrequest_id = \"response\"\n{rules}"),
        handler: handler.to_owned(),
        ..Site::default()
    }
}

fn rule(text: &str) -> String {
    format!("[[failed_requests.rule]]\n{text}\n")
}

fn get(server: &Server, target: &str, fields: &str) -> String {
    raw::exchange(
        server.http,
        format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n"),
    )
}

fn files(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.path().join(FOLDER));
    let entries = entries.into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "json"));
    files.sort();
    files
}

/// Waits for so many files.
fn records(server: &Server, count: usize) -> Vec<Value> {
    let files = wait_for(&format!("{count} files"), || {
        let files = files(server);
        (files.len() >= count).then_some(files)
    });
    let read = |file: &PathBuf| fs::read_to_string(file).expect("a file that is whole");
    let parse = |text: String| serde_json::from_str(&text).expect("JSON");
    files.iter().map(read).map(parse).collect()
}

/// The value of a series, as `/metrics` has it now.
fn metric(server: &Server, series: &str) -> f64 {
    let socket = server.path().join("run/portunus.sock");
    let mut stream = UnixStream::connect(socket).expect("the admin socket");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    value.trim().parse().expect("a number")
}

fn counted(server: &Server, result: &str) -> f64 {
    metric(
        server,
        &format!("portunus_failed_requests_total{{result=\"{result}\"}}"),
    )
}

fn portunus(server: &Server, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(arguments)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env("TMPDIR", server.path())
        .output()
        .expect("the portunus binary");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn steps(record: &Value) -> Vec<&str> {
    let steps = record["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| step["step"].as_str().expect("a name"))
        .collect()
}

#[test]
fn an_upstream_that_is_down_is_told_with_every_attempt_and_without_secrets() {
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\", \"http://127.0.0.1:{}\"]\nretry = {{ wait = \"0s\" }}",
        free_port(),
        free_port()
    );
    let rules = format!(
        "[failed_requests]\nredact = [\"X-Session\"]\n{}",
        rule("status = [\"5xx\"]")
    );
    let server = watching(&rules, &handler).start();
    let secrets = "Authorization: Bearer top-secret\r\nCookie: sid=top-secret\r\nX-Session: top-secret\r\nX-Plain: <b>plain</b>\r\n";
    let response = get(&server, "/a?token=top-secret&page=2", secrets);
    assert_eq!(raw::status(&response), 502, "{response}");
    let record = records(&server, 1).remove(0);
    assert_eq!(record["reason"], "Upstream_Connect");
    assert_eq!(record["blame"], "upstream");
    assert_eq!(
        (&record["site"], &record["route"], &record["pool"]),
        (&"main".into(), &"/".into(), &"main".into())
    );
    let binding = format!("http://127.0.0.1:{} *", server.http);
    assert_eq!(record["binding"], binding);
    assert_eq!(
        record["request"]["target"],
        "/a?token=[redacted, 10 bytes]&page=2"
    );
    assert_eq!(record["response"]["status"], 502);
    assert_eq!(record["complete"], true);
    let causes: Vec<&Value> = (record["attempts"].as_array().unwrap().iter())
        .map(|it| &it["cause"])
        .collect();
    assert_eq!(causes, ["first", "retry"]);
    assert_eq!(record["rules"][0]["text"], "status = [\"500-599\"]");
    assert_eq!(
        steps(&record),
        [
            "head_read",
            "binding_sought",
            "binding_found",
            "route_found",
            "handler_began",
            "attempt_began",
            "attempt_failed",
            "attempt_began",
            "attempt_failed",
            "handler_answered",
            "refused",
            "response_head",
            "first_byte",
            "last_byte"
        ]
    );
    let id = record["request_id"].as_str().expect("an id");
    assert!(response.contains(id), "{response}");
    let text = record.to_string();
    assert!(
        !text.contains("top-secret") && text.contains("<b>plain</b>"),
        "{text}"
    );
    wait_for("the count", || {
        (counted(&server, "written") == 1.0).then_some(())
    });
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = files(&server).remove(0);
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.contains("Z-main-502-"), "{name}");

    let (ok, listed, _) = portunus(&server, &["trace", "list"]);
    assert!(ok && listed.trim().ends_with(name), "{listed}");
    let (ok, shown, _) = portunus(&server, &["trace", "open", "--print"]);
    assert!(
        ok && shown.starts_with("GET /a?token=[redacted, 10 bytes]&page=2 → 502 Upstream_Connect"),
        "{shown}"
    );
    let (ok, page, _) = portunus(&server, &["trace", "open", name]);
    assert!(ok, "{page}");
    let page = fs::read_to_string(page.trim()).expect("the page");
    assert!(
        page.contains("&lt;b&gt;plain&lt;/b&gt;") && !page.contains("<b>"),
        "{page}"
    );
    let (ok, _, why) = portunus(&server, &["trace", "open", "nowhere.json"]);
    let told = why.contains("in /") && why.contains("`portunus trace list` has the names");
    assert!(!ok && told && why.contains("nowhere.json"), "{why}");
    let (ok, _, why) = portunus(&server, &["trace", "open", "/nowhere/a.json"]);
    assert!(!ok && why.contains("cannot be read"), "{why}");
    let toml = server.path().join("config/bindings.toml");
    let (ok, _, why) = portunus(&server, &["trace", "open", toml.to_str().unwrap()]);
    assert!(
        !ok && why.contains("is no failed request of this version"),
        "{why}"
    );
}

#[test]
fn an_upstream_s_own_error_is_told_with_its_connection_new_or_kept() {
    let nginx = Nginx::start("location / { return 503 'busy'; }");
    let site = watching(
        &rule("status = [503]\nsite = \"main\""),
        &format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
            nginx.port
        ),
    );
    let server = site.start();
    for _ in 0..2 {
        assert_eq!(raw::status(&get(&server, "/", "")), 503);
    }
    let records = records(&server, 2);
    let kept = |record: &Value| record["attempts"][0]["kept_connection"].clone();
    assert_eq!(
        (kept(&records[0]), kept(&records[1])),
        (false.into(), true.into())
    );
    for record in &records {
        // The answer is the upstream's own: nothing failed here.
        assert_eq!(
            (&record["reason"], &record["attempts"][0]["status"]),
            (&Value::Null, &503.into())
        );
    }
    assert!(steps(&records[0]).contains(&"attempt_connected"));
    assert!(steps(&records[1]).contains(&"attempt_kept_connection"));
}

#[test]
fn of_two_upstreams_that_are_asked_at_once_the_slower_is_told_as_let_go() {
    let slow = Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    });
    let quick =
        Upstream::start(|talk| talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let handler = format!(
        "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\", \"http://127.0.0.1:{}\"]\n\
         hedge = {{ after = \"50ms\", max_share = \"100%\" }}",
        slow.port, quick.port
    );
    let server = watching(&rule("path = \"/\""), &handler).start();
    // One of the two begins with the slow one.
    for _ in 0..2 {
        assert!(get(&server, "/", "").ends_with("ok"));
    }
    let records = records(&server, 2);
    let name = format!("http://127.0.0.1:{}", slow.port);
    let began_slow = |it: &&Value| it["attempts"][0]["upstream"] == name.as_str();
    let hedged = records.iter().find(began_slow).expect("the slow one first");
    let attempts = &hedged["attempts"];
    assert_eq!(
        (&attempts[0]["ended_ms"], &attempts[1]["cause"]),
        (&Value::Null, &"hedge".into())
    );
    assert_eq!(attempts[1]["status"], 200);
}

#[test]
fn a_queue_s_passport_tells_the_place_the_wait_and_who_had_no_place() {
    let barrier = Arc::new(Barrier::new(2));
    let let_go = Arc::clone(&barrier);
    let upstream = Upstream::start(move |talk| {
        if talk.number == 0 && talk.read_head().is_some() {
            let_go.wait();
        }
        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let site = Site {
        pool: "concurrency = 1\nqueue_length = 1".into(),
        ..watching(
            &format!(
                "{}{}",
                rule("path = \"/second\"\nlonger_than = \"1ms\""),
                rule("reason = [\"QueueFull\"]")
            ),
            &upstream.handler(),
        )
    };
    let server = site.start();
    let ask = |target: &str| {
        let mut stream = raw::connect(server.http);
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let mut first = ask("/first");
    upstream.head();
    let mut second = ask("/second");
    let waits = || metric(&server, "portunus_queue_requests{pool=\"main\"}") == 1.0;
    wait_for("one that waits", || waits().then_some(()));
    assert_eq!(raw::status(&get(&server, "/third", "")), 503);
    barrier.wait();
    assert!(raw::read_to_end(&mut first).ends_with("ok"));
    assert!(raw::read_to_end(&mut second).ends_with("ok"));
    let records = records(&server, 2);
    let of = |target: &str| {
        records
            .iter()
            .find(|it| it["request"]["target"] == target)
            .expect("its file")
    };
    let (second, third) = (of("/second"), of("/third"));
    let queue = &second["queue"];
    assert_eq!(
        (
            &queue["position"],
            &queue["length"],
            &queue["running"],
            &queue["admitted"]
        ),
        (&1.into(), &1.into(), &1.into(), &true.into())
    );
    assert!(queue["wait_ms"].as_f64().unwrap() <= second["duration_ms"].as_f64().unwrap());
    assert_eq!(
        (&third["queue"], &third["reason"]),
        (&Value::Null, &"QueueFull".into())
    );
    assert_eq!(third["blame"], "shed");
    assert_eq!(
        records.len(),
        2,
        "the first took as long, and no rule is for it"
    );
}

#[test]
fn what_never_got_to_a_site_is_told_by_rules_that_name_none_and_a_handshake_is_no_request() {
    let rules = rule("status = [400, 404]") + &rule("site = \"main\"\nreason = [\"Header\"]");
    let server = watching(&rules, "type = \"respond\"\nbody = \"x\"").start();
    let head = "GET /bad HTTP/1.1\r\nHost: a.test\r\nA b: c\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.https, head)), 400);
    server.wait_error("Tls_NotTls");
    assert_eq!(raw::status(&raw::exchange(server.http, head)), 400);
    let record = records(&server, 1).remove(0);
    assert_eq!(files(&server).len(), 1);
    assert_eq!(
        (&record["site"], &record["request"], &record["host"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(record["rules"].as_array().unwrap().len(), 1);
    assert_eq!(steps(&record)[..2], ["head_unread", "refused"]);
    let name = files(&server).remove(0);
    assert!(
        name.to_str().unwrap().contains("Z-no_site-400-"),
        "{name:?}"
    );
}

#[test]
fn without_a_rule_there_is_no_folder_and_a_reload_changes_the_rules() {
    let respond = "type = \"respond\"\nstatus = 404";
    let mut server = watching("", respond).start();
    assert_eq!(raw::status(&get(&server, "/", "")), 404);
    assert!(
        server
            .reload(&watching(&rule("status = [404]"), respond).text())
            .contains("reloaded")
    );
    assert!(!server.path().join(FOLDER).exists());
    get(&server, "/with", "");
    assert_eq!(records(&server, 1)[0]["request"]["target"], "/with");
    let elsewhere = format!(
        "[failed_requests]\nfolder = \"../{FOLDER}/elsewhere\"\n{}",
        rule("status = [404]")
    );
    server.reload(&watching(&elsewhere, respond).text());
    get(&server, "/moved", "");
    let moved = server.path().join(FOLDER).join("elsewhere");
    let elsewhere = || fs::read_dir(&moved).is_ok_and(|mut files| files.next().is_some());
    wait_for("a file elsewhere", || elsewhere().then_some(()));
    server.reload(&watching("", respond).text());
    get(&server, "/without", "");
    wait_for("both counted", || {
        (counted(&server, "written") == 2.0).then_some(())
    });
    assert_eq!(files(&server).len(), 1);
    let bad = server.reload(&watching(&rule("site = \"nobody\""), respond).text());
    assert!(bad.contains("was not taken"), "{bad}");
}

#[test]
fn files_are_bounded_in_number_and_size() {
    let rules = format!(
        "[failed_requests]\nmax_files = 3\nmax_file_bytes = \"16KiB\"\n{}",
        rule("path = \"/\"")
    );
    let server = watching(&rules, "type = \"respond\"\nbody = \"x\"").start();
    let long = format!("X-Long: {}\r\n", "y".repeat(20_000));
    for number in 0..6 {
        get(&server, &format!("/{number}"), &long);
    }
    wait_for("all written", || {
        (counted(&server, "written") == 6.0).then_some(())
    });
    let left = files(&server);
    assert_eq!(left.len(), 3, "{left:?}");
    for file in &left {
        assert!(fs::metadata(file).unwrap().len() <= 16 << 10);
    }
    let records = records(&server, 3);
    let targets: Vec<&Value> = records.iter().map(|it| &it["request"]["target"]).collect();
    assert_eq!(targets, ["/3", "/4", "/5"]);
    assert!(records.iter().all(|it| it["shortened"] == true));
}

#[test]
fn a_folder_that_cannot_be_written_to_stops_nobody_and_is_told_once() {
    let mut server = watching(&rule("path = \"/\""), "type = \"respond\"\nbody = \"x\"").start();
    let in_the_way = server.path().join(FOLDER);
    fs::write(&in_the_way, "a file").expect("a file");
    for _ in 0..3 {
        assert_eq!(raw::status(&get(&server, "/", "")), 200);
    }
    wait_for("all failed", || {
        (counted(&server, "failed") == 3.0).then_some(())
    });
    let log = server.log();
    let told = log
        .lines()
        .filter(|line| line.contains("a failed request cannot be written"));
    assert_eq!(told.count(), 1, "{log}");
    fs::remove_file(&in_the_way).expect("it was there");
    get(&server, "/again", "");
    assert_eq!(records(&server, 1)[0]["request"]["target"], "/again");
}

#[test]
fn what_was_handed_over_before_a_stop_is_written() {
    let mut server = watching(&rule("path = \"/\""), "type = \"respond\"\nbody = \"x\"").start();
    for _ in 0..10 {
        get(&server, "/", "");
    }
    server.signal("TERM");
    assert!(server.wait_exit().success());
    assert_eq!(files(&server).len(), 10);
}
