//! Handshakes over a socket, and what is counted of them.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::certificate::{Certificates, dev};
use crate::config;
use crate::http::BoundTo;
use crate::tls::Handshakes;

/// A table of one binding, and a client that trusts it.
fn one_binding(folder: &Path, port: u16) -> (TlsTable, Arc<rustls::ClientConfig>) {
    dev::make(&folder.join("certs"), &["a.test".into()]).expect("a certificate");
    let text = format!(
        "[tls]\ncertificates = \"certs\"\n[[binding]]\nip = \"127.0.0.1\"\nport = {port}\nhostname = \"a.test\"\nsite = \"a\"\n\
         [[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n[[pool]]\nname = \"a\"\nhandler = {{ type = \"library\" }}\n"
    );
    let loaded = config::parse(&text, &folder.join("bindings.toml"));
    let config = loaded.config.expect("a configuration");
    let bound = BoundTo::all(&config.bindings);
    let keys: Vec<_> = bound.into_iter().map(|bound| bound.key).collect();
    let certificates = Certificates::load(&config);
    let table = TlsTable::build(&config, &keys, &certificates, None).expect("a table");
    let ca = CertificateDer::from_pem_file(folder.join("certs/development-ca.crt")).expect("a CA");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (table, Arc::new(client))
}

#[tokio::test]
async fn full_and_resumed_handshakes_are_counted_apart_and_failed_ones_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (table, client) = one_binding(folder.path(), address.port());
    let report = Report::none();
    let visit = async |name: &'static str| {
        let name = ServerName::try_from(name).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&client));
        let asking = async {
            let stream = TcpStream::connect(address).await.expect("listened on");
            let mut stream = connector.connect(name, stream).await?;
            // The tickets come before the server's end does.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        };
        let answering = async {
            let (stream, client) = listener.accept().await.expect("a connection");
            let (client, local) = (ClientAddr::new(client), LocalAddr::new(address));
            let challenges = crate::acme::Challenges::default();
            let mut handshake = Handshake::new(&table, &report, &challenges, client, local);
            let (mut stream, facts) = handshake.run(stream).await?;
            stream.shutdown().await.expect("an end");
            Some(facts.resumed)
        };
        let (_, answered) = tokio::join!(asking, answering);
        answered
    };
    let counted = || table.handshakes().next().map(|(_, counted)| counted);
    assert_eq!(counted(), Some(Handshakes::default()));
    assert_eq!(visit("a.test").await, Some(false));
    assert_eq!(visit("a.test").await, Some(true));
    assert_eq!(visit("b.test").await, None);
    assert_eq!(visit("a.test").await, Some(true));
    let expected = Handshakes {
        full: 1,
        resumed: 2,
    };
    assert_eq!(counted(), Some(expected));
}
