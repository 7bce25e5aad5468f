//! Start, stop, and what the system has to do with them.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::support::{Server, Site, Tool, folder, raw};

fn slow() -> Site {
    Site {
        handler: "type = \"respond\"\nbody = \"slow\"\ndelay = \"700ms\"".into(),
        ..Site::default()
    }
}

#[test]
fn a_stop_lets_requests_finish_and_closes_idle_connections_at_once() {
    let mut server = slow().start();
    let mut idle = raw::connect(server.http);
    let mut busy = raw::connect(server.http);
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let url = format!("https://localhost:{}/", server.https);
    let curl = Tool::curl(&server)
        .args(["--http2", "-w", " %{http_code}"])
        .arg(url);
    let over_h2 = std::thread::spawn(move || curl.stdout());
    // Both requests have begun when a third that is quick to refuse has been answered behind them.
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.signal("TERM");
    assert_eq!(
        raw::read_to_end(&mut idle),
        "",
        "idle connections are closed at once"
    );
    let response = raw::read_to_end(&mut busy);
    assert_eq!(raw::status(&response), 200, "{response}");
    assert!(
        response.to_ascii_lowercase().contains("connection: close"),
        "{response}"
    );
    assert_eq!(over_h2.join().unwrap(), "slow 200");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_stop_at_once_and_a_second_stop_wait_for_nobody() {
    for signals in [&["QUIT"][..], &["TERM", "TERM"]] {
        let mut server = Site {
            handler: "type = \"respond\"\ndelay = \"1h\"".into(),
            ..Site::default()
        }
        .start();
        let mut busy = raw::connect(server.http);
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        for signal in signals {
            server.signal(signal);
            if signals.len() > 1 {
                server.wait_line("stopping");
            }
        }
        assert_eq!(server.wait_exit().code(), Some(0), "{signals:?}");
    }
}

#[test]
fn a_drain_that_takes_too_long_cuts_what_is_left_and_says_so() {
    let mut server = Site {
        head: "[server]\ndrain_timeout = \"200ms\"".into(),
        handler: "type = \"respond\"\ndelay = \"1h\"".into(),
        ..Site::default()
    }
    .start();
    let mut busy = raw::connect(server.http);
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    server.signal("INT");
    let line = server.wait_line("were cut").expect("a warning");
    assert!(line.contains("connections=1"), "{line}");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn an_upgrade_signal_is_answered_and_kills_nothing() {
    let mut server = Site::default().start();
    server.signal("USR2");
    assert!(server.wait_line("SIGUSR2").is_some());
    assert_eq!(
        raw::status(&raw::exchange(server.http, "GET / HTTP/1.0\r\n\r\n")),
        200
    );
}

#[test]
fn the_service_manager_is_told_of_every_turn() {
    let folder = folder();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    let heard = || {
        let mut room = [0; 256];
        let length = manager.recv(&mut room).expect("a word");
        String::from_utf8_lossy(&room[..length]).into_owned()
    };
    let text = Site::default().text();
    let mut server = Server::start_in(folder, &text, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert!(heard().contains("READY=1"));
    server.reload(&text);
    let reloading = heard();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(heard().contains("READY=1"));
    server.signal("TERM");
    assert!(heard().contains("STOPPING=1"));
}

#[test]
fn sockets_that_were_passed_are_used() {
    // systemd's own way of passing: descriptors from 3 on, and LISTEN_PID the process itself.
    let script = "import os,socket,sys\n\
        s=socket.socket(); s.bind(('127.0.0.1',int(sys.argv[1]))); s.listen(); os.dup2(s.fileno(),3,inheritable=True)\n\
        os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2],sys.argv[2:])";
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = format!(
        "[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = {port}\nhostname = \"*\"\nsite = \"s\"\n\
         [[site]]\nname = \"s\"\n[[site.route]]\npath = \"/\"\npool = \"p\"\n[[pool]]\nname = \"p\"\nhandler = {{ type = \"respond\" }}\n"
    );
    let server = Server::start_in(folder(), &text, |command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let program = command.get_program().to_owned();
        let mut wrapped = Command::new("python3");
        wrapped
            .arg("-c")
            .arg(script)
            .arg(port.to_string())
            .arg(program)
            .args(arguments);
        wrapped
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        *command = wrapped;
    });
    assert_eq!(
        raw::status(&raw::exchange(port, "GET / HTTP/1.0\r\n\r\n")),
        200
    );
    drop(server);
}

#[test]
fn a_port_that_is_taken_names_itself_and_who_has_it_even_if_that_is_portunus() {
    let first = Site::default().start();
    let text = Site::default()
        .text()
        .replacen("port = 0", &format!("port = {}", first.http), 1);
    let mut second = Server::spawn(folder(), &text, |_| {});
    assert_eq!(second.wait_exit().code(), Some(1));
    let log = second.log_to_end();
    assert!(
        log.contains(&format!(
            "127.0.0.1:{} is taken by portunus (pid {})",
            first.http,
            first.pid()
        )),
        "{log}"
    );
}

#[test]
fn privileges_are_given_up_once_the_sockets_are_bound() {
    // Only root can give privileges up; CI is root.
    let text = Site {
        head: "[server]\nuser = \"nobody\"".into(),
        ..Site::default()
    }
    .text();
    let folder = folder();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut server = Server::start_in(folder, &text, |_| {});
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = |name: &str| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(!line("Uid:").contains("\t0"), "{}", line("Uid:"));
    assert!(!line("Gid:").contains("\t0"), "{}", line("Gid:"));
    assert_eq!(line("NoNewPrivs:").trim_end(), "NoNewPrivs:\t1");
    assert!(
        !line("Groups:")
            .split_ascii_whitespace()
            .any(|group| group == "0"),
        "{}",
        line("Groups:")
    );
    assert_eq!(
        raw::status(&raw::exchange(server.http, "GET / HTTP/1.0\r\n\r\n")),
        200
    );
    drop(server.log());
}

#[test]
fn an_address_of_every_kind_is_listened_on() {
    let text =
        Site::default()
            .text()
            .replacen("ip = \"127.0.0.1\"\nport = 0", "ip = \"*\"\nport = 0", 1);
    let mut server = Server::start(&text);
    let log = server.log();
    assert!(
        log.contains("http://0.0.0.0:") && log.contains("http://[::]:"),
        "{log}"
    );
    let port: u16 = log
        .split("http://0.0.0.0:")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        let code = Tool::curl(&server)
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("http://{host}:{port}/"));
        assert_eq!(code.stdout(), "200", "{host}");
    }
}
