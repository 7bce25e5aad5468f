//! gRPC at both ends of a proxy: Google's own library, by the scenarios of `grpc_peer.py`.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::python::library;
use super::{Server, Tool};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/server/support/grpc_peer.py"
);

/// A server of gRPC without TLS.
pub struct GrpcServer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub port: u16,
}

impl GrpcServer {
    /// Starts it.
    pub fn start() -> Self {
        let mut child = Command::new("python3")
            .env("PYTHONPATH", library("grpcio"))
            .arg(SCRIPT)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = lines
            .next()
            .expect("grpcio is needed (.ci/setup installs it)")
            .expect("a line");
        let port = port.parse().expect("a port");
        Self { child, lines, port }
    }

    /// Waits until it tells that a call was given up.
    pub fn wait_given_up(&mut self) {
        let line = self.lines.next().expect("it goes on").expect("a line");
        assert_eq!(line, "given up");
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays a scenario against a server, over HTTP/2 and TLS; what came of it.
pub fn grpc(server: &Server, scenario: &str) -> Value {
    let output = Tool::new("python3")
        .env("PYTHONPATH", library("grpcio"))
        .arg(SCRIPT)
        .arg("call")
        .arg(server.https.to_string())
        .arg(server.ca())
        .arg(scenario)
        .output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}
