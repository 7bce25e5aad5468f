//! A client over HTTP/3: quinn and h3, as they are.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h3::error::{ConnectionError, StreamError};
use http::{HeaderMap, Request, Response};
use quinn::ConnectionError as ConnectionLost;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use tokio::task::JoinHandle;

use super::{PATIENCE, Server};

/// A connection over HTTP/3.
pub struct Http3 {
    /// The socket.
    pub endpoint: quinn::Endpoint,
    /// The connection under it.
    pub quic: quinn::Connection,
    /// Where requests are sent.
    pub requests: Requests,
    /// Ends with the connection.
    pub driver: JoinHandle<ConnectionError>,
}

/// Sends requests; its clones do so on the same connection.
pub type Requests = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Response<()>,
    /// Its content.
    pub content: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

/// Runs a client to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Asks again and again until it is so, while clients go on.
pub async fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let so = async {
        while !ask() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, so).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// A configuration that trusts the server's development CA.
pub fn config(server: &Server, alpn: &[u8]) -> quinn::ClientConfig {
    trusting(&fs::read(server.ca()).expect("the development CA"), alpn)
}

/// A configuration that trusts this CA.
pub fn trusting(mut pem: &[u8], alpn: &[u8]) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut pem) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = QuicClientConfig::try_from(tls).expect("a suite for first packets");
    quinn::ClientConfig::new(Arc::new(tls))
}

/// A client's socket. What is waited for on it in vain is a failure.
pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

/// Makes the handshake.
pub async fn handshake(
    server: &Server,
    sni: &str,
    alpn: &[u8],
) -> Result<(quinn::Endpoint, quinn::Connection), ConnectionLost> {
    handshake_with(server, config(server, alpn), sni).await
}

/// Makes the handshake in this way.
pub async fn handshake_with(
    server: &Server,
    config: quinn::ClientConfig,
    sni: &str,
) -> Result<(quinn::Endpoint, quinn::Connection), ConnectionLost> {
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::EndpointConfig::default();
    let endpoint = quinn::Endpoint::new(endpoint, None, socket(), runtime).expect("an endpoint");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.https));
    let connecting = endpoint.connect_with(config, address, sni);
    let connection = connecting.expect("a server name").await?;
    Ok((endpoint, connection))
}

/// Makes the handshake through another port than the server's own.
pub async fn handshake_at(server: &Server, port: u16) -> (quinn::Endpoint, quinn::Connection) {
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connecting = endpoint.connect_with(config(server, b"h3"), address, "localhost");
    let connection = connecting.expect("a server name").await;
    (endpoint, connection.expect("a handshake"))
}

/// A line for one client that loses every twentieth packet and swaps others, in both directions.
pub struct Relay {
    /// Where the client connects to.
    pub port: u16,
    lost: Arc<AtomicUsize>,
}

impl Relay {
    /// A line to a port of this machine.
    pub fn start(to: u16) -> Self {
        let (near, far) = (socket(), socket());
        far.connect((Ipv4Addr::LOCALHOST, to)).expect("an address");
        let port = near.local_addr().expect("bound").port();
        let lost = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&lost);
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            let (length, client) = near.recv_from(&mut packet).expect("a first packet");
            near.connect(client).expect("an address");
            far.send(&packet[..length]).expect("sent");
            let (near, far) = (Arc::new(near), Arc::new(far));
            for (from, to) in [(near.clone(), far.clone()), (far, near)] {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || carry(&from, &to, &counted));
            }
        });
        Self { port, lost }
    }

    /// Packets that were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Relaxed)
    }
}

fn carry(from: &UdpSocket, to: &UdpSocket, lost: &AtomicUsize) {
    let mut packet = [0; 2048];
    let mut held: Option<Vec<u8>> = None;
    for number in 1_usize.. {
        let Ok(length) = from.recv(&mut packet) else {
            return;
        };
        match number % 20 {
            0 => {
                lost.fetch_add(1, Relaxed);
            }
            7 => held = Some(packet[..length].to_vec()),
            _ => {
                // The other side may be gone.
                let _ = to.send(&packet[..length]);
                if let Some(held) = held.take() {
                    let _ = to.send(&held);
                }
            }
        }
    }
}

impl Http3 {
    /// Connects and asks for this name.
    pub async fn connect(server: &Server, sni: &str) -> Self {
        let (endpoint, quic) = handshake(server, sni, b"h3").await.expect("a handshake");
        Self::over(endpoint, quic).await
    }

    /// Speaks HTTP/3 on a connection.
    pub async fn over(endpoint: quinn::Endpoint, quic: quinn::Connection) -> Self {
        let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(quic.clone()))
            .await
            .expect("settings");
        let driver =
            tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Self {
            endpoint,
            quic,
            requests,
            driver,
        }
    }

    /// GET.
    pub async fn get(&mut self, uri: &str) -> Answer {
        let request = Request::get(uri).body(()).expect("a request");
        self.ask(request, &[]).await.expect("a response")
    }

    /// Sends a request with content in these pieces, and reads the response.
    pub async fn ask(
        &mut self,
        request: Request<()>,
        content: &[&'static [u8]],
    ) -> Result<Answer, StreamError> {
        ask(&mut self.requests, request, content).await
    }
}

/// Sends a request on a connection that others may use too, and reads the response.
pub async fn ask(
    requests: &mut Requests,
    request: Request<()>,
    content: &[&'static [u8]],
) -> Result<Answer, StreamError> {
    let mut stream = requests.send_request(request).await?;
    for piece in content {
        stream.send_data(Bytes::from_static(piece)).await?;
    }
    stream.finish().await?;
    let head = stream.recv_response().await?;
    let mut content = BytesMut::new();
    while let Some(piece) = stream.recv_data().await? {
        content.extend_from_slice(piece.chunk());
    }
    Ok(Answer {
        head,
        content: content.freeze(),
        trailers: stream.recv_trailers().await?,
    })
}
