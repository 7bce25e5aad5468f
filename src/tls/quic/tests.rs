//! The session until its ClientHello is whole, and what becomes of it that is none.

use quinn::Side;
use rustls::pki_types::ServerName;

use super::*;
use crate::binding::Table;

/// A handshake where nobody is served, and its session.
fn begun() -> (QuicHandshake, Box<dyn crypto::Session>) {
    let table = TlsTable::of_nobody(Table::build(&[]));
    let local = LocalAddr::new(([127, 0, 0, 1], 443).into());
    let keys = QuicKeys::new().expect("a suite");
    let handshake = QuicHandshake::new(&keys, Arc::new(table), local);
    let parameters = TransportParameters::read(Side::Client, &mut &[][..]).expect("defaults");
    let session = handshake.crypto().start_session(1, &parameters);
    (handshake, session)
}

/// What a client says first, as QUIC carries it.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let name = ServerName::try_from("www.shop.test").expect("a name");
    let version = rustls::quic::Version::V1;
    let mut client =
        rustls::quic::ClientConnection::new(Arc::new(config), version, name, Vec::new())
            .expect("a client");
    let mut hello = Vec::new();
    assert!(client.write_hs(&mut hello).is_none());
    hello
}

fn refused(handshake: &QuicHandshake) -> Reason {
    let error = ConnectionError::LocallyClosed;
    handshake.refusal(&error).expect("a refusal").reason
}

#[test]
fn a_client_hello_is_waited_for_however_it_is_cut() {
    let hello = client_hello();
    for size in [1, 7, 1000, hello.len()] {
        let (handshake, mut session) = begun();
        let mut pieces = hello.chunks(size).peekable();
        while let Some(piece) = pieces.next() {
            let read = session.read_handshake(piece);
            assert!(session.is_handshaking());
            assert!(session.write_handshake(&mut Vec::new()).is_none());
            if pieces.peek().is_some() {
                assert_eq!(read, Ok(false));
            } else {
                let error = read.expect_err("nobody is served");
                assert_eq!(error.code, quinn::TransportErrorCode::crypto(112));
            }
        }
        assert_eq!(refused(&handshake), Reason::TlsNoCertificate);
        // What has failed stays so.
        assert!(session.read_handshake(&hello).is_err());
    }
}

#[test]
fn what_is_no_client_hello_is_refused_as_soon_as_it_shows() {
    let too_long = [1, 0x01, 0, 0];
    let another = [2, 0, 0, 4];
    let broken = [1, 0, 0, 4, 3, 3, 0, 0];
    for bytes in [&too_long[..], &another, &broken] {
        let (handshake, mut session) = begun();
        let error = session.read_handshake(bytes).expect_err("no ClientHello");
        assert_eq!(error.code, quinn::TransportErrorCode::crypto(50));
        assert_eq!(refused(&handshake), Reason::TlsOther);
    }
}

#[test]
fn what_a_client_ends_a_handshake_with_is_told_by_its_kind() {
    let alert = closed_by_peer(0x100 + 48);
    assert_eq!(alert.reason, Reason::TlsPeerAlert);
    assert!(alert.detail.contains("UnknownCA"), "{}", alert.detail);
    assert_eq!(closed_by_peer(0x0a).reason, Reason::QuicHandshake);
}
