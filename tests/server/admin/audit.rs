//! The audit log: who changed what, and who tried to.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use super::{asks, raw};
use crate::support::{Server, Site, free_port, wait_for};

fn audited(head: &str) -> Site {
    Site {
        head: format!("[log]\nerrors = \"../errors.log\"\naudit = \"../audit.log\"\n{head}"),
        ..Site::default()
    }
}

/// The lines of the audit log once there are so many.
fn lines(server: &Server, count: usize) -> Vec<Value> {
    lines_of(server, "audit.log", count)
}

fn lines_of(server: &Server, file: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines in {file}"), || {
        let text = fs::read_to_string(server.path().join(file)).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let all: Vec<Value> = lines.collect();
        (all.len() >= count).then_some(all)
    })
}

#[test]
fn every_change_is_written_down_with_who_made_it() {
    let mut server = audited("").start();
    assert!(asks(&server, &["reload"]).status.success());
    assert!(asks(&server, &["pool", "stop", "main"]).status.success());
    assert!(!asks(&server, &["pool", "recycle", "main"]).status.success());
    assert!(asks(&server, &["reload", "--dry-run"]).status.success());
    assert!(asks(&server, &["show", "pools"]).status.success());
    server.signal("HUP");
    // In their order: a signal's line is written by another thread.
    lines(&server, 4);
    assert!(asks(&server, &["stop"]).status.success());
    let all = lines(&server, 5);
    let said: Vec<(&str, &str)> = (all.iter())
        .map(|line| {
            (
                line["action"].as_str().expect("text"),
                line["outcome"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("reload", "done"),
            ("pool-stop", "done"),
            ("pool-recycle", "failed"),
            ("reload", "done"),
            ("stop", "done"),
        ]
    );
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).expect("users");
    for at in [0, 1, 2, 4] {
        let line = &all[at];
        assert_eq!(line["via"], "unix");
        assert_eq!(line["uid"], nix::unistd::Uid::effective().as_raw());
        assert_eq!(line["user"].as_str(), user.as_ref().map(|user| &*user.name));
        assert_eq!(line["command"], "portunus");
        assert!(line["pid"].is_u64() && line["time"].is_string(), "{line}");
    }
    assert_eq!(all[1]["pool"], "main");
    let why = all[2]["detail"].as_str().expect("a reason");
    assert!(why.contains("no workers"), "{why}");
    assert_eq!(
        (&all[3]["via"], &all[3]["signal"]),
        (&"signal".into(), &"SIGHUP".into())
    );
    let mode = fs::metadata(server.path().join("audit.log"))
        .expect("the log")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
    assert!(server.wait_exit().success());
}

#[test]
fn a_signal_that_fails_is_written_down_with_the_first_finding() {
    let mut server = audited("").start();
    let bad = audited("")
        .text()
        .replace("pool = \"main\"", "pool = \"nobody\"");
    assert!(
        server.reload(&bad).contains("nobody"),
        "the own log has it too"
    );
    let line = &lines(&server, 1)[0];
    assert_eq!(
        (&line["signal"], &line["outcome"]),
        (&"SIGHUP".into(), &"failed".into())
    );
    let why = line["detail"].as_str().expect("a reason");
    assert!(
        why.contains("bindings.toml:") && why.contains("nobody"),
        "{why}"
    );
}

#[test]
fn the_signals_that_end_it_are_written_down() {
    for (signal, name, action) in [("TERM", "SIGTERM", "stop"), ("QUIT", "SIGQUIT", "stop-now")] {
        let mut server = audited("").start();
        server.signal(signal);
        server.wait_exit();
        let all = lines(&server, 1);
        let line = &all[0];
        assert_eq!(
            (&line["signal"], &line["action"]),
            (&name.into(), &action.into()),
            "{line}"
        );
    }
}

#[test]
fn attempts_that_are_refused_are_written_down_with_why() {
    let port = free_port();
    let server = audited(&format!("[server]\nadmin = \"127.0.0.1:{port}\"")).start();
    let token = fs::read_to_string(server.path().join("state/admin-token")).expect("the token");
    let ask = |fields: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let from = stream.local_addr().expect("an address").to_string();
        (
            raw(stream, &format!("POST /v1/stop HTTP/1.1\r\n{fields}")),
            from,
        )
    };
    let host = format!("Host: 127.0.0.1:{port}");
    let bearer = format!("Authorization: Bearer {token}");
    let tries = [
        (
            format!("{host}\r\nAuthorization: Bearer {}", "0".repeat(64)),
            "token",
        ),
        (
            format!("{host}\r\n{bearer}\r\nSec-Fetch-Site: cross-site"),
            "another page",
        ),
        (format!("Host: evil.test\r\n{bearer}"), "loopback"),
    ];
    for (count, (fields, why)) in tries.iter().enumerate() {
        let (response, from) = ask(fields);
        assert!(response.starts_with("HTTP/1.1 4"), "{response}");
        let all = lines(&server, count + 1);
        let line = &all[count];
        assert_eq!(
            (&line["outcome"], &line["action"]),
            (&"refused".into(), &"POST /v1/stop".into())
        );
        assert_eq!(
            (&line["client"], &line["authorised"]),
            (&from.into(), &"nothing".into())
        );
        assert!(
            line["detail"].as_str().expect("why").contains(why),
            "{line}"
        );
        assert!(
            !line.to_string().contains(&*token),
            "the token is no reader's"
        );
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let good = raw(
        stream,
        &format!("POST /v1/reload HTTP/1.1\r\n{host}\r\n{bearer}"),
    );
    assert!(good.starts_with("HTTP/1.1 200 "), "{good}");
    let line = &lines(&server, 4)[3];
    assert_eq!(
        (&line["via"], &line["authorised"]),
        (&"tcp".into(), &"token".into())
    );
    assert_eq!(
        (&line["outcome"], &line["action"]),
        (&"done".into(), &"reload".into())
    );
}

#[test]
fn another_user_is_refused_and_written_down_though_the_file_lets_everybody_in() {
    if !nix::unistd::Uid::effective().is_root() {
        // Nobody else can be become.
        return;
    }
    let mut server = audited("").start();
    let socket = server.path().join("run/portunus.sock");
    for (path, mode) in [
        (server.path(), 0o755),
        (&server.path().join("run"), 0o755),
        (&socket, 0o666),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let asked = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "-sS",
            "-X",
            "POST",
        ])
        .arg("--unix-socket")
        .arg(&socket)
        .arg("http://localhost/v1/stop")
        .output()
        .expect("setpriv and curl");
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(said.contains("only root"), "{said}");
    let line = &lines(&server, 1)[0];
    assert_eq!(
        (&line["uid"], &line["command"]),
        (&65534.into(), &"curl".into()),
        "{line}"
    );
    assert_eq!(
        (&line["outcome"], &line["action"]),
        (&"refused".into(), &"POST /v1/stop".into())
    );
    assert!(server.wait_line("was refused").is_some());
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_by_the_signal_that_is_written_in_it() {
    let server = audited("").start();
    assert!(asks(&server, &["pool", "stop", "main"]).status.success());
    lines(&server, 1);
    let (log, old) = (
        server.path().join("audit.log"),
        server.path().join("audit.log.1"),
    );
    fs::rename(&log, &old).expect("moved");
    server.signal("HUP");
    assert_eq!(lines(&server, 1)[0]["signal"], "SIGHUP");
    assert_eq!(lines_of(&server, "audit.log.1", 1).len(), 1);
}

#[test]
fn a_full_disk_stops_nothing_and_no_line_is_lost_in_silence() {
    let site = Site {
        head: "[log]\nerrors = \"../errors.log\"\naudit = \"/dev/full\"".into(),
        ..Site::default()
    };
    let mut server = site.start();
    assert!(asks(&server, &["pool", "stop", "main"]).status.success());
    let line = server
        .wait_line("a log cannot be written")
        .expect("it warns");
    assert!(line.contains("/dev/full"), "{line}");
    assert!(asks(&server, &["pool", "start", "main"]).status.success());
    server.signal("TERM");
    server.wait_exit();
    let log = server.log();
    for action in ["pool-stop", "pool-start", "SIGTERM"] {
        let told = log
            .lines()
            .any(|line| line.contains("did not reach the audit log") && line.contains(action));
        assert!(told, "{action}: {log}");
    }
}

#[test]
fn without_a_log_of_its_own_the_servers_log_tells_of_changes_or_nobody_does() {
    let mut server = Site::default().start();
    assert!(asks(&server, &["pool", "stop", "main"]).status.success());
    let line = server
        .wait_line("an administrator asked")
        .expect("it tells");
    assert!(
        line.contains("pool-stop") && line.contains("pool=\"main\""),
        "{line}"
    );
    let off = Site {
        head: "[log]\nerrors = \"../errors.log\"\naudit = \"off\"".into(),
        ..Site::default()
    };
    assert!(server.reload(&off.text()).contains("reloaded"));
    assert!(asks(&server, &["pool", "start", "main"]).status.success());
    let own = server.log();
    assert!(!own.contains("pool-start"), "{own}");
}

#[test]
fn who_waits_for_nothing_is_written_down_all_the_same() {
    let server = audited("").start();
    let socket = server.path().join("run/portunus.sock");
    let mut stream = UnixStream::connect(&socket).expect("connected");
    let request = "POST /v1/pools/main/stop HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    let line = &lines(&server, 1)[0];
    assert_eq!(
        (&line["action"], &line["outcome"]),
        (&"pool-stop".into(), &"done".into())
    );
}
