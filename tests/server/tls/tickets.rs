//! Ticket keys: how long they live, and machines that share them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::HandshakeKind::{Full, Resumed};
use tempfile::TempDir;

use super::sessions::visit;
use super::{Setup, client_of, s_client};
use crate::support::{Server, folder, through};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

/// A file of ticket keys as `(umask 077; openssl rand 80)` writes one.
pub(super) fn write_key(file: &Path, byte: u8) {
    fs::write(file, [byte; 80]).expect("the file");
    fs::set_permissions(file, Permissions::from_mode(0o600)).expect("ours");
}

fn setup(tls: &str) -> Setup {
    Setup::new()
        .certificate("a.test", &["a.test"])
        .binding("127.0.0.1", "a.test", "protocols = [\"http/1.1\"]")
        .head(&format!("[tls]\n{tls}"))
}

#[test]
fn a_ticket_says_that_it_lives_for_one_rotation() {
    let server = setup("ticket_rotation = \"2h\"").start();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-servername", "a.test", "-ign_eof", version];
        let address = format!("127.0.0.1:{}", server.https);
        let said = s_client(&address, &arguments, REQUEST);
        assert!(
            said.contains("ticket lifetime hint: 7200 (seconds)"),
            "{said}"
        );
    }
}

#[test]
fn without_a_rotation_every_handshake_is_a_full_one() {
    let server = setup("ticket_rotation = \"0s\"").start();
    let address = format!("127.0.0.1:{}", server.https);
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-servername", "a.test", "-ign_eof", version];
        let said = s_client(&address, &arguments, REQUEST);
        assert!(said.contains("Hello, World!"), "{said}");
        assert!(!said.contains("session ticket"), "{said}");
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client_of(&server, &[version]));
        for _ in 0..2 {
            assert_eq!(
                visit(&config, ("127.0.0.1", server.https), "a.test"),
                Some(Full)
            );
        }
    }
}

/// What systemd does, with a port that two programs listen on: as two machines behind one address.
const ACTIVATE: &str = "
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(64)
text = open(sys.argv[4]).read().replace('port = 0', 'port = ' + str(s.getsockname()[1]))
open(sys.argv[4], 'w').write(text)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

/// A server of that folder, on the port that another may have already.
fn machine(folder: TempDir, text: &str, port: u16) -> Server {
    write_key(&folder.path().join("config/shared.key"), 7);
    Server::start_in(folder, text, |command| {
        through(command, &["python3", "-c", ACTIVATE, &port.to_string()]);
    })
}

#[test]
fn machines_that_share_a_file_resume_each_others_sessions() {
    let setup = setup("ticket_keys = [\"shared.key\"]")
        .head("[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"");
    let text = setup.text();
    let other = folder();
    fs::create_dir(other.path().join("certs")).expect("a folder");
    for name in ["certs/a.test.pem", "certs/a.test.key"] {
        fs::copy(setup.folder.path().join(name), other.path().join(name)).expect("a copy");
    }
    let mut first = machine(setup.folder, &text, 0);
    let here = ("127.0.0.1", first.https);
    for version in ["-tls1_2", "-tls1_3"] {
        let said = with_session(&first, here.1, "-sess_out", version);
        assert!(said.contains("New, TLS"), "{version}: {said}");
    }
    let second = machine(other, &text, here.1);
    assert_eq!(second.https, here.1);

    // The kernel gives either of them every other connection, more or less: whoever it is resumes.
    let config = Arc::new(client_of(&first, &[&rustls::version::TLS13]));
    assert_eq!(visit(&config, here, "a.test"), Some(Full));
    let resumed = |server: &Server| {
        let log = server.path().join("access.log");
        let text = std::fs::read_to_string(log).unwrap_or_default();
        text.contains("\"tls_resumed\":true")
    };
    let mut visits = 0;
    while !resumed(&first) || !resumed(&second) {
        visits += 1;
        assert!(visits < 1000, "all connections went to one of them");
        assert_eq!(visit(&config, here, "a.test"), Some(Resumed));
    }

    // The first is gone: what openssl was given by it is taken by the second.
    first.signal("TERM");
    assert!(first.wait_exit().success());
    for version in ["-tls1_2", "-tls1_3"] {
        let said = with_session(&first, second.https, "-sess_in", version);
        assert!(said.contains("Reused, TLS"), "{version}: {said}");
        assert!(said.contains("Hello, World!"), "{version}: {said}");
    }
}

/// A request by openssl, which takes its session from a file in a server's folder, or leaves it there.
fn with_session(keeper: &Server, port: u16, way: &str, version: &str) -> String {
    let file = keeper.path().join(format!("session{version}"));
    let file = file.to_str().expect("a path");
    let arguments = ["-servername", "a.test", "-ign_eof", version, way, file];
    s_client(&format!("127.0.0.1:{port}"), &arguments, REQUEST)
}

#[test]
fn keys_are_changed_by_a_reload_and_a_file_that_is_none_changes_nothing() {
    let setup = setup("ticket_keys = [\"old.key\"]");
    let config_folder = setup.folder.path().join("config");
    write_key(&config_folder.join("old.key"), 1);
    let text = setup.text();
    let mut server = setup.start();
    let here = ("127.0.0.1", server.https);
    let config = Arc::new(client_of(&server, &[&rustls::version::TLS13]));
    let visits = |expected| assert_eq!(visit(&config, here, "a.test"), Some(expected));
    visits(Full);

    // The next key is there for everybody before anybody encrypts with it.
    write_key(&config_folder.join("new.key"), 2);
    for files in [
        "\"old.key\", \"new.key\"",
        "\"new.key\", \"old.key\"",
        "\"new.key\"",
    ] {
        let said = server.reload(&text.replace("\"old.key\"", files));
        assert!(said.contains("reloaded"), "{said}");
        visits(Resumed);
    }
    let said = server.reload(&text);
    assert!(said.contains("reloaded"), "{said}");
    visits(Full);

    let file = config_folder.join("old.key");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("ours");
    let said = server.reload(&text);
    assert!(said.contains("was not taken"), "{said}");
    let log = server.log();
    assert!(log.contains("error[ticket-key-open]"), "{log}");
    assert!(
        log.contains("may be read or written by everybody (mode 0644)"),
        "{log}"
    );
    visits(Resumed);
}
