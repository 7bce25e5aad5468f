//! A load of HTTP/3: connections of many streams each, the next request as soon as one is answered.
//!
//! One thread, each connection with a socket of its own, as clients have. The request is written once and sent as it is, and of
//! a response no more is read than its frames, its status and its length: the less this end works, the closer the server
//! comes to its limit. `--once` asks once instead, with all that the h3 crate checks, and prints the answer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes};
use clap::Parser;
use http::Uri;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, ReadError, WriteError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tokio::time::Instant;

#[path = "h3_load/frames.rs"]
mod frames;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Loads an HTTP/3 server, and prints what came of it as JSON. The letters are h2load's.
#[derive(Parser)]
struct Options {
    /// https://NAME:PORT/PATH
    url: Uri,
    /// Connections.
    #[arg(short, default_value_t = 1)]
    connections: usize,
    /// Requests at once on each connection.
    #[arg(short = 'm', default_value_t = 1)]
    streams: usize,
    /// How long, behind the warm-up.
    #[arg(short = 'D', value_name = "SECONDS", conflicts_with = "requests")]
    seconds: Option<f64>,
    /// How many requests, behind the warm-up.
    #[arg(short = 'n')]
    requests: Option<u64>,
    /// How long requests are sent before they are counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2)]
    warm_up: f64,
    /// Asks once and prints the answer.
    #[arg(long)]
    once: bool,
}

/// Where to, and what is sent there on each stream.
struct Target {
    url: Uri,
    name: String,
    address: SocketAddr,
    config: quinn::ClientConfig,
    request: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let target = Arc::new(Target::new(options.url.clone())?);
    if options.once {
        println!("{}", target.ask_once().await?);
        return Ok(ExitCode::SUCCESS);
    }
    let (tally, seconds) = load(&options, &target).await?;
    println!("{}", tally.told(seconds));
    Ok(match tally.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Target {
    fn new(url: Uri) -> anyhow::Result<Self> {
        ensure!(url.scheme_str() == Some("https"), "HTTP/3 is https alone");
        let authority = url.authority().context("a URL names a server")?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let port = authority.port_u16().unwrap_or(443);
        let found: Vec<_> = (authority.host(), port).to_socket_addrs()?.collect();
        let first = found.iter().find(|address| address.is_ipv4());
        let Some(address) = first.or(found.first()) else {
            bail!("{authority} has no address");
        };
        Ok(Self {
            name: authority.host().to_owned(),
            address: *address,
            config: config()?,
            request: frames::request(authority.as_str(), path),
            url,
        })
    }

    async fn connect(&self) -> anyhow::Result<(quinn::Endpoint, quinn::Connection)> {
        let endpoint = match self.address {
            SocketAddr::V4(_) => quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?,
            SocketAddr::V6(_) => quinn::Endpoint::client("[::]:0".parse()?)?,
        };
        let connection = endpoint.connect_with(self.config.clone(), self.address, &self.name)?;
        Ok((endpoint, connection.await?))
    }

    /// One answer, as the h3 crate reads it.
    async fn ask_once(&self) -> anyhow::Result<serde_json::Value> {
        let (endpoint, connection) = self.connect().await?;
        let (mut driver, mut requests) =
            h3::client::new(h3_quinn::Connection::new(connection)).await?;
        let request = http::Request::get(self.url.clone()).body(())?;
        let asked = async {
            let mut stream = requests.send_request(request).await?;
            stream.finish().await?;
            let head = stream.recv_response().await?;
            let mut content = Vec::new();
            while let Some(piece) = stream.recv_data().await? {
                content.put(piece);
            }
            anyhow::Ok((head, content))
        };
        let (head, content) = tokio::select! {
            error = std::future::poll_fn(|cx| driver.poll_close(cx)) => return Err(error.into()),
            answer = asked => answer?,
        };
        let fields: BTreeMap<_, _> = (head.headers().iter())
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        drop((requests, driver));
        endpoint.wait_idle().await;
        Ok(json!({
            "status": head.status().as_u16(),
            "fields": fields,
            "body": String::from_utf8_lossy(&content),
        }))
    }
}

/// When requests are counted, and when there are enough.
struct Plan {
    counted_from: Instant,
    until: Option<Instant>,
    left: AtomicU64,
}

impl Plan {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let counted_from = Instant::now() + Duration::try_from_secs_f64(options.warm_up)?;
        let until = match (options.seconds, options.requests) {
            (Some(seconds), None) => Some(counted_from + Duration::try_from_secs_f64(seconds)?),
            (None, Some(_)) => None,
            _ => bail!("either -D or -n says when to end"),
        };
        Ok(Self {
            counted_from,
            until,
            left: options.requests.unwrap_or(0).into(),
        })
    }

    /// Whether another request is sent, and whether it is counted.
    fn next(&self, now: Instant) -> Option<bool> {
        if now < self.counted_from {
            return Some(false);
        }
        let goes_on = match self.until {
            Some(until) => now < until,
            None => (self.left)
                .try_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok(),
        };
        goes_on.then_some(true)
    }
}

/// What came of the requests of one stream after the other.
#[derive(Default)]
struct Tally {
    warm_up: u64,
    latencies_us: Vec<u32>,
    content_bytes: u64,
    failures: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn fail(&mut self, kind: &'static str) {
        *self.failures.entry(kind).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.warm_up += other.warm_up;
        self.latencies_us.extend(other.latencies_us);
        self.content_bytes += other.content_bytes;
        for (kind, count) in other.failures {
            *self.failures.entry(kind).or_default() += count;
        }
    }

    fn told(&self, seconds: f64) -> serde_json::Value {
        json!({
            "requests": self.latencies_us.len(),
            "warm_up": self.warm_up,
            "failures": self.failures,
            "content_bytes": self.content_bytes,
            "p50_us": self.percentile(50),
            "p99_us": self.percentile(99),
            "seconds": seconds,
        })
    }

    /// Of latencies that are sorted.
    fn percentile(&self, percent: usize) -> Option<u32> {
        let index = self.latencies_us.len() * percent / 100;
        self.latencies_us.get(index).copied()
    }
}

/// The whole load; what came of it, and how many seconds those requests took that are counted.
async fn load(options: &Options, target: &Arc<Target>) -> anyhow::Result<(Tally, f64)> {
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let (endpoint, connection) = target.connect().await?;
        let control = begin(&connection).await?;
        connections.push((endpoint, connection, control));
    }
    let plan = Arc::new(Plan::new(options)?);
    let mut streams = Vec::new();
    for (_, connection, _) in &connections {
        for _ in 0..options.streams {
            let of_one = of_one_stream(target.clone(), connection.clone(), plan.clone());
            streams.push(tokio::spawn(of_one));
        }
    }
    let mut tally = Tally::default();
    for stream in streams {
        tally.add(stream.await?);
    }
    let seconds = plan.counted_from.elapsed().as_secs_f64();
    for (endpoint, connection, _) in &connections {
        connection.close(NO_ERROR.into(), b"");
        endpoint.wait_idle().await;
    }
    tally.latencies_us.sort_unstable();
    Ok((tally, seconds))
}

/// A client's control stream, with its settings; and the server's streams, which nobody may close.
async fn begin(
    connection: &quinn::Connection,
) -> anyhow::Result<(quinn::SendStream, tokio::task::JoinHandle<()>)> {
    let mut control = connection.open_uni().await?;
    control.write_all(&frames::CONTROL).await?;
    let connection = connection.clone();
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(stream) = connection.accept_uni().await {
            held.push(stream);
        }
    });
    Ok((control, held))
}

/// Requests one after the other, until the plan is fulfilled or the connection is lost.
async fn of_one_stream(
    target: Arc<Target>,
    connection: quinn::Connection,
    plan: Arc<Plan>,
) -> Tally {
    let mut tally = Tally::default();
    let end = plan.until.unwrap_or(plan.counted_from + LONGEST) + PATIENCE;
    let asking = ask_on(&connection, &target.request, &plan, &mut tally);
    if tokio::time::timeout_at(end, asking).await.is_err() {
        tally.fail("unanswered");
    }
    tally
}

async fn ask_on(connection: &quinn::Connection, request: &Bytes, plan: &Plan, tally: &mut Tally) {
    let mut read = Vec::new();
    let mut began = Instant::now();
    while let Some(counted) = plan.next(began) {
        let answered = ask(connection, request, &mut read).await;
        let now = Instant::now();
        match answered {
            Ok(_) if !counted => tally.warm_up += 1,
            Ok(content_bytes) => {
                let latency = (now - began).as_micros();
                (tally.latencies_us).push(u32::try_from(latency).unwrap_or(u32::MAX));
                tally.content_bytes += content_bytes as u64;
            }
            Err(kind) => tally.fail(kind),
        }
        if answered == Err(LOST) {
            return;
        }
        began = now;
    }
}

/// One request; the length of its response's content, or what went wrong.
async fn ask(
    connection: &quinn::Connection,
    request: &Bytes,
    read: &mut Vec<u8>,
) -> Result<usize, &'static str> {
    let (mut send, mut receive) = connection
        .open_bi()
        .await
        .map_err(|_: ConnectionError| LOST)?;
    match send.write_all_chunks(&mut [request.clone()]).await {
        // A server may answer before it has read everything.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(_) => return Err(LOST),
    }
    // It fails where the server has stopped it, which is no failure.
    let _ = send.finish();
    read.clear();
    loop {
        match receive.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk.bytes),
            Ok(None) => break,
            Err(ReadError::Reset(_)) => return Err("reset"),
            Err(_) => return Err(LOST),
        }
    }
    let response = frames::response(read).ok_or("malformed")?;
    if response.is_ok {
        Ok(response.content_bytes)
    } else {
        Err("status")
    }
}

fn config() -> anyhow::Result<quinn::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    // A server that is gone is noticed before whoever waits for this program gives up.
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(PATIENCE.try_into()?));
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Takes any certificate: what is measured is the server.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3 alone".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The connection ended under a request.
const LOST: &str = "connection lost";

/// H3_NO_ERROR (RFC 9114 section 8.1).
const NO_ERROR: u32 = 0x100;

/// How long nothing may come, and for how long a number of requests may take.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(280);
