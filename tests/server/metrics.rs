//! What the server tells of itself: `/metrics`, `portunus show`, `/livez` and `/readyz`.

mod connections;
mod counts;
mod exposition;
mod health;
mod packaged;
mod scale;
mod shown;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::support::Server;

/// A response of the admin socket or the metrics address: its status, and its content.
fn ask(stream: impl Read + Write, path: &str) -> (u16, String) {
    request(stream, "GET", path)
}

fn request(mut stream: impl Read + Write, method: &str, path: &str) -> (u16, String) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let (head, content) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), content.to_owned())
}

/// What the admin socket answers.
fn admin(server: &Server, path: &str) -> (u16, String) {
    let socket = server.path().join("run/portunus.sock");
    ask(UnixStream::connect(socket).expect("the admin socket"), path)
}

/// What the metrics address answers.
fn watcher(port: u16, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics address");
    ask(stream, path)
}

/// The metrics, as they are now.
fn scrape(server: &Server) -> Vec<(String, f64)> {
    let (status, text) = admin(server, "/metrics");
    assert_eq!(status, 200, "{text}");
    samples(&text)
}

/// Each sample: its name with its labels, and its value.
fn samples(text: &str) -> Vec<(String, f64)> {
    (text.lines())
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// The sum of all series of a name that have all of these labels.
fn sum(samples: &[(String, f64)], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &str| {
        let (of, rest) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
        of == name && labels.iter().all(has)
    };
    let found = samples.iter().filter(|(series, _)| has(series));
    found.map(|(_, value)| value).sum()
}

/// What `portunus show` writes.
fn show(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .arg("show")
        .args(arguments)
        .output()
        .expect("the portunus binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn show_json(server: &Server, what: &str) -> Value {
    serde_json::from_str(&show(server, &[what, "--json"])).expect("JSON")
}
