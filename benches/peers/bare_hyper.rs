//! The least server that hyper, h2 and rustls make: what Portunus' own layers are measured against.
//!
//! One thread, no routing, no limits, no logs. `bare_hyper PLAIN_PORT TLS_PORT CHAIN KEY` serves the same 13 bytes over
//! HTTP/1.1 in cleartext and over HTTP/1.1 and HTTP/2 by ALPN, on 127.0.0.1, until it is killed.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: &str = "Hello, World!";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plain, tls, chain, key] = arguments.as_slice() else {
        bail!("usage: bare_hyper PLAIN_PORT TLS_PORT CHAIN KEY");
    };
    let acceptor = acceptor(chain, key)?;
    let plain = TcpListener::bind(("127.0.0.1", plain.parse()?)).await?;
    let tls = TcpListener::bind(("127.0.0.1", tls.parse()?)).await?;
    tokio::join!(serve_plain(plain), serve_tls(tls, acceptor));
    Ok(())
}

fn acceptor(chain: &str, key: &str) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(chain)
        .with_context(|| format!("{chain} cannot be read"))?
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{key} cannot be read"))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve_plain(listener: TcpListener) {
    loop {
        let stream = accept(&listener).await;
        tokio::spawn(http1(stream));
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let stream = accept(&listener).await;
        let handshake = acceptor.accept(stream);
        tokio::spawn(async move {
            // A client that gives up is no concern of a benchmark's.
            let Ok(stream) = handshake.await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream).await;
            } else {
                http1(stream).await;
            }
        });
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().await.expect("a loopback accept succeeds");
    stream.set_nodelay(true).expect("an open socket takes it");
    stream
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(async |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
        fields(response.headers_mut());
        Ok::<_, Infallible>(response)
    });
    // Ends with an error when the client closes in the middle; nothing is owed to it.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(async |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
        fields(response.headers_mut());
        Ok::<_, Infallible>(response)
    });
    // Ends with an error when the client closes in the middle; nothing is owed to it.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn fields(headers: &mut http::HeaderMap) {
    headers.insert("server", HeaderValue::from_static("bare"));
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
}
