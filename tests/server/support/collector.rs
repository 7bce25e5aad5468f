//! A collector of OpenTelemetry, by the lines of `collector.py`, which reads what comes by OpenTelemetry's own package.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use serde_json::Value;

use super::python::library;
use super::server::PATIENCE;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/server/support/collector.py"
);

/// A collector.
pub struct Collector {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<Value>,
    /// Requests that came while something else was waited for.
    before: VecDeque<Value>,
    /// Where it listens.
    pub port: u16,
    /// What it took so far.
    pub spans: Vec<Value>,
}

impl Collector {
    /// Starts it.
    pub fn start() -> Self {
        Self::started(&[])
    }

    /// Has a port for it, where nobody listens until it is said how it answers.
    pub fn closed() -> Self {
        Self::started(&["closed"])
    }

    fn started(arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .env("PYTHONPATH", library("opentelemetry-proto"))
            .arg(SCRIPT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let first = lines.next();
        let first = first.expect("opentelemetry-proto is needed (.ci/setup installs it)");
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines {
                let request = serde_json::from_str(&line).expect("a line of JSON");
                if sender.send(request).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take().expect("stdin is piped"),
            child,
            lines: requests,
            before: VecDeque::new(),
            port: first.parse().expect("a port"),
            spans: Vec::new(),
        }
    }

    /// `[traces]` that sends to it, with these keys.
    pub fn traces(&self, keys: &str) -> String {
        let port = self.port;
        format!("[traces]\nendpoint = \"http://127.0.0.1:{port}\"\n{keys}\n")
    }

    /// Has it answer like this from now on: a status, a status with Retry-After, `partly`, or `hold`.
    pub fn answer(&mut self, how: &str) {
        writeln!(self.stdin, "{how}").expect("the collector listens");
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.expect("the collector says that it answers so");
            if line["answers"] == how {
                return;
            }
            self.before.push_back(line);
        }
    }

    /// The next request that comes, whatever it was answered.
    pub fn request(&mut self) -> Value {
        let before = self.before.pop_front();
        let request = before.unwrap_or_else(|| {
            let request = self.lines.recv_timeout(PATIENCE);
            request.expect("a request to the collector")
        });
        assert_eq!(request["wrong"], Value::Null, "{request:#}");
        request
    }

    /// The next request that was answered so; those before it were sent again.
    pub fn request_answered(&mut self, how: &str) -> Value {
        loop {
            let request = self.request();
            if request["answer"] == how {
                return request;
            }
        }
    }

    /// Waits until so many spans were taken that are like this, and gives all of them.
    pub fn wait(&mut self, count: usize, like: impl Fn(&Value) -> bool) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.spans.iter().filter(|span| like(span));
            let found: Vec<_> = found.cloned().collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < until, "{count} spans: {:#?}", self.spans);
            let request = self.request();
            if matches!(request["answer"].as_str(), Some("200" | "partly")) {
                let spans = request["spans"].as_array().expect("spans");
                self.spans.extend(spans.iter().cloned());
            }
        }
    }

    /// Waits for the span of a request of this path.
    pub fn server_span(&mut self, path: &str) -> Value {
        let like = |span: &Value| span["kind"] == SERVER && attribute(span, "url.path") == path;
        self.wait(1, like).remove(0)
    }

    /// Whether nothing came that was not looked at.
    pub fn is_silent(&mut self) -> bool {
        self.before.is_empty() && self.lines.try_recv().is_err()
    }

    /// The spans that came so far and are below this one, in the order of their beginnings.
    pub fn below(&self, span: &Value) -> Vec<Value> {
        let below = |it: &&Value| it["trace"] == span["trace"] && it["parent"] == span["id"];
        let mut found: Vec<_> = self.spans.iter().filter(below).cloned().collect();
        found.sort_by_key(|span| span["start"].as_u64());
        found
    }
}

/// An attribute of a span.
pub fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    &span["attributes"][key]
}

/// `SPAN_KIND_SERVER`
pub const SERVER: u64 = 2;

/// `SPAN_KIND_CLIENT`
pub const CLIENT: u64 = 3;

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
