//! Workers that fail: told apart, told of, replaced, and in the end no longer started.

use std::io::Write as _;

use super::*;

#[test]
fn an_application_that_keeps_failing_disables_its_pool_until_it_is_started_by_hand() {
    let mut app = App::start_with("", "rapid_fail = { failures = 3 }", &[("broken", "")]);
    assert_eq!(app.get("/").0, 503);
    let error = app.server.wait_error("AppOffline");
    let detail = error["detail"].as_str().expect("a sentence");
    assert!(
        detail.contains("status 1") && detail.contains("the application is broken"),
        "{detail}"
    );
    let pool = app.wait_state("Disabled");
    assert_eq!(app.starts(), 3);
    let failure = pool["last_failure"]["what"].as_str().expect("a sentence");
    assert!(failure.contains("the application is broken"), "{failure}");
    app.server
        .wait_lines("the pool is disabled: 3 failures within 5m", 1);
    fs::remove_file(app.file("broken")).expect("it is mended");
    assert_eq!(app.get("/").0, 503);
    let (done, said) = app.ask(&["pool", "start", "main"]);
    assert!(done, "{said}");
    assert_eq!(app.get("/").0, 200);
}

#[test]
fn a_request_that_a_worker_dies_with_is_502_and_told_with_what_it_died_of() {
    let app = App::start("", "");
    let post =
        "POST /crash HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let answer = raw::exchange(app.server.http, post);
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let error = app.server.wait_error("Connection_Abandoned_By_ReqQueue");
    let detail = error["detail"].as_str().expect("a sentence");
    for told in [
        "ended by itself with status 3",
        "about to crash",
        "it was serving POST /crash",
    ] {
        assert!(detail.contains(told), "{told}: {detail}");
    }
    assert_eq!(app.get("/").0, 200, "another worker is started");
    assert_eq!(app.starts(), 2);
}

#[test]
fn a_request_that_may_be_repeated_is_given_to_another_worker() {
    let app = App::start("", "");
    let (status, text) = app.get("/crash-once");
    assert_eq!((status, text.as_str()), (200, "the second time"));
    assert_eq!(app.starts(), 2);
    assert!(app.server.errors().is_empty());
}

#[test]
fn a_request_that_kills_whoever_gets_it_kills_two_workers_and_no_third() {
    let app = App::start("", "");
    assert_eq!(app.get("/crash").0, 502);
    assert_eq!(app.get("/").0, 200);
    assert_eq!(app.starts(), 3);
}

#[test]
fn a_worker_that_closes_a_connection_and_lives_is_sent_the_request_once() {
    let app = App::start("", "");
    assert_eq!(app.get("/hang-up").0, 502);
    app.server.wait_error("Connection_Abandoned_By_ReqQueue");
    assert_eq!(app.starts(), 1);
}

#[test]
fn a_worker_that_hangs_is_found_by_its_ping_and_replaced() {
    let mut app = App::start(
        "",
        // Longer than a worker that is well waits for the processor.
        "ping_interval = \"100ms\"\nping_timeout = \"3s\"\nping_path = \"/health\"",
    );
    let hung = app.pid();
    signal("STOP", hung);
    // It waits in a worker that does not move, until that is killed; then another has it.
    assert_ne!(app.pid(), hung);
    assert!(is_gone(hung));
    let told = app.server.wait_lines("did not answer a ping within 3s", 1);
    assert!(told[0].contains(&format!("(pid {hung})")), "{told:?}");
}

#[test]
fn what_killed_a_worker_is_told_and_nothing_of_it_is_left() {
    let app = App::start("", "");
    let pid = app.pid();
    signal("KILL", pid);
    let pool = wait_for("the failure", || {
        let pool = app.pool();
        (!pool["last_failure"].is_null()).then_some(pool)
    });
    let told = pool["last_failure"]["what"].as_str().expect("a sentence");
    assert!(told.contains("was killed by SIGKILL"), "{told}");
    assert_ne!(app.pid(), pid);
}

#[test]
fn new_settings_that_do_not_work_leave_the_old_worker_in_its_place_and_are_told() {
    let mut app = App::start("", "");
    let pid = app.pid();
    assert!(app.reload("env = { BROKEN = \"1\" }").contains("reloaded"));
    let told = app
        .server
        .wait_lines("did not come up, and the one before it stays", 1);
    assert!(told[0].contains("the application is broken"), "{told:?}");
    assert_eq!(app.pid(), pid);
    let (done, said) = app.ask(&["pool", "recycle", "main"]);
    assert!(
        !done && said.contains("the application is broken"),
        "{said}"
    );
    assert_eq!(
        (app.pid(), app.pool()["state"].as_str()),
        (pid, Some("Running"))
    );
}

#[test]
fn on_probation_a_mended_application_comes_back_by_itself() {
    let app = App::start_with(
        "",
        "rapid_fail = { failures = 1, probation = \"300ms\" }",
        &[("broken", "")],
    );
    assert_eq!(app.get("/").0, 503);
    app.wait_state("Disabled");
    fs::remove_file(app.file("broken")).expect("it is mended");
    wait_for("the application", || (app.get("/").0 == 200).then_some(()));
}

#[test]
fn no_worker_outlives_the_server_however_that_ends() {
    for end in ["TERM", "QUIT", "KILL"] {
        let mut app = App::start("", "workers = 2\nstart_mode = \"always\"");
        app.wait_state("Running");
        let pids: Vec<u32> = wait_for("two workers", || {
            let pool = app.pool();
            let pids = pool["workers"].as_array()?.iter();
            let pids: Vec<u32> = pids
                .filter_map(|it| it["pid"].as_u64())
                .map(|it| it as u32)
                .collect();
            (pids.len() == 2).then_some(pids)
        });
        // A client that waits does not hold up the end of those that are cut.
        let mut waits = raw::connect(app.server.http);
        waits.write_all(b"GET /").expect("half a request");
        app.server.signal(end);
        if end == "TERM" {
            drop(waits);
        }
        app.server.wait_exit();
        wait_for(&format!("the end of {pids:?} by SIG{end}"), || {
            pids.iter().all(|pid| is_gone(*pid)).then_some(())
        });
    }
}

#[test]
fn a_request_is_told_with_the_worker_that_had_it() {
    let log = "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"";
    let app = App::start("", &format!("workers = 1\n{log}"));
    assert_eq!(app.get("/pid").0, 200);
    // It kills one worker, and the next has it then.
    assert_eq!(app.get("/crash-once").0, 200);
    assert_eq!(app.get("/crash").0, 502);
    let lines = wait_for("three lines of the access log", || {
        let text = fs::read_to_string(app.server.path().join("access.log")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        let lines: Vec<Value> = lines
            .filter_map(|it| serde_json::from_str(it).ok())
            .collect();
        (lines.len() == 3).then_some(lines)
    });
    let of = |path: &str| {
        let line = lines.iter().find(|line| line["path"] == path);
        line.unwrap_or_else(|| panic!("no {path} in {lines:?}"))
    };
    let first = of("/pid");
    assert_eq!(
        (&first["upstream"], &first["upstream_attempts"]),
        (&"worker 1".into(), &1.into())
    );
    assert!(first["upstream_connect_ms"].is_f64() && first["upstream_response_ms"].is_f64());
    let repeated = of("/crash-once");
    assert_eq!(repeated["upstream"], "worker 2", "{repeated}");
    assert!(
        repeated["upstream_attempts"].as_u64() >= Some(2),
        "{repeated}"
    );
    let error = app.server.wait_error("Connection_Abandoned_By_ReqQueue");
    assert_eq!(error["upstream"], of("/crash")["upstream"]);
    let named = error["upstream"].as_str().expect("a worker");
    assert!(
        error["detail"]
            .as_str()
            .is_some_and(|it| it.starts_with(named)),
        "{error}"
    );
}
