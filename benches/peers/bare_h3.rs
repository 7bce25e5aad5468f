//! The least HTTP/3 server that quinn, h3 and h3-quinn make: what Portunus' own layers are measured against.
//!
//! One thread, no routing, no limits, no logs. `bare_h3 PORT CHAIN KEY` serves the same 13 bytes and fields as the others, on
//! 127.0.0.1, until it is killed.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use bytes::Bytes;
use h3::server::RequestResolver;
use http::{HeaderValue, Response};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: &str = "Hello, World!";

thread_local! {
    /// Written once a second, as hyper does it.
    static DATE: RefCell<HeaderValue> = const { RefCell::new(HeaderValue::from_static("")) };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, chain, key] = arguments.as_slice() else {
        bail!("usage: bare_h3 PORT CHAIN KEY");
    };
    let address = format!("127.0.0.1:{port}").parse()?;
    let endpoint = quinn::Endpoint::server(config(chain, key)?, address)?;
    set_date()?;
    tokio::spawn(async {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            set_date().expect("a date is a field's value");
        }
    });
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            // A client that gives up is no concern of a benchmark's.
            if let Ok(connection) = incoming.await {
                serve(connection).await;
            }
        });
    }
    Ok(())
}

fn config(chain: &str, key: &str) -> anyhow::Result<quinn::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(chain)
        .with_context(|| format!("{chain} cannot be read"))?
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{key} cannot be read"))?;
    let mut tls = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = QuicServerConfig::try_from(tls)?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(tls)))
}

fn set_date() -> anyhow::Result<()> {
    let date = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))?;
    DATE.set(date);
    Ok(())
}

async fn serve(connection: quinn::Connection) {
    let connection = h3_quinn::Connection::new(connection);
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(connection).await else {
        return;
    };
    while let Ok(Some(resolver)) = connection.accept().await {
        tokio::spawn(async {
            // Ends with an error when the client closes in the middle; nothing is owed to it.
            let _ = answer(resolver).await;
        });
    }
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
) -> Result<(), h3::error::StreamError> {
    let (_, mut stream) = resolver.resolve_request().await?;
    let mut head = Response::new(());
    let fields = head.headers_mut();
    fields.insert("server", HeaderValue::from_static("bare"));
    fields.insert("content-type", HeaderValue::from_static("text/plain"));
    fields.insert("content-length", HeaderValue::from_static("13"));
    fields.insert("date", DATE.with_borrow(HeaderValue::clone));
    stream.send_response(head).await?;
    stream
        .send_data(Bytes::from_static(BODY.as_bytes()))
        .await?;
    stream.finish().await
}
