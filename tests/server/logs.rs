//! What is written down: the error log, and the access log in its three formats.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Gate, Server, Site, Tool, Upstream, folder, raw, wait_for};

/// Both logs in files, and one data thread: the lines of several need not come in the order of time.
fn logged(keys: &str) -> Site {
    Site {
        head: format!(
            "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n{keys}\n[server]\nthreads = 1"
        ),
        ..Site::default()
    }
}

/// Waits for so many lines of the access log.
fn accesses(server: &Server, count: usize) -> Vec<String> {
    lines(server, "access.log", count)
}

fn lines(server: &Server, file: &str, count: usize) -> Vec<String> {
    wait_for(&format!("{count} lines in {file}"), || {
        let text = fs::read_to_string(server.path().join(file)).unwrap_or_default();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The keys of a JSON object in the order in which they were written.
fn keys(line: &str) -> Vec<String> {
    // serde_json sorts them; every key of these lines follows a brace or a comma outside of text.
    let mut keys = Vec::new();
    let (mut in_text, mut escaped, mut start) = (false, false, 0);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => {
                in_text = !in_text;
                if in_text {
                    start = at + 1;
                } else if line[at + 1..].starts_with(':') {
                    keys.push(line[start..at].to_owned());
                }
            }
            _ => {}
        }
    }
    keys
}

#[test]
fn a_refused_request_is_one_line_with_all_that_is_known_in_order() {
    let mut server = Site::default().start();
    let config = Site::default()
        .text()
        .replace("path = \"/\"", "path = \"/only\"");
    server.reload(&config);
    let url = format!("https://localhost:{}/else?q=1", server.https);
    Tool::curl(&server).arg(url).stdout();
    server.wait_error("NoRoute");
    let line = lines(&server, "errors.log", 1).remove(0);
    assert_eq!(
        keys(&line),
        [
            "time",
            "reason",
            "client",
            "local",
            "protocol",
            "sni",
            "alpn",
            "tls_version",
            "host",
            "method",
            "path",
            "status",
            "site",
            "detail"
        ]
    );
    let line = json(&line);
    assert_eq!(line["protocol"], "h2");
    assert_eq!(line["sni"], "localhost");
    assert_eq!(line["alpn"], "h2");
    assert_eq!(line["tls_version"], "TLSv1.3");
    assert_eq!(line["host"], "localhost");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/else");
    assert_eq!(line["status"], 404);
    assert_eq!(line["site"], "main");
    assert_eq!(line["local"], format!("127.0.0.1:{}", server.https));
    let client = line["client"].as_str().expect("text");
    assert!(client.starts_with("127.0.0.1:"), "{client}");
}

#[test]
fn an_access_as_json_has_every_field_of_its_connection_and_request() {
    let mut site = logged("");
    site.handler = "type = \"respond\"\nbody = \"Hello, World!\"\ndelay = \"20ms\"".into();
    site.pool = "concurrency = 1".into();
    let server = site.start();
    let https = format!("https://localhost:{}/a/b?c=d", server.https);
    let http = format!("http://localhost:{}/", server.http);
    Tool::curl(&server)
        .args([
            "--http2",
            "-A",
            "agent",
            "-e",
            "http://from.test/",
            "-d",
            "12345",
        ])
        .arg(&https)
        .stdout();
    Tool::curl(&server)
        .args(["--http1.1", "--tls-max", "1.2"])
        .arg(&https)
        .stdout();
    Tool::curl(&server).args(["--http1.0"]).arg(&http).stdout();
    let lines = accesses(&server, 3);
    assert_eq!(
        keys(&lines[0]),
        [
            "time",
            "client",
            "local",
            "protocol",
            "scheme",
            "sni",
            "alpn",
            "tls_version",
            "cipher",
            "tls_resumed",
            "method",
            "host",
            "path",
            "query",
            "status",
            "bytes_sent",
            "bytes_received",
            "site",
            "pool",
            "binding",
            "queue_wait_ms",
            "handler_time_ms",
            "duration_ms",
            "user_agent",
            "referer",
            "complete"
        ]
    );
    let [h2, h1, h10] = [&lines[0], &lines[1], &lines[2]].map(|line| json(line));
    for (key, expected) in [
        ("protocol", "h2"),
        ("scheme", "https"),
        ("sni", "localhost"),
        ("alpn", "h2"),
        ("tls_version", "TLSv1.3"),
        ("method", "POST"),
        ("host", "localhost"),
        ("path", "/a/b"),
        ("query", "c=d"),
        ("site", "main"),
        ("pool", "main"),
        ("user_agent", "agent"),
        ("referer", "http://from.test/"),
    ] {
        assert_eq!(h2[key], expected, "{key}");
    }
    let binding = h2["binding"].as_str().expect("text");
    assert!(
        binding.contains("localhost") && binding.contains(&server.https.to_string()),
        "{binding}"
    );
    assert!(
        h2["cipher"]
            .as_str()
            .is_some_and(|cipher| cipher.starts_with("TLS_")),
        "{h2}"
    );
    assert_eq!(
        (&h2["status"], &h2["bytes_sent"]),
        (&200.into(), &13.into())
    );
    assert_eq!(h2["complete"], true);
    let millis = |key: &str| h2[key].as_f64().unwrap_or_else(|| panic!("{key}: {h2}"));
    assert!(millis("handler_time_ms") >= 20.0);
    assert!(millis("duration_ms") >= millis("handler_time_ms"));
    assert!(millis("queue_wait_ms") < millis("duration_ms"));
    assert_eq!(
        (&h1["protocol"], &h1["tls_version"]),
        (&"http/1.1".into(), &"TLSv1.2".into())
    );
    assert_eq!(h1["alpn"], "http/1.1");
    assert_eq!(
        (&h10["protocol"], &h10["scheme"]),
        (&"http/1.0".into(), &"http".into())
    );
    assert_eq!(h10["sni"], Value::Null);
}

#[test]
fn a_wait_in_the_queue_is_told_apart_from_the_work() {
    let gate = Gate::default();
    let upstream = Upstream::held(&gate, "slow");
    let mut site = logged("");
    site.handler = upstream.handler();
    site.pool = "concurrency = 1\nqueue_length = 1".into();
    let server = site.start();
    let mut clients: Vec<_> = (0..2).map(|_| raw::connect(server.http)).collect();
    raw::ask(&mut clients[0], "/");
    upstream.head();
    raw::ask(&mut clients[1], "/");
    // The second waits: there is no room for a third.
    assert_eq!(raw::get(&mut raw::connect(server.http), "/").0, 503);
    gate.open();
    let waits: Vec<f64> = accesses(&server, 3)[1..]
        .iter()
        .map(|line| json(line)["queue_wait_ms"].as_f64().expect("a number"))
        .collect();
    assert_eq!(waits[0], 0.0);
    assert!(waits[1] > 0.0, "{waits:?}");
}

#[test]
fn a_refused_request_is_an_access_too_with_its_reason() {
    let server = logged("").start();
    raw::exchange(server.http, "GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let line = json(&accesses(&server, 1)[0]);
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&400.into(), &"URL".into())
    );
}

#[test]
fn w3c_has_its_header_and_a_value_for_every_field() {
    let server = logged("access_format = \"w3c\"").start();
    let url = format!("https://localhost:{}/a%20b?c=d", server.https);
    Tool::curl(&server)
        .args(["--http2", "-A", "an agent"])
        .arg(url)
        .stdout();
    raw::exchange(
        server.http,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let lines = accesses(&server, 2);
    let text = fs::read_to_string(server.path().join("access.log")).expect("the log");
    let fields: Vec<&str> = text
        .lines()
        .find_map(|line| line.strip_prefix("#Fields: "))
        .expect("#Fields")
        .split(' ')
        .collect();
    let field = |line: usize, name: &str| {
        let at = fields.iter().position(|field| *field == name).expect(name);
        lines[line].split(' ').nth(at).expect(name).to_owned()
    };
    for line in &lines {
        assert_eq!(line.split(' ').count(), fields.len(), "{line}");
    }
    assert_eq!(field(0, "cs-uri-stem"), "/a%20b");
    assert_eq!(field(0, "cs-uri-query"), "c=d");
    assert_eq!(field(0, "cs(User-Agent)"), "an+agent");
    assert_eq!(field(0, "s-port"), server.https.to_string());
    assert_eq!(field(0, "x-sni"), "localhost");
    assert_eq!(field(0, "x-alpn"), "h2");
    assert_eq!(field(0, "x-pool"), "main");
    assert_eq!(field(0, "sc-bytes"), "13");
    assert_eq!(
        (field(1, "x-sni"), field(1, "x-tls")),
        ("-".into(), "-".into())
    );
}

#[test]
fn common_is_what_every_reader_of_logs_knows() {
    let server = logged("access_format = \"common\"").start();
    let url = format!("https://localhost:{}/a?b", server.https);
    Tool::curl(&server).arg("--http2").arg(url).stdout();
    let line = accesses(&server, 1).remove(0);
    let (client, rest) = line.split_once(" - - [").expect("no user");
    assert_eq!(client, "127.0.0.1");
    let (_time, rest) = rest.split_once("] ").expect("a time");
    assert_eq!(rest, "\"GET /a?b HTTP/2.0\" 200 13");
}

#[test]
fn nothing_that_a_client_sends_makes_a_line_of_its_own_or_a_field() {
    for format in ["json", "w3c", "common"] {
        let server = logged(&format!("access_format = \"{format}\"")).start();
        let evil = "\u{1b}[31m\u{85}\u{2028}\u{202e}\" } { \\ forged";
        let requests = [
            format!("GET /a\"b\\c{evil} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
            format!(
                "GET /x\" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {evil}\r\nReferer: \t{evil}\r\nConnection: close\r\n\r\n"
            ),
            format!("GET / HTTP/1.1\r\nHost: {evil}\r\nConnection: close\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\nb\r\nConnection: close\r\n\r\n"
                .into(),
            "G\"T / HTTP/1.1\r\nHost: a\"b\r\nConnection: close\r\n\r\n".into(),
        ];
        for request in &requests {
            raw::exchange(server.http, request);
        }
        raw::exchange(
            server.http,
            "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        let lines = wait_for("the last request's line", || {
            let lines = accesses(&server, 1);
            lines
                .iter()
                .any(|line| line.contains("/last"))
                .then_some(lines)
        });
        assert!(lines.len() <= requests.len() + 1, "{format}: {lines:#?}");
        for line in lines.iter().chain(&self::lines(&server, "errors.log", 1)) {
            assert!(
                !line
                    .chars()
                    .any(|c| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c)),
                "{format}: {line:?}"
            );
        }
        for line in &lines {
            match format {
                "json" => drop(json(line)),
                "w3c" => assert_eq!(line.split(' ').count(), 35, "{line}"),
                _ => assert_eq!(line.matches('"').count(), 2, "{line}"),
            }
        }
        server.errors();
    }
}

#[test]
fn renamed_files_are_opened_anew_by_a_reload_and_no_line_is_lost() {
    let mut server = logged("").start();
    let text = logged("").text();
    let mut stream = raw::connect(server.http);
    for turn in 0..3 {
        assert_eq!(raw::get(&mut stream, &format!("/before{turn}")).0, 200);
        let log = server.path().join("access.log");
        fs::rename(&log, server.path().join(format!("access.log.{turn}"))).expect("renamed");
        // Between the renaming and the signal lines still go to the renamed file.
        assert_eq!(raw::get(&mut stream, &format!("/between{turn}")).0, 200);
        assert!(server.reload(&text).contains("reloaded"));
        assert_eq!(raw::get(&mut stream, &format!("/after{turn}")).0, 200);
        let after = accesses(&server, 1);
        assert_eq!(json(&after[0])["path"], format!("/after{turn}"));
        let renamed = lines(
            &server,
            &format!("access.log.{turn}"),
            2 + usize::from(turn > 0),
        );
        assert_eq!(
            json(renamed.last().expect("a line"))["path"],
            format!("/between{turn}")
        );
    }
}

#[test]
fn a_full_disk_holds_nobody_up() {
    let site = Site {
        head: "[log]\nerrors = \"/dev/full\"\naccess = \"/dev/full\"".into(),
        ..Site::default()
    };
    let mut server = site.start();
    let mut stream = raw::connect(server.http);
    for _ in 0..200 {
        assert_eq!(raw::get(&mut stream, "/").0, 200);
    }
    let line = server
        .wait_line("a log cannot be written")
        .expect("a warning");
    assert!(line.contains("/dev/full"), "{line}");
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn stdout_is_a_target_and_a_reader_that_sleeps_holds_nobody_up() {
    let site = Site {
        head: "[log]\nerrors = \"off\"\naccess = \"stdout\"".into(),
        ..Site::default()
    };
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut server = Server::start_in(folder(), &site.text(), |command| {
        command.stdout(Stdio::from(writer));
    });
    let mut stream = raw::connect(server.http);
    // Some ten times what a pipe holds.
    for _ in 0..2000 {
        assert_eq!(raw::get(&mut stream, "/").0, 200);
    }
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        text
    });
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    let text = reading.join().expect("read");
    assert_eq!(
        text.lines()
            .filter(|line| json(line)["path"] == "/")
            .count(),
        2000
    );
}

#[test]
fn an_error_log_that_is_off_writes_nothing_anywhere() {
    let site = Site {
        head: "[log]\nerrors = \"off\"".into(),
        ..Site::default()
    };
    let mut server = site.start();
    let response = raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(raw::status(&response), 400);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!server.path().join("errors.log").exists());
    assert!(!server.log().contains("\"reason\""), "{}", server.log());
}

#[test]
fn an_error_log_on_stderr_is_among_the_servers_own_lines() {
    let site = Site {
        head: "[log]\nerrors = \"stderr\"".into(),
        ..Site::default()
    };
    let mut server = site.start();
    raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    let line = server.wait_line("\"reason\":\"Hostname\"").expect("a line");
    assert_eq!(json(&line)["status"], 400);
}

#[test]
fn an_aborted_download_is_told_as_incomplete() {
    let folder = folder();
    fs::create_dir(folder.path().join("www")).expect("www/");
    fs::write(folder.path().join("www/big"), vec![b'x'; 30_000_000]).expect("a file");
    let mut site = logged("");
    site.handler = "type = \"files\"\nroot = \"../www\"".into();
    let server = Server::start_in(folder, &site.text(), |_| {});
    let mut stream = raw::connect(server.http);
    raw::ask(&mut stream, "/big");
    stream
        .read_exact(&mut [0; 1000])
        .expect("the response has begun");
    drop(stream);
    let line = json(&accesses(&server, 1)[0]);
    assert_eq!(
        (&line["status"], &line["complete"]),
        (&200.into(), &false.into())
    );
    let sent = line["bytes_sent"].as_u64().expect("a number");
    assert!((1000..30_000_000).contains(&sent), "{sent}");
    let mut stream = raw::connect(server.http);
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("sent");
    raw::read_to_end(&mut stream);
    let line = json(&accesses(&server, 2)[1]);
    assert_eq!(
        (&line["bytes_sent"], &line["complete"]),
        (&30_000_000.into(), &true.into())
    );
}

#[test]
fn what_a_reload_finds_is_json_where_the_own_log_is() {
    let head = "[log]\nformat = \"json\"\n";
    let site = Site {
        head: head.into(),
        ..Site::default()
    };
    let mut server = Server::spawn(folder(), &site.text(), |_| {});
    server.wait_line("\"ready\"").expect("it starts");
    let text = site.text();
    let file = server.path().join("config/bindings.toml");
    let wrong = text.replacen("[[pool]]\n", "[[pool]]\nconcurency = 1\n", 1);
    fs::write(file, &wrong).expect("the bindings file");
    server.signal("HUP");
    server.wait_line("was not taken").expect("it is refused");
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(json).collect();
    let found: Vec<_> = (lines.iter())
        .filter(|line| line["finding"] == "unknown-key")
        .collect();
    assert_eq!(found.len(), 1, "{log}");
    let at = wrong
        .lines()
        .position(|line| line.starts_with("concurency"));
    assert_eq!(found[0]["level"], "ERROR");
    assert_eq!(found[0]["line"], at.expect("the line") + 1);
    let said = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
    assert!(said("message").contains("`concurency`"), "{log}");
    assert!(said("help").contains("`concurrency`"), "{log}");
    assert!(said("file").ends_with("bindings.toml"), "{log}");
    // What is found at the start comes the same way: the text that a person would read is nowhere.
    assert!(!log.contains("-->"), "{log}");
}
