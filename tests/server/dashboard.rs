//! The dashboard: in Chromium, by whoever else asks what it asks, and by those who may not.

mod answers;
mod page;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Server, Site, free_port, raw};

/// A server whose dashboard is at a loopback address.
struct Dashboard {
    server: Server,
    port: u16,
}

impl Dashboard {
    fn start(site: Site) -> Self {
        let port = free_port();
        let site = Site {
            head: format!("[server]\nadmin = \"127.0.0.1:{port}\"\n{}", site.head),
            ..site
        };
        let server = site.start();
        Self { server, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn token(&self) -> String {
        fs::read_to_string(self.server.path().join("state/admin-token")).expect("the token")
    }

    fn connect(&self) -> TcpStream {
        raw::connect(self.port)
    }

    /// What a program with the token is answered.
    fn ask(&self, path: &str) -> (u16, String) {
        let token = format!("Authorization: Bearer {}", self.token());
        exchange(self.connect(), "GET", path, &[&token], "")
    }

    fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask(path);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The head of an answer to a login.
    fn log_in(&self, fields: &[&str], form: &str) -> (u16, String) {
        exchange(self.connect(), "POST", "/login", fields, form)
    }
}

/// One request with some fields, and its answer: status, and head with content.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    fields: &[&str],
    content: &str,
) -> (u16, String) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        head.push_str("Host: localhost\r\n");
    }
    for field in fields {
        head.push_str(&format!("{field}\r\n"));
    }
    let request = format!("{head}Content-Length: {}\r\n\r\n{content}", content.len());
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let status = response.split(' ').nth(1).expect("a status");
    let status = status.parse().expect("a number");
    let content = match path.starts_with("/v1/") && status == 200 {
        true => response
            .split_once("\r\n\r\n")
            .expect("a head")
            .1
            .to_owned(),
        false => response,
    };
    (status, content)
}

fn portunus(server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .args(arguments)
        .output()
        .expect("the portunus binary")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
