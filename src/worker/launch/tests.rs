//! What can be decided without starting anything; real processes are in tests/server/worker_launch.rs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::identity::Entry;
use super::orders::{Errand, Identity, Inherits, Letter, Order, Report};
use super::*;
use crate::config::AtLimit;

fn spec(listen: WorkerListen) -> LaunchSpec {
    LaunchSpec {
        pool: "app".to_owned(),
        worker: 1,
        command: vec!["app".to_owned()],
        cwd: PathBuf::from("/"),
        env: BTreeMap::from([("TZ".to_owned(), "Europe/Berlin".to_owned())]),
        user: String::new(),
        group: String::new(),
        listen,
        protocol: WorkerProtocol::Http,
        socket_folder: PathBuf::from("/run/portunus/workers"),
        limits: WorkerLimits {
            memory: None,
            cpu: None,
            processes: None,
            files: None,
            on_memory: AtLimit::Kill,
            on_cpu: AtLimit::Throttle,
        },
        keeper: PathBuf::new(),
    }
}

fn environment(listen: WorkerListen, address: &WorkerAddress) -> BTreeMap<String, String> {
    let user = Entry {
        name: "shop".to_owned(),
        home: "/srv/shop".into(),
        shell: "/usr/sbin/nologin".into(),
    };
    let ours = [
        ("PATH", "/opt/bin:/usr/bin"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("HOME", "/root"),
        ("NOTIFY_SOCKET", "/run/systemd/notify"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_PID", "1"),
        ("CREDENTIALS_DIRECTORY", "/run/credentials"),
        ("PORTUNUS_CONFIG", "/etc/portunus/bindings.toml"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("LD_PRELOAD", "/tmp/x.so"),
    ];
    let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
    super::environment::of(&spec(listen), Some(&user), address, ours.into_iter())
}

#[test]
fn a_workers_environment_is_named_one_by_one() {
    let socket = WorkerAddress::Unix("/run/portunus/workers/1/app-1/socket".into());
    let all = environment(WorkerListen::Unix, &socket);
    let expected = BTreeMap::from([
        ("HOME", "/srv/shop"),
        ("LC_ALL", "C.UTF-8"),
        ("LOGNAME", "shop"),
        ("PATH", "/opt/bin:/usr/bin"),
        ("PORTUNUS_POOL", "app"),
        ("PORTUNUS_SOCKET", "/run/portunus/workers/1/app-1/socket"),
        ("SHELL", "/usr/sbin/nologin"),
        ("TZ", "Europe/Berlin"),
        ("USER", "shop"),
    ]);
    let all: BTreeMap<_, _> = all
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(all, expected);
    let port = WorkerAddress::Tcp(([127, 0, 0, 1], 5000).into());
    let all = environment(WorkerListen::Port, &port);
    assert_eq!(all.get("PORT").map(String::as_str), Some("5000"));
    let all = environment(WorkerListen::Fd, &socket);
    assert_eq!(all.get("LISTEN_FDS").map(String::as_str), Some("1"));
    assert!(!all.contains_key("PORTUNUS_SOCKET"));
}

#[test]
fn whom_the_server_runs_as_takes_no_change() {
    let person = identity::look_up("", "").expect("ourselves");
    assert!(person.become_.is_none());
    let ours = nix::unistd::Uid::effective().as_raw();
    assert_eq!(person.uid, ours);
    let by_number = identity::look_up(&ours.to_string(), "").expect("ourselves");
    assert!(by_number.become_.is_none());
}

#[test]
fn a_number_that_nobody_has_is_a_user_without_a_name() {
    match identity::look_up("54321", "54322") {
        Ok(person) => {
            let expected = Identity {
                uid: 54321,
                gid: 54322,
                groups: vec![54322],
            };
            assert_eq!(person.become_, Some(expected));
            assert!(person.entry.is_none());
        }
        Err(error) => assert_eq!(error, LaunchError::NoRight("54321".to_owned())),
    }
}

#[test]
fn an_errand_is_read_as_it_was_written() {
    let order = Order {
        command: vec!["sh".to_owned(), "-c".to_owned(), "a\nb \"c\"".to_owned()],
        env: BTreeMap::from([("A".to_owned(), "\u{e9}".to_owned())]),
        cwd: "/srv".into(),
        identity: None,
        umask: 0o22,
        join: Some("/sys/fs/cgroup/x/cgroup.procs".into()),
        limits: vec![(Limit::Files, 5)],
        inherits: Inherits::Third,
    };
    let errand = Errand {
        order,
        keeper: 7,
        status: 10,
    };
    let text = serde_json::to_string(&errand).expect("JSON");
    assert!(!text.contains('\n'), "it goes as a line");
    let read: Errand = serde_json::from_str(&text).expect("an errand");
    assert_eq!(format!("{read:?}"), format!("{errand:?}"));
    let report = serde_json::to_string(&Report::Started(5)).expect("JSON");
    assert_eq!(report, "{\"Started\":5}");
    for letter in [
        Letter::Terminate,
        Letter::Kill,
        Letter::Freeze,
        Letter::Thaw,
    ] {
        assert_eq!(Letter::read(letter as u8), Some(letter));
    }
    assert_eq!(Letter::read(b'x'), None);
}
