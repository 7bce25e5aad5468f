//! The logs: their fields, their formats, and what they survive.

use std::io::Write;

use serde_json::Value;

use crate::support::{Server, Site, Tool, raw, wait_for};

fn with_log(log: &str) -> Site {
    Site {
        head: format!("[log]\nerrors = \"../errors.log\"\n{log}"),
        ..Site::default()
    }
}

fn lines(server: &Server, file: &str, count: usize) -> Vec<String> {
    wait_for(&format!("{count} lines in {file}"), || {
        let text = std::fs::read_to_string(server.path().join(file)).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn an_access_is_told_with_all_that_is_known_of_it() {
    let server = with_log("access = \"../access.log\"").start();
    let url = format!("https://localhost:{}/p?q=1", server.https);
    Tool::curl(&server)
        .args([
            "--http2",
            "-o",
            "/dev/null",
            "-A",
            "a \"b\" c",
            "-e",
            "http://ref.test/",
        ])
        .arg(url)
        .stdout();
    raw::exchange(
        server.http,
        "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    );
    let lines = lines(&server, "access.log", 2);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    for (key, value) in [
        ("protocol", "h2"),
        ("method", "GET"),
        ("host", "localhost"),
        ("path", "/p"),
        ("query", "q=1"),
        ("sni", "localhost"),
        ("alpn", "h2"),
        ("tls_version", "TLSv1.3"),
        ("pool", "main"),
        ("site", "main"),
        ("user_agent", "a \"b\" c"),
        ("referer", "http://ref.test/"),
    ] {
        assert_eq!(first[key], value, "{key} in {first}");
    }
    assert!(
        first["cipher"].as_str().unwrap().starts_with("TLS_"),
        "{first}"
    );
    assert_eq!(
        (&first["status"], &first["bytes_sent"], &first["complete"]),
        (&200.into(), &13.into(), &true.into())
    );
    let second: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(
        (&second["protocol"], &second["method"], &second["alpn"]),
        (&"http/1.1".into(), &"POST".into(), &Value::Null)
    );
}

#[test]
fn other_formats_are_those_of_the_field_and_take_no_forgery() {
    let forged =
        "GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\" 200 \t y\r\nConnection: close\r\n\r\n";
    let server = with_log("access = \"../access.log\"\naccess_format = \"w3c\"").start();
    raw::exchange(server.http, forged);
    let w3c = lines(&server, "access.log", 5);
    assert_eq!(w3c[1], "#Version: 1.0");
    let fields = w3c
        .iter()
        .find_map(|line| line.strip_prefix("#Fields: "))
        .unwrap();
    let entry = w3c.last().unwrap();
    assert_eq!(
        fields.split(' ').count(),
        entry.split(' ').count(),
        "{fields}\n{entry}"
    );
    let server = with_log("access = \"../access.log\"\naccess_format = \"common\"").start();
    raw::exchange(server.http, forged);
    let common = lines(&server, "access.log", 1);
    assert!(common[0].starts_with("127.0.0.1 - - ["), "{}", common[0]);
    assert!(
        common[0].ends_with("] \"GET /a?b HTTP/1.1\" 200 13"),
        "{}",
        common[0]
    );
}

#[test]
fn files_are_opened_anew_on_reload() {
    let site = with_log("access = \"../access.log\"");
    let mut server = site.start();
    let get = "GET / HTTP/1.0\r\n\r\n";
    raw::exchange(server.http, get);
    lines(&server, "access.log", 1);
    std::fs::rename(
        server.path().join("access.log"),
        server.path().join("access.1"),
    )
    .unwrap();
    assert!(server.reload(&site.text()).contains("reloaded"));
    raw::exchange(server.http, get);
    assert_eq!(lines(&server, "access.log", 1).len(), 1);
    assert_eq!(lines(&server, "access.1", 1).len(), 1);
}

#[test]
fn a_full_disk_and_a_log_that_is_off_keep_nobody_from_being_served() {
    for log in ["access = \"/dev/full\"", "access = \"off\""] {
        let server = with_log(log).start();
        for _ in 0..20 {
            assert_eq!(
                raw::status(&raw::exchange(server.http, "GET / HTTP/1.0\r\n\r\n")),
                200
            );
        }
    }
    let server = Site {
        head: "[log]\nerrors = \"off\"".into(),
        ..Site::default()
    }
    .start();
    assert_eq!(
        raw::status(&raw::exchange(server.http, "GET /%00 HTTP/1.0\r\n\r\n")),
        400
    );
}

#[test]
fn a_download_that_the_client_gives_up_is_told_as_incomplete() {
    let folder = crate::support::folder();
    std::fs::create_dir(folder.path().join("www")).unwrap();
    std::fs::write(folder.path().join("www/big"), vec![7; 64 << 20]).unwrap();
    let mut site = with_log("access = \"../access.log\"");
    site.handler = "type = \"files\"\nroot = \"../www\"".into();
    let server = Server::start_in(folder, &site.text(), |_| {});
    let mut client = raw::connect(server.http);
    client
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut some = [0; 4096];
    std::io::Read::read_exact(&mut client, &mut some).unwrap();
    drop(client);
    let line: Value = serde_json::from_str(&lines(&server, "access.log", 1)[0]).unwrap();
    assert_eq!(
        (&line["status"], &line["complete"]),
        (&200.into(), &false.into()),
        "{line}"
    );
}
