//! Starts that fail, and the privileges that a start gives up.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Server, Site, folder, raw, through};

/// Waits for the process to end without having served, and what it said.
fn fails(config: &str, change: impl FnOnce(&mut std::process::Command)) -> String {
    fails_in(folder(), config, change)
}

fn fails_in(
    folder: tempfile::TempDir,
    config: &str,
    change: impl FnOnce(&mut std::process::Command),
) -> String {
    let mut server = Server::spawn(folder, config, change);
    assert_eq!(server.wait_exit().code(), Some(1));
    // To the end of what it said.
    assert_eq!(server.wait_line("\u{0}"), None);
    server.log()
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("an address").port();
    let config = Site::default()
        .text()
        .replacen("port = 0", &format!("port = {port}"), 1);
    let log = fails(&config, |_| {});
    assert!(
        log.contains(&format!("127.0.0.1:{port} is taken by ")),
        "{log}"
    );
    assert!(
        log.contains(&format!("(pid {})", std::process::id())),
        "{log}"
    );
    assert!(!log.contains("ready"), "{log}");
}

#[test]
fn a_second_server_does_not_share_the_port_in_silence() {
    let first = Site::default().start();
    for ip in ["127.0.0.1", "*"] {
        let config = Site::default()
            .text()
            .replacen("port = 0", &format!("port = {}", first.http), 1)
            .replacen("127.0.0.1", ip, 1);
        let log = fails(&config, |_| {});
        assert!(log.contains(" is taken by portunus (pid "), "{ip}: {log}");
        assert!(log.contains(&first.pid().to_string()), "{ip}: {log}");
    }
}

#[test]
fn every_socket_that_cannot_be_had_is_told_of() {
    let config = Site::default()
        .text()
        .replace("ip = \"127.0.0.1\"", "ip = \"192.0.2.1\"");
    let log = fails(
        &config
            .replacen("port = 0", "port = 8080", 1)
            .replacen("port = 0", "port = 8443", 1),
        |_| {},
    );
    for port in ["192.0.2.1:8080", "192.0.2.1:8443"] {
        assert!(
            log.contains(&format!("{port} is no address of this machine")),
            "{log}"
        );
    }
}

#[test]
fn an_unknown_user_or_group_is_an_error_that_names_it() {
    if !is_root() {
        return;
    }
    let with = |keys: &str| Site {
        head: format!("[server]\n{keys}"),
        ..Site::default()
    };
    let log = fails(&with("user = \"nobody-of-that-name\"").text(), |_| {});
    assert!(
        log.contains("there is no user \"nobody-of-that-name\""),
        "{log}"
    );
    let log = fails(&with("group = \"no-such-group\"").text(), |_| {});
    assert!(log.contains("there is no group \"no-such-group\""), "{log}");
}

/// Changing to another user is root's alone: who runs these tests as somebody else sees nothing of it.
fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A folder that every user may enter and write to.
fn open_folder() -> tempfile::TempDir {
    let folder = folder();
    for path in [folder.path(), &folder.path().join("config")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("ours");
    }
    folder
}

#[test]
fn root_becomes_the_configured_user_in_every_thread_and_serves_on() {
    if !is_root() {
        return;
    }
    let site = Site {
        head: "[server]\nuser = \"nobody\"\nthreads = 2".into(),
        ..Site::default()
    };
    let mut server = Server::start_in(open_folder(), &site.text(), |_| {});
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("users")
        .expect("nobody");
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let mut seen = 0;
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).expect("a status");
        let fields = |name: &str| -> Vec<String> {
            let line = status
                .lines()
                .find(|line| line.starts_with(name))
                .expect("a line");
            line.split_whitespace().skip(1).map(str::to_owned).collect()
        };
        assert_eq!(fields("Uid:"), vec![uid.clone(); 4]);
        assert_eq!(fields("Gid:"), vec![gid.clone(); 4]);
        assert!(!fields("Groups:").contains(&"0".to_owned()), "{status}");
        assert_eq!(
            fields("NoNewPrivs:"),
            ["1"],
            "{}",
            fields("Name:").join(" ")
        );
        assert_eq!(fields("CapEff:"), ["0000000000000000"]);
        seen += 1;
    }
    assert!(
        seen >= 4,
        "two data threads, one for logs, and the main one"
    );
    assert_eq!(raw::get(&mut raw::connect(server.http), "/").0, 200);
    raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    server.wait_error("Hostname");
    // The log file became the user's, and he can open another in its place.
    let log = server.path().join("errors.log");
    assert_eq!(
        fs::metadata(&log).expect("the log").uid(),
        nobody.uid.as_raw()
    );
    fs::rename(&log, server.path().join("errors.log.1")).expect("renamed");
    // Keys that only root can read are read before he is gone, and cannot be read again: what was read goes on being shown.
    let said = server.reload(&site.text());
    assert!(said.contains("reloaded"), "{said}");
    assert!(
        server.log().contains("localhost.key cannot be read"),
        "{}",
        server.log()
    );
    for file in fs::read_dir(server.path().join("certs"))
        .expect("certs/")
        .flatten()
    {
        std::os::unix::fs::chown(file.path(), Some(nobody.uid.as_raw()), None).expect("root");
    }
    let said = server.reload(&site.text());
    assert!(said.contains("reloaded"), "{said}");
    raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    server.wait_error("Hostname");
}

#[test]
fn only_files_are_handed_to_the_user() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let precious = folder.path().join("precious");
    fs::write(&precious, "").expect("a file");
    std::os::unix::fs::symlink(&precious, folder.path().join("errors.log")).expect("a link");
    let head =
        "[server]\nuser = \"nobody\"\n[log]\nerrors = \"../errors.log\"\naccess = \"/dev/null\"";
    let site = Site {
        head: head.into(),
        ..Site::default()
    };
    let server = Server::start_in(folder, &site.text(), |_| {});
    assert_eq!(raw::get(&mut raw::connect(server.http), "/").0, 200);
    for path in [precious.as_path(), "/dev/null".as_ref()] {
        assert_eq!(
            fs::metadata(path).expect("there").uid(),
            0,
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_port_that_needs_a_privilege_names_the_remedies() {
    let first_free: u16 = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .expect("a sysctl")
        .trim()
        .parse()
        .expect("a port");
    if first_free == 0 {
        // On this machine no port needs a privilege.
        return;
    }
    let config =
        Site::default()
            .text()
            .replacen("port = 0", &format!("port = {}", first_free - 1), 1);
    let log = fails_in(open_folder(), &config, |command| {
        if is_root() {
            through(
                command,
                &["setpriv", "--reuid=nobody", "--clear-groups", "--"],
            );
        }
    });
    for remedy in [
        "needs a privilege",
        "server.user",
        "setcap",
        "socket activation",
        "1024",
    ] {
        assert!(log.contains(remedy), "{remedy}: {log}");
    }
}
