//! Certificates that are sent compressed (RFC 8879).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::compress::{BROTLI_DECOMPRESSOR, CertDecompressor, ZLIB_DECOMPRESSOR};
use rustls::pki_types::ServerName;

use super::{Setup, client_of};
use crate::support::Server;

/// Counts what comes.
struct Counting {
    stream: TcpStream,
    came: usize,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.came += read;
        Ok(read)
    }
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What a handshake brings a client that takes certificates so.
fn handshake_bytes(server: &Server, decompressors: &[&'static dyn CertDecompressor]) -> usize {
    let mut config = client_of(server, &[&rustls::version::TLS13]);
    config.cert_decompressors = decompressors.to_vec();
    let name = ServerName::try_from("a.test").expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a session");
    let stream = TcpStream::connect(("127.0.0.1", server.https)).expect("the server listens");
    let mut counting = Counting { stream, came: 0 };
    while session.is_handshaking() {
        session.complete_io(&mut counting).expect("a handshake");
    }
    counting.came
}

#[test]
fn a_chain_is_sent_compressed_to_clients_that_take_it_so() {
    let mut setup = Setup::new();
    let intermediate = setup.authority.intermediate("an intermediate between them");
    let issued = intermediate.issue(&["a.test", "www.a.test", "shop.a.test", "static.a.test"]);
    let certs = setup.folder.path().join("certs");
    let chain = issued.write(&certs, "a.test");
    std::fs::write(&chain, issued.chain.clone() + &intermediate.pem).expect("the chain");
    setup = setup.binding("127.0.0.1", "a.test", "");
    let server = setup.start();
    let plain = handshake_bytes(&server, &[]);
    let brotli = handshake_bytes(&server, &[BROTLI_DECOMPRESSOR]);
    let zlib = handshake_bytes(&server, &[ZLIB_DECOMPRESSOR]);
    let said = format!("{plain} bytes plain, {brotli} with brotli, {zlib} with zlib");
    assert!(plain - brotli > 150 && plain - zlib > 150, "{said}");
}
