//! Clients: raw sockets, and the tools that people use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use super::Server;
use super::server::PATIENCE;

/// Raw bytes over a TCP connection.
pub mod raw {
    use super::*;

    /// Connects.
    pub fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends bytes on a new connection and reads until the server closes it.
    pub fn exchange(port: u16, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = connect(port);
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(bytes.as_ref());
        read_to_end(&mut stream)
    }

    /// The same where what is sent is to be there before any of it is looked at.
    pub fn exchange_at_once(server: &Server, bytes: impl AsRef<[u8]>) -> String {
        read_to_end(&mut send_at_once(server, server.http, bytes))
    }

    /// Connects and sends bytes while the server looks at neither.
    pub fn send_at_once(server: &Server, port: u16, bytes: impl AsRef<[u8]>) -> TcpStream {
        server.at_once(|| {
            let mut stream = connect(port);
            stream.write_all(bytes.as_ref()).expect("sent");
            stream
        })
    }

    /// Reads until the server closes or resets the connection.
    pub fn read_to_end(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        let mut room = [0; 65536];
        loop {
            match stream.read(&mut room) {
                Ok(0) => break,
                Ok(read) => all.extend_from_slice(&room[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}; so far: {}", String::from_utf8_lossy(&all)),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads one response's head.
    pub fn read_head(stream: &mut impl Read) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            // Unlike `read`, this goes on after a signal, which ends a wait with a timeout even where nobody handles it.
            stream.read_exact(&mut byte).unwrap_or_else(|error| {
                let head = String::from_utf8_lossy(&head);
                panic!("{error} within a head: {head:?}")
            });
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head is ASCII")
    }

    /// Reads one response with a Content-Length: its head and content.
    pub fn read_response(stream: &mut impl Read) -> (String, Vec<u8>) {
        let head = read_head(stream);
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(|n| n.trim().parse::<usize>())
        });
        let mut content = vec![0; length.map_or(0, |n| n.expect("a number"))];
        stream.read_exact(&mut content).expect("the content");
        (head, content)
    }

    /// Sends a GET on a connection that stays open, and nothing else.
    pub fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
    }

    /// The status of a GET on a connection that stays open, and the response.
    pub fn get(stream: &mut TcpStream, path: &str) -> (u16, String) {
        ask(stream, path);
        let (head, content) = read_response(stream);
        let text = head + &String::from_utf8_lossy(&content);
        (status(&text), text)
    }

    /// The status of a response.
    pub fn status(response: &str) -> u16 {
        response
            .get(9..12)
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {response:?}"))
    }
}

/// TLS through rustls, for raw bytes behind a handshake.
pub mod tls {
    use super::*;
    use std::sync::Arc;

    /// A TLS connection.
    pub type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

    /// A client configuration that trusts the server's development CA.
    pub fn config(server: &Server, alpn: &[&str]) -> rustls::ClientConfig {
        let pem = std::fs::read(server.ca()).expect("the development CA");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls_pemfile::certs(&mut &*pem) {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config
    }

    /// Connects as `localhost` and finishes the handshake.
    pub fn connect(server: &Server, alpn: &[&str]) -> Stream {
        let mut stream = raw::connect(server.https);
        let name = "localhost".try_into().expect("a name");
        let mut session =
            rustls::ClientConnection::new(Arc::new(config(server, alpn)), name).expect("a session");
        session.complete_io(&mut stream).expect("a handshake");
        rustls::StreamOwned::new(session, stream)
    }
}

/// A tool that must be there: a test whose tool is missing fails.
pub struct Tool(Command);

impl Tool {
    /// The tool by its name.
    pub fn new(name: &str) -> Self {
        let mut command = Command::new(name);
        command.stdin(Stdio::null());
        Self(command)
    }

    /// curl, trusting the server's development CA, silent.
    pub fn curl(server: &Server) -> Self {
        Self::new("curl")
            .args(["-sS", "--max-time", "100", "--noproxy", "*"])
            .arg("--cacert")
            .arg(server.ca())
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.0.args(arguments);
        self
    }

    /// Runs it to its end, whatever that is.
    pub fn output(mut self) -> Output {
        let name = self.0.get_program().to_owned();
        self.0.output().unwrap_or_else(|error| {
            panic!(
                "{} is needed (.ci/setup installs it): {error}",
                name.display()
            )
        })
    }

    /// Runs it; it must succeed. What it wrote to stdout.
    pub fn stdout(self) -> String {
        let output = self.output();
        assert!(
            output.status.success(),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
