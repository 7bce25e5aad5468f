//! WebSocket at both ends of a proxy: a server, and clients over every version of HTTP, by the lines of `websocket_peer.py`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::Server;
use super::python::library;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/server/support/websocket_peer.py"
);

/// A process that answers lines with lines.
struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let folders = ["websockets", "h2", "aioquic"].map(library);
        let mut child = Command::new("python3")
            .env("PYTHONPATH", folders.join(std::ffi::OsStr::new(":")))
            .arg(SCRIPT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let stdout = child.stdout.take().expect("stdout is piped");
        Self {
            stdin: child.stdin.take().expect("stdin is piped"),
            lines: BufReader::new(stdout).lines(),
            child,
        }
    }

    fn line(&mut self) -> String {
        (self.lines.next())
            .expect("websockets, h2 and aioquic are needed (.ci/setup installs them)")
            .expect("a line")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that echoes.
pub struct WebSocketServer {
    _peer: Peer,
    /// Where it listens.
    pub port: u16,
}

impl WebSocketServer {
    /// Starts it.
    pub fn start() -> Self {
        let mut peer = Peer::start(&["serve"]);
        let port = peer.line().parse().expect("a port");
        Self { _peer: peer, port }
    }
}

/// A client.
pub struct WebSocket(Peer);

impl WebSocket {
    /// A client that speaks `version`, and has said nothing yet.
    pub fn new(version: &str) -> Self {
        Self(Peer::start(&["call", version]))
    }

    /// Asks for a tunnel on a new connection; the response's head, and what settings allow.
    pub fn open(&mut self, server: &Server, path: &str, fields: Value) -> Value {
        self.open_for("websocket", server, path, fields)
    }

    /// The same for another protocol than WebSocket.
    pub fn open_for(
        &mut self,
        protocol: &str,
        server: &Server,
        path: &str,
        fields: Value,
    ) -> Value {
        self.does(json!([
            "open",
            server.https,
            server.ca(),
            path,
            fields,
            protocol
        ]))
    }

    /// Opens a WebSocket on a new connection.
    pub fn reopen(&mut self, server: &Server, path: &str) {
        let head = self.open(server, path, json!([["sec-websocket-version", "13"]]));
        assert!(
            head[":status"] == "101" || head[":status"] == "200",
            "{head}"
        );
    }

    /// A client whose WebSocket is open.
    pub fn opened(server: &Server, version: &str, path: &str) -> Self {
        let mut client = Self::new(version);
        client.reopen(server, path);
        client
    }

    /// Has something done, and waits for what comes of it.
    pub fn does(&mut self, what: Value) -> Value {
        self.begins(what);
        self.answer()
    }

    /// Has something begun.
    pub fn begins(&mut self, what: Value) {
        writeln!(self.0.stdin, "{what}").expect("the client lives");
    }

    /// Has it stand still, as one that takes nothing.
    pub fn stop(&self) {
        let id = self.0.child.id().to_string();
        let stopped = Command::new("kill").args(["-STOP", &id]).status();
        assert!(stopped.expect("kill").success());
    }

    /// What came of what was begun.
    pub fn answer(&mut self) -> Value {
        let line = self.0.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}
