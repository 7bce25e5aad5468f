//! Handshakes with ourselves after start and reload: what they say, and that they are nobody's failure.

use std::fs;

use rcgen::CertificateParams;
use time::{Duration, OffsetDateTime};

use super::config;
use crate::support::{Authority, Server, folder, raw};

const SUMMARY: &str = "handshakes with ourselves";

/// A server of `a.test` whose certificate is changed like this, with these tables before its binding and keys in it.
fn server(head: &str, keys: &str, change: impl FnOnce(&mut CertificateParams)) -> Server {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.pem"));
    ca.issue_with(&["a.test"], change)
        .write(&folder.path().join("certs"), "a.test");
    Server::start_in(folder, &text(head, keys), |_| {})
}

fn text(head: &str, keys: &str) -> String {
    format!(
        "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n[tls]\ntrust = \"../ca.pem\"\n{head}\n{}",
        config("a.test", keys)
    )
}

/// The line that sums up the rehearsal of this number, counted from 0. It may come before that of the reload that it follows.
fn summary(server: &mut Server, number: usize) -> String {
    loop {
        let log = server.log();
        if let Some(line) = log
            .lines()
            .filter(|line| line.contains(SUMMARY))
            .nth(number)
        {
            return line.to_owned();
        }
        server
            .wait_line(SUMMARY)
            .expect("it tells what clients see");
    }
}

/// What has been refused and accessed so far.
fn logs(server: &Server) -> String {
    let read = |file| fs::read_to_string(server.path().join(file)).unwrap_or_default();
    read("errors.log") + &read("access.log")
}

#[test]
fn what_a_client_sees_is_told_after_start_and_after_a_reload() {
    let mut server = server("", "", |_| {});
    let line = summary(&mut server, 0);
    for part in [
        "made=2",
        "sound=2",
        "problems=0",
        "TLSv1.3 h2 ×1",
        "TLSv1.3 h3 ×1",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let keys = "protocols = [\"http/1.1\"]\nmin_version = \"1.3\"";
    server.reload(&text("", keys));
    let line = summary(&mut server, 1);
    assert!(
        line.contains("made=1") && line.contains("TLSv1.3 http/1.1 ×1"),
        "{line}"
    );
    // The lines of what came before stand in the file when one that came after does.
    raw::exchange(server.https, "GET / HTTP/1.1\r\n\r\n");
    server.wait_all_errors(1);
    let logs = logs(&server);
    assert_eq!(logs.lines().count(), 1, "{logs}");
    assert!(logs.contains("Tls_NotTls"), "{logs}");
}

#[test]
fn what_a_client_would_refuse_is_a_warning_with_its_remedy() {
    let mut server = server("", "protocols = [\"h2\"]", |params| {
        params.not_before = OffsetDateTime::now_utc() - Duration::days(90);
        params.not_after = OffsetDateTime::now_utc() - Duration::days(2);
    });
    let line = server.wait_lines("a client would see this", 1).remove(0);
    for part in ["WARN", "a.test", "is not valid today", "remedy=\"renew it"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let line = summary(&mut server, 0);
    assert!(
        line.contains("sound=0") && line.contains("problems=1"),
        "{line}"
    );
    assert_eq!(logs(&server), "");
}

#[test]
fn they_take_nobodys_place() {
    let keys = "protocols = [\"http/1.1\"]";
    let mut server = server("[limits]\nmax_connections = 1", keys, |_| {});
    summary(&mut server, 0);
    let held = raw::connect(server.https);
    let line = server.reload(&text("[limits]\nmax_connections = 1", keys));
    assert!(line.contains("reloaded"), "{line}");
    let line = summary(&mut server, 1);
    assert!(line.contains("sound=1"), "{line}");
    drop(held);
    assert_eq!(logs(&server), "");
}

#[test]
fn every_certificate_of_a_folder_is_looked_at_each_kind_of_key_by_itself() {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.pem"));
    let certs = folder.path().join("certs");
    ca.issue(&["a.test"]).write(&certs, "a.test");
    ca.issue(&["*.b.test"]).write(&certs, "_.b.test");
    ca.issue(&["c.test"]).write(&certs, "_default");
    // The names of this one are not those that it is shown for.
    ca.issue(&["other.test"]).write(&certs, "d.test");
    let text =
        text("", "protocols = [\"http/1.1\"]").replace("hostname = \"a.test\"", "hostname = \"*\"");
    let mut server = Server::start_in(folder, &text, |_| {});
    // It may be told before the server is ready.
    server.wait_lines("a client would see this", 1);
    let warning = server.log();
    assert!(
        warning.contains("d.test") && warning.contains("does not cover the name"),
        "{warning}"
    );
    let line = summary(&mut server, 0);
    assert!(
        line.contains("made=4") && line.contains("sound=3"),
        "{line}"
    );
    assert_eq!(logs(&server), "");
}
