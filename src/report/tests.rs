use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::*;
use crate::config::{AccessFormat, Audit, Log, LogFormat, LogTarget};
use crate::model::{ClientAddr, LocalAddr, Protocol, Scheme};

fn log(errors: LogTarget, access: LogTarget, access_format: AccessFormat) -> Log {
    Log {
        format: LogFormat::Text,
        level: "info".to_owned(),
        access,
        access_format,
        errors,
        audit: Audit::OwnLog,
    }
}

fn errors_to(path: &Path) -> Log {
    log(
        LogTarget::File(path.to_owned()),
        LogTarget::Off,
        AccessFormat::Json,
    )
}

fn refusal(detail: &str) -> Refused<'_> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    Refused {
        detail: Some(detail),
        ..Refused::new(
            Reason::BadRequest,
            ClientAddr::new(addr),
            LocalAddr::new(addr),
            Protocol::Http1,
        )
    }
}

fn access(path: &str) -> Access<'_> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    Access {
        path,
        method: "GET",
        ..Access::new(
            SystemTime::now(),
            ClientAddr::new(addr),
            LocalAddr::new(addr),
            "http/1.1",
            Scheme::Http,
        )
    }
}

fn details(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            value["detail"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Waits for something that the writer does by itself.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        thread::yield_now();
    }
}

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    path
}

/// A reader that can be opened before there is a writer.
fn open_reader(path: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .unwrap()
}

#[test]
fn lines_reach_the_file_without_anybody_asking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let report = Report::start(&errors_to(&path), 2).unwrap();
    for round in 1..=3 {
        report.refused(&refusal("one"));
        eventually("a line must arrive by itself", || {
            fs::read_to_string(&path).unwrap().lines().count() == round
        });
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
}

#[test]
fn closing_writes_everything_in_order_and_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let report = Report::start(&errors_to(&path), 2).unwrap();
    let expected: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    for detail in &expected {
        report.refused(&refusal(detail));
    }
    report.close();
    assert_eq!(details(&fs::read_to_string(&path).unwrap()), expected);
    assert_eq!(report.lost(), 0);
    report.refused(&refusal("too late"));
    assert_eq!(report.lost(), 1, "a line after the end is a lost one");
}

#[test]
fn lines_of_many_threads_are_never_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let report = Report::start(&errors_to(&path), 2).unwrap();
    thread::scope(|scope| {
        for index in 0..4 {
            let report = &report;
            scope.spawn(move || {
                crate::model::enter_data_thread(index);
                for _ in 0..500 {
                    report.refused(&refusal(&"x".repeat(index * 100)));
                }
            });
        }
    });
    report.close();
    let all = details(&fs::read_to_string(&path).unwrap());
    assert_eq!(all.len(), 2000);
    assert_eq!(report.refused_count(Reason::BadRequest), 2000);
}

#[test]
fn refusals_are_counted_by_reason_even_when_nothing_is_written() {
    let report =
        Report::start(&log(LogTarget::Off, LogTarget::Off, AccessFormat::Json), 2).unwrap();
    report.refused(&refusal("x"));
    report.refused(&refusal("x"));
    report.refused(&Refused {
        reason: Reason::QueueFull,
        ..refusal("x")
    });
    assert_eq!(report.refused_count(Reason::BadRequest), 2);
    assert_eq!(report.refused_count(Reason::QueueFull), 1);
    assert_eq!(report.refused_count(Reason::Url), 0);
    assert_eq!(report.lost(), 0);
    assert!(!report.wants_access());
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
}

#[test]
fn what_is_captured_is_there_at_once() {
    let (report, captured) = Report::capture();
    assert!(report.wants_access());
    report.refused(&refusal("a"));
    report.accessed(&access("/b"));
    assert_eq!(details(&captured.errors().join("\n")), ["a"]);
    assert!(captured.access()[0].contains(r#""path":"/b""#));
    let (report, captured) = Report::capture_as(AccessFormat::Common);
    report.accessed(&access("/b"));
    assert!(captured.access()[0].contains("\"GET /b HTTP/1.1\""));
    assert!(!Report::none().wants_access());
}

#[test]
fn a_renamed_file_is_complete_and_the_next_line_goes_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let renamed = folder.path().join("errors.log.1");
    let log = errors_to(&path);
    let report = Report::start(&log, 2).unwrap();
    report.refused(&refusal("before"));
    fs::rename(&path, &renamed).unwrap();
    report.refused(&refusal("between"));
    report.reopen(&log).unwrap();
    report.refused(&refusal("after"));
    let old = details(&fs::read_to_string(&renamed).unwrap());
    assert_eq!(old, ["before", "between"]);
    report.close();
    assert_eq!(details(&fs::read_to_string(&path).unwrap()), ["after"]);
}

#[test]
fn a_w3c_log_names_its_fields_again_when_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = log(
        LogTarget::Off,
        LogTarget::File(path.clone()),
        AccessFormat::W3c,
    );
    let report = Report::start(&log, 2).unwrap();
    report.accessed(&access("/a"));
    report.reopen(&log).unwrap();
    report.accessed(&access("/b"));
    report.close();
    let text = fs::read_to_string(&path).unwrap();
    let shape: Vec<_> = text.lines().map(|line| line.starts_with('#')).collect();
    let part = [true, true, true, true, false];
    assert_eq!(shape, [part, part].concat(), "{text}");
}

#[test]
fn a_reload_can_change_target_and_format_and_switch_logs_on_and_off() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("json");
    let common = folder.path().join("common");
    let target = |path: &PathBuf| LogTarget::File(path.clone());
    let report = Report::start(&log(target(&json), target(&json), AccessFormat::Json), 2).unwrap();
    assert!(report.wants_access());
    report.accessed(&access("/a"));
    let next = log(LogTarget::Off, target(&common), AccessFormat::Common);
    report.reopen(&next).unwrap();
    report.accessed(&access("/b"));
    report.refused(&refusal("unwritten"));
    let next = log(LogTarget::Off, LogTarget::Off, AccessFormat::Common);
    report.reopen(&next).unwrap();
    assert!(!report.wants_access());
    report.accessed(&access("/c"));
    report.close();
    let json = fs::read_to_string(&json).unwrap();
    assert!(json.contains("/a") && json.lines().count() == 1, "{json}");
    let common = fs::read_to_string(&common).unwrap();
    assert!(
        common.contains("GET /b") && common.lines().count() == 1,
        "{common}"
    );
}

#[test]
fn a_target_that_cannot_be_opened_is_named_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let missing = folder.path().join("no/such/folder.log");
    let error = Report::start(&errors_to(&missing), 2)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the error log"), "{error}");
    assert!(error.contains("no/such/folder.log"), "{error}");

    let report = Report::start(&errors_to(&path), 2).unwrap();
    let wrong = log(LogTarget::Off, LogTarget::File(missing), AccessFormat::Json);
    report.reopen(&wrong).unwrap_err();
    report.refused(&refusal("still here"));
    assert!(!report.wants_access());
    report.close();
    assert_eq!(details(&fs::read_to_string(&path).unwrap()), ["still here"]);
}

#[test]
fn a_pipe_that_nobody_has_open_is_an_error_and_not_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    Report::start(&errors_to(&fifo(folder.path())), 2).unwrap_err();
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = fifo(folder.path());
    let file = folder.path().join("access.log");
    let mut reader = open_reader(&pipe);
    let log = log(
        LogTarget::File(pipe.clone()),
        LogTarget::File(file.clone()),
        AccessFormat::Json,
    );
    let report = Report::start(&log, 2).unwrap();
    let detail = "x".repeat(1000);
    // The pipe holds 64 KiB, the writer and the thread's buffer 1 MiB each.
    let most = (64 * 1024 + 2 * BUFFER_BYTES_MAX) / 1000;
    for _ in 0..2 * most {
        report.refused(&refusal(&detail));
    }
    let lost = report.lost();
    assert!(lost >= most as u64, "{lost}");

    // The other log is written meanwhile.
    report.accessed(&access("/meanwhile"));
    eventually("one stuck log must not stop the other", || {
        fs::read_to_string(&file).unwrap().contains("/meanwhile")
    });

    // Once somebody reads, what was kept arrives in whole lines, and new lines are taken.
    let mut text = Vec::new();
    eventually("what was kept must arrive", || {
        let _ = reader.read_to_end(&mut text);
        memchr::memchr_iter(b'\n', &text).count() as u64 == 2 * most as u64 - report.lost()
    });
    report.refused(&refusal("again"));
    eventually("a new line must arrive", || {
        let _ = reader.read_to_end(&mut text);
        text.ends_with(b"\"again\"}\n")
    });
    let all = details(std::str::from_utf8(&text).unwrap());
    assert_eq!(all.len() as u64 + report.lost(), 2 * most as u64 + 1);
}

#[test]
fn a_stop_does_not_wait_for_a_reader_that_does_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = fifo(folder.path());
    let _reader = open_reader(&pipe);
    let report = Report::start(&errors_to(&pipe), 2).unwrap();
    for _ in 0..500 {
        report.refused(&refusal(&"x".repeat(1000)));
    }
    let start = Instant::now();
    report.close();
    let took = start.elapsed();
    assert!(took < CLOSE_WAIT_MAX + Duration::from_secs(1), "{took:?}");
    assert!(report.lost() > 400, "{}", report.lost());
}

#[test]
fn a_full_disk_costs_lines_and_holds_nobody_up() {
    let report = Report::start(&errors_to(Path::new("/dev/full")), 2).unwrap();
    let lines = 4 * BUFFER_BYTES_MAX / 1000;
    for _ in 0..lines {
        report.refused(&refusal(&"x".repeat(1000)));
    }
    assert!(report.lost() > 0);
    report.close();
    assert_eq!(report.lost(), lines as u64, "each line was lost");
    assert_eq!(report.refused_count(Reason::BadRequest), lines as u64);
}

#[test]
fn a_reload_takes_over_from_a_full_disk_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.log");
    let report = Report::start(&errors_to(Path::new("/dev/full")), 2).unwrap();
    report.refused(&refusal("lost"));
    report.reopen(&errors_to(&path)).unwrap();
    report.refused(&refusal("kept"));
    eventually("the new target must be written", || {
        details(&fs::read_to_string(&path).unwrap()) == ["kept"]
    });
    report.close();
    assert_eq!(report.lost(), 1);
}
