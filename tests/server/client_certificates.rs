//! Certificates of clients: who is let in, who is not and why, and what those behind learn of them.

mod fields;
mod refused;
mod revoked;
mod setup;
mod walls;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;

use crate::support::{Authority, PATIENCE, Server, Tool, folder, raw};

/// A server whose bindings share one certificate, for every `*.test`, and clients of a CA of their own.
struct Setup {
    folder: TempDir,
    clients: Authority,
    head: String,
    bindings: String,
    handler: String,
}

/// A client's certificate and its key.
struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

const REQUIRE: &str = "client_certificates = { mode = \"require\", ca = \"../clients.pem\" }";
const REQUIRE_UNREVOKED: &str = "client_certificates = { mode = \"require\", ca = \"../clients.pem\", crl = \"../clients.crl\" }";
const REQUEST: &str = "client_certificates = { mode = \"request\", ca = \"../clients.pem\" }";

impl Setup {
    fn new() -> Self {
        let folder = folder();
        let servers = Authority::new("server CA");
        servers.write(&folder.path().join("ca.pem"));
        let names = [
            "open.test",
            "own.test",
            "too.test",
            "asked.test",
            "x.wild.test",
            "y.wild.test",
        ];
        let certs = folder.path().join("certs");
        servers.issue(&names).write(&certs, "all");
        servers.issue(&names).write(&certs, "_default");
        let clients = Authority::new("clients CA");
        clients.write(&folder.path().join("clients.pem"));
        let setup = Self {
            folder,
            clients,
            head: "[[certificate]]\nname = \"all\"\nchain = \"../certs/all.pem\"\nkey = \"../certs/all.key\"\n".into(),
            bindings: String::new(),
            handler: "type = \"respond\"\nbody = \"Hello, World!\"".into(),
        };
        setup.revoke(&[]);
        setup
    }

    fn binding(mut self, hostname: &str, keys: &str) -> Self {
        self.bindings += &format!(
            "[[binding]]\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{hostname}\"\nsite = \"main\"\n{keys}\n"
        );
        // A named certificate goes to whoever sends no SNI too; it is `_default.pem` that a folder has for him.
        if hostname.starts_with('*') || keys.contains("protocol = \"http\"") {
            return self;
        }
        self.bindings += "certificate = \"all\"\n";
        self
    }

    fn head(mut self, text: &str) -> Self {
        self.head = format!("{text}\n{}", self.head);
        self
    }

    fn handler(mut self, handler: &str) -> Self {
        self.handler = handler.into();
        self
    }

    fn text(&self) -> String {
        format!(
            "{}\n{}\n[[site]]\nname = \"main\"\n[[site.route]]\npool = \"main\"\n[[pool]]\nname = \"main\"\n[pool.handler]\n{}\n",
            self.head, self.bindings, self.handler
        )
    }

    /// The list of revoked certificates, from now on for a year.
    fn revoke(&self, serials: &[u64]) {
        let list = self.clients.revokes(serials, in_seconds(31_536_000));
        std::fs::write(self.folder.path().join("clients.crl"), list).expect("a list");
    }

    /// The server, and the CA of its clients.
    fn start(self) -> (Server, Authority) {
        let text = self.text();
        (Server::start_in(self.folder, &text, |_| {}), self.clients)
    }
}

fn in_seconds(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds)
}

/// A client of this CA.
fn client(authority: &Authority, name: &str, serial: u64) -> Client {
    client_with(authority, name, serial, |_| {})
}

fn client_with(
    authority: &Authority,
    name: &str,
    serial: u64,
    change: impl FnOnce(&mut CertificateParams),
) -> Client {
    let issued = authority.issue_with(&[name], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        change(params);
    });
    Client {
        chain: rustls_pemfile::certs(&mut issued.chain.as_bytes())
            .collect::<Result<_, _>>()
            .expect("PEM"),
        key: rustls_pemfile::private_key(&mut issued.key.as_bytes())
            .expect("PEM")
            .expect("a key"),
    }
}

impl Client {
    /// Writes `NAME.pem` and `NAME.key`, for tools.
    fn write(&self, folder: &Path, name: &str) {
        let pem = |kind: &str, der: &[u8]| {
            let file = folder.join(format!("{name}.{kind}.der"));
            std::fs::write(&file, der).expect("a file");
            file
        };
        let leaf = pem("leaf", &self.chain[0]);
        Tool::new("openssl")
            .args(["x509", "-inform", "DER", "-in"])
            .arg(leaf)
            .arg("-out")
            .arg(folder.join(format!("{name}.pem")))
            .stdout();
        Tool::new("openssl")
            .args(["pkey", "-inform", "DER", "-in"])
            .arg(pem("key", self.key.secret_der()))
            .arg("-out")
            .arg(folder.join(format!("{name}.key")))
            .stdout();
    }
}

fn roots(server: &Server) -> rustls::RootCertStore {
    let pem = std::fs::read(server.path().join("ca.pem")).expect("the CA");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*pem) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    roots
}

/// A rustls client, with a certificate or without.
fn config(
    server: &Server,
    version: &'static rustls::SupportedProtocolVersion,
    client: Option<&Client>,
) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("TLS versions")
        .with_root_certificates(roots(server));
    match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
            .expect("a certificate and its key"),
    }
}

/// The same over QUIC.
fn quic(config: rustls::ClientConfig) -> quinn::ClientConfig {
    let mut config = config;
    config.alpn_protocols = vec![b"h3".to_vec()];
    let config = QuicClientConfig::try_from(config).expect("a suite for first packets");
    quinn::ClientConfig::new(Arc::new(config))
}

type Stream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Makes a handshake; in TLS 1.3 a client learns only later that its certificate is refused.
fn connect(
    config: &Arc<rustls::ClientConfig>,
    server: &Server,
    name: &str,
) -> std::io::Result<Stream> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.https)).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::clone(config), name).expect("a session");
    session.complete_io(&mut stream)?;
    Ok(rustls::StreamOwned::new(session, stream))
}

/// The status of a GET of `/` of a host on a connection that stays open.
fn status(stream: &mut Stream, host: &str) -> u16 {
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request is taken");
    raw::status(&raw::read_response(stream).0)
}

/// What a handshake and a first request come to: a status, or how the connection ended.
fn visit(config: &Arc<rustls::ClientConfig>, server: &Server, name: &str) -> Result<u16, String> {
    let mut stream = connect(config, server, name).map_err(|error| error.to_string())?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    // The server may be gone already.
    let _ = stream.write_all(request.as_bytes());
    let mut byte = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut byte).map_err(|error| error.to_string())?;
    Ok(raw::status(&String::from_utf8_lossy(&byte)))
}

/// curl, for this host of the server.
fn curl(server: &Server, host: &str, client: Option<&str>) -> Tool {
    let port = server.https;
    let mut curl = Tool::new("curl")
        .args(["-sS", "--max-time", "100", "--noproxy", "*", "--cacert"])
        .arg(server.path().join("ca.pem"))
        .arg("--resolve")
        .arg(format!("{host}:{port}:127.0.0.1"));
    if let Some(client) = client {
        curl = curl
            .arg("--cert")
            .arg(server.path().join(format!("{client}.pem")))
            .arg("--key")
            .arg(server.path().join(format!("{client}.key")));
    }
    curl.arg(format!("https://{host}:{port}/"))
}
