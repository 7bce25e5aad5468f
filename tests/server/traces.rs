//! Traces: what a collector gets to see of requests, whom it is told to whom a request belongs, and what happens when it does not
//! take what it gets.

mod handshakes;
mod outages;
mod sampling;
mod tree;

use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::{Server, Site, Tool, Upstream, wait_for};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const LOGS: &str = "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n";

/// A server in front of `handler`, with these keys of `[traces]` and of `[server]`.
fn traced(collector: &Collector, keys: &str, server: &str, handler: &str) -> Server {
    Site {
        head: format!("{LOGS}{}[server]\n{server}\n", collector.traces(keys)),
        handler: handler.into(),
        ..Site::default()
    }
    .start()
}

fn proxy(port: u16) -> String {
    format!("type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]")
}

/// The field of a head that a scripted upstream has read.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The parts of a `traceparent`: trace, span and whether it is recorded.
fn parts(traceparent: &str) -> (&str, &str, bool) {
    let parts: Vec<_> = traceparent.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{traceparent}");
    (parts[1], parts[2], parts[3] == "01")
}

/// The first line of a log with this path.
fn logged(server: &Server, log: &str, path: &str) -> Value {
    wait_for(&format!("{path} in {log}"), || {
        let text = std::fs::read_to_string(server.path().join(log)).ok()?;
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line["path"] == path)
    })
}

/// Asks by curl, and gives the status.
fn ask(server: &Server, how: &str, path: &str) -> String {
    let (scheme, port) = match how {
        "http" => ("http", server.http),
        _ => ("https", server.https),
    };
    let mut curl = Tool::curl(server);
    if how == "h2" {
        curl = curl.arg("--http2");
    }
    curl.args(["-o", "/dev/null", "-w", "%{http_code}"])
        .arg(format!("{scheme}://localhost:{port}{path}"))
        .stdout()
}

fn scripted() -> Upstream {
    Upstream::start(|talk| talk.answer_all(OK))
}

/// A counter of `/metrics`.
fn counted(server: &Server, series: &str) -> u64 {
    let socket = server.path().join("run/portunus.sock");
    let text = Tool::curl(server)
        .arg("--unix-socket")
        .arg(socket)
        .arg("http://localhost/metrics")
        .stdout();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in {text}"))
        .parse()
        .expect("a number")
}

fn wait_counted(server: &Server, series: &str, count: u64) {
    wait_for(&format!("{series} {count}"), || {
        (counted(server, series) >= count).then_some(())
    });
}
