//! TLS from outside: which certificate a client is shown, what it agrees on, and what is told of it when it does not.

mod compression;
mod failures;
mod names;
mod policy;
mod scanners;
mod sessions;
mod tickets;

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tempfile::TempDir;

use crate::support::{Authority, Server, folder, raw};

/// A server with https bindings of one's own, each on port 0 of its address, that answer `Hello, World!`.
struct Setup {
    folder: TempDir,
    authority: Authority,
    head: String,
    bindings: String,
}

impl Setup {
    fn new() -> Self {
        let folder = folder();
        let authority = Authority::new("test CA");
        authority.write(&folder.path().join("ca.pem"));
        Self {
            folder,
            authority,
            head: String::new(),
            bindings: String::new(),
        }
    }

    /// A certificate in the certificate folder, under a name of its own.
    fn certificate(self, name: &str, hosts: &[&str]) -> Self {
        let certs = self.folder.path().join("certs");
        self.authority.issue(hosts).write(&certs, name);
        self
    }

    fn binding(mut self, ip: &str, hostname: &str, keys: &str) -> Self {
        self.bindings += &format!(
            "[[binding]]\nprotocol = \"https\"\nip = \"{ip}\"\nport = 0\nhostname = \"{hostname}\"\nsite = \"main\"\n{keys}\n"
        );
        self
    }

    fn head(mut self, text: &str) -> Self {
        self.head += text;
        self.head.push('\n');
        self
    }

    fn text(&self) -> String {
        format!(
            "{}\n{}\n[[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
             [[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\nbody = \"Hello, World!\"\n",
            self.head, self.bindings
        )
    }

    fn start(self) -> Server {
        let text = self.text();
        Server::start_in(self.folder, &text, |_| {})
    }
}

/// Where an address is listened on.
fn port_of(server: &mut Server, ip: &str) -> u16 {
    let log = server.log();
    let (_, rest) = log
        .split_once(&format!("https://{ip}:"))
        .expect("a line of the address that is listened on");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

/// `openssl s_client`, with these bytes to send; all that it says.
fn s_client(address: &str, arguments: &[&str], send: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", address])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is needed (.ci/setup installs it)");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // One whose handshake fails does not read what it should send.
    let _ = stdin.write_all(send.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("openssl ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The common name of the certificate that a client is shown, or the alert that it is refused with.
fn shown(port: u16, arguments: &[&str]) -> String {
    let said = s_client(&format!("127.0.0.1:{port}"), arguments, "");
    let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start));
    match line("subject=CN = ") {
        Some(name) => name.to_owned(),
        None => {
            let (_, alert) = said.split_once("SSL alert number ").unwrap_or_default();
            let number: String = alert.chars().take_while(char::is_ascii_digit).collect();
            assert!(!number.is_empty(), "no certificate and no alert: {said}");
            format!("alert {number}")
        }
    }
}

/// A rustls client's configuration that trusts `ca.pem` of the server's folder.
fn client_of(
    server: &Server,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let pem = std::fs::read(server.path().join("ca.pem")).expect("the CA");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*pem) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Connects to an address as a name.
fn connect(
    config: &Arc<rustls::ClientConfig>,
    address: (&str, u16),
    name: &str,
) -> std::io::Result<Stream> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(crate::support::PATIENCE))
        .expect("a timeout");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::clone(config), name).expect("a session");
    session.complete_io(&mut stream)?;
    Ok(rustls::StreamOwned::new(session, stream))
}

/// Asks for `/` of a host and reads the response: its head and its content.
fn ask(stream: &mut Stream, host: &str) -> (String, Vec<u8>) {
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request is taken");
    raw::read_response(stream)
}

/// A ClientHello as rustls writes it.
fn client_hello(server: &Server, name: &str, alpn: &[&str]) -> Vec<u8> {
    let mut config = client_of(server, rustls::ALL_VERSIONS);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}
