//! One handshake: ClientHello first, then the policy of the binding that it names.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use rustls::server::{Accepted, Acceptor, ClientHello};
use rustls::{CipherSuite, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::clients::{Objection, watched};
use super::failure::{Traced, classify, tell};
use super::hello::{self, NotTls, Reading};
use super::records::{Records, TlsStream};
use super::table::{Chosen, TlsTable};
use crate::acme::{self, Challenges};
use crate::certificate::Offered;
use crate::config::suite_name;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, Refusal, TlsFacts};
use crate::report::Report;

/// A connection on which a handshake is to be made.
pub struct Handshake<'a> {
    /// The policies.
    pub table: &'a TlsTable,
    /// Where failures are told.
    pub report: &'a Report,
    /// What a CA is answered that looks whether a name is ours.
    pub challenges: &'a Challenges,
    /// The client.
    pub client: ClientAddr,
    /// Where it connected to.
    pub local: LocalAddr,
    /// By whom failures are traced, if at all.
    pub traced: Option<Traced<'a>>,
    /// What has arrived of the ClientHello; kept until the handshake is done, to tell of a failure.
    hello: BytesMut,
    /// Whether a failure has been told: a handshake fails once, and for its first reason.
    told: bool,
}

/// A connection that came to no handshake.
struct Ended {
    refusal: Refusal,
    /// What the client is sent before it is left.
    last_words: Vec<u8>,
}

impl<'a> Handshake<'a> {
    /// A handshake of which nothing has arrived.
    pub fn new(
        table: &'a TlsTable,
        report: &'a Report,
        challenges: &'a Challenges,
        client: ClientAddr,
        local: LocalAddr,
    ) -> Self {
        Self {
            table,
            report,
            challenges,
            client,
            local,
            traced: None,
            hello: BytesMut::new(),
            told: false,
        }
    }

    /// Makes the handshake. One that fails is told to the error log, and is none.
    pub async fn run(&mut self, stream: TcpStream) -> Option<(TlsStream, TlsFacts)> {
        let (accepted, stream) = self.begin(stream).await?;
        let hello = accepted.client_hello();
        let sni = hello
            .server_name()
            .map(|name| name.to_ascii_lowercase().into_boxed_str());
        let without_alpn = hello.alpn().is_none();
        let falls_back = (hello.cipher_suites()).contains(&TLS_FALLBACK_SCSV);
        let table = self.table;
        let offered = Offered::of(&hello);
        let chosen = match table.choose(self.local, sni.as_deref(), Some(&offered)) {
            Ok(chosen) => chosen,
            Err(refusal) => {
                self.end(stream, &Ended::alert(refusal, UNRECOGNIZED_NAME))
                    .await;
                return None;
            }
        };
        if let Some(ended) = self.objection(&chosen, without_alpn, falls_back) {
            self.end(stream, &ended).await;
            return None;
        }
        let config = match chosen.policy.config(chosen.certificate) {
            Ok(config) => config,
            Err(error) => {
                self.tell(&Refusal::new(
                    Reason::Internal,
                    format!("the binding's TLS policy cannot be used: {error}"),
                ));
                return None;
            }
        };
        let handshake =
            StartHandshake::from_parts(accepted, Records::new(stream)).into_stream(config);
        match watched(handshake).await {
            (Ok(stream), _) => self.admit(TlsStream::new(stream), sni, &chosen).await,
            (Err(_), Some(objection)) => {
                self.object(&objection);
                None
            }
            (Err(error), None) => {
                self.tell(&classify(&error));
                None
            }
        }
    }

    /// A handshake that is done; whose client may yet be refused: of a session that is resumed, nobody has looked at the
    /// certificate today.
    async fn admit(
        &mut self,
        mut stream: TlsStream,
        sni: Option<Box<str>>,
        chosen: &Chosen<'_>,
    ) -> Option<(TlsStream, TlsFacts)> {
        let mut facts = facts(
            &stream,
            sni,
            chosen.binding.cloned(),
            Arc::clone(&chosen.certificate.covers),
        );
        chosen.policy.count(facts.resumed);
        if let Some(clients) = chosen.policy.clients() {
            let shown = stream.session().peer_certificates();
            match clients.admit(shown, facts.resumed, SystemTime::now()) {
                Ok(identity) => facts.client = Some(identity),
                Err(objection) => {
                    self.object(&objection);
                    // The client has been told that all is well, and no alert can be sent any more but the one that says good-bye.
                    let _ = stream.shutdown().await;
                    return None;
                }
            }
        }
        Some((stream, facts))
    }

    /// Tells of a client's certificate that is refused.
    fn object(&mut self, objection: &Objection) {
        if !std::mem::replace(&mut self.told, true) {
            let whence = (self.client, self.local, Protocol::Tls);
            let hello = hello::read(&self.hello);
            tell(
                self.report,
                hello,
                &objection.refusal(),
                Some(objection),
                self.traced,
                whence,
            );
        }
    }

    /// Why a binding does not take a client, where rustls would take it or say it less well.
    fn objection(
        &self,
        chosen: &Chosen<'_>,
        without_alpn: bool,
        falls_back: bool,
    ) -> Option<Ended> {
        let protocol = |detail| {
            let refusal = Refusal::new(Reason::TlsNoCommonProtocol, detail);
            Some(Ended::alert(refusal, NO_APPLICATION_PROTOCOL))
        };
        if without_alpn && !chosen.policy.speaks_http1() {
            return protocol(
                "the client offers no ALPN, so it would speak HTTP/1.1, which the binding does not",
            );
        }
        if !chosen.policy.speaks_over_tcp() {
            return protocol("the binding offers only h3, which is spoken over QUIC");
        }
        // A client says by this suite that it offers less than it has, because a handshake failed before (RFC 7507): if it
        // need not have, somebody between us made it fail.
        if falls_back
            && chosen.policy.speaks_tls13()
            && let Reading::Hello(hello) = hello::read(&self.hello)
            && !hello.supported_versions.contains(&TLS_1_3)
        {
            let detail = "the client falls back to a lower version of TLS than both have (TLS_FALLBACK_SCSV): what it offered \
                          at first was lost or refused on the way";
            let refusal = Refusal::new(Reason::TlsNoCommonVersion, detail);
            return Some(Ended::alert(refusal, INAPPROPRIATE_FALLBACK));
        }
        None
    }

    /// Reads the ClientHello; none where nothing comes of it, and where it is a CA's that has been shown what it looks for.
    async fn begin(&mut self, mut stream: TcpStream) -> Option<(Accepted, TcpStream)> {
        let accepted = match self.read_hello(&mut stream).await {
            Ok(accepted) => accepted?,
            Err(ended) => {
                self.end(stream, &ended).await;
                return None;
            }
        };
        if let Some(proof) = self.proof(&accepted.client_hello()) {
            self.prove(accepted, stream, proof).await;
            return None;
        }
        Some((accepted, stream))
    }

    /// What is shown to a CA that looks whether a name is ours: it offers this one protocol and no other (RFC 8737 section 3).
    /// Nobody is answered so for a name without an order.
    fn proof(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !self.challenges.any() {
            return None;
        }
        let mut offered = hello.alpn()?;
        if offered.next() != Some(acme::TLS_ALPN) || offered.next().is_some() {
            return None;
        }
        self.challenges
            .tls(&hello.server_name()?.to_ascii_lowercase())
    }

    /// Shows it, and closes: there is nothing to be said on such a connection.
    async fn prove(&mut self, accepted: Accepted, stream: TcpStream, proof: Arc<ServerConfig>) {
        let shown = StartHandshake::from_parts(accepted, Records::new(stream))
            .into_stream(proof)
            .await;
        match shown {
            Ok(mut stream) => {
                // The CA has seen what it wanted to see, and may be gone.
                let _ = stream.shutdown().await;
            }
            Err(error) => self.tell(&classify(&error)),
        }
    }

    /// Reads the ClientHello; none where the client closed without a word, as health checks of balancers do.
    async fn read_hello(&mut self, stream: &mut TcpStream) -> Result<Option<Accepted>, Ended> {
        let mut acceptor = Acceptor::default();
        loop {
            let before = self.hello.len();
            self.hello.reserve(HELLO_READ_BYTES);
            match stream.read_buf(&mut self.hello).await {
                Ok(0) if before == 0 => return Ok(None),
                Ok(0) => return Err(self.cut_short(&io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(_) if before == 0 => return Ok(None),
                Err(error) => return Err(self.cut_short(&error)),
            }
            if self.hello[0] != HANDSHAKE_RECORD {
                match hello::read(&self.hello) {
                    // It may still turn out to be HTTP, which has an answer of its own.
                    Reading::Incomplete => continue,
                    reading => return Err(Ended::not_tls(&reading)),
                }
            }
            let mut fresh = &self.hello[before..];
            while !fresh.is_empty() {
                // Reading from memory fails only when the acceptor's own bound is reached, which is near ours.
                if acceptor.read_tls(&mut fresh).is_err() {
                    return Err(Ended::too_long());
                }
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(Some(accepted)),
                Ok(None) if self.hello.len() > hello::WIRE_BYTES_MAX => {
                    return Err(Ended::too_long());
                }
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut words = Vec::new();
                    // Writing to memory does not fail.
                    let _ = alert.write_all(&mut words);
                    return Err(self.misread(error, words));
                }
            }
        }
    }

    /// The connection ended before the ClientHello did.
    fn cut_short(&self, error: &io::Error) -> Ended {
        if self.hello[0] == HANDSHAKE_RECORD {
            Ended::silent(classify(error))
        } else {
            Ended::not_tls(&Reading::Incomplete)
        }
    }

    /// What began as a handshake is none that rustls reads.
    fn misread(&self, error: rustls::Error, alert: Vec<u8>) -> Ended {
        match hello::read(&self.hello) {
            reading @ Reading::NotTls(_) => Ended::not_tls(&reading),
            // rustls looks at the version only after what the later ones require, and misses that first.
            Reading::Hello(hello) if !hello.offers_spoken_version() => {
                let detail = "the client offers no version of TLS that is still spoken";
                let refusal = Refusal::new(Reason::TlsNoCommonVersion, detail);
                Ended::alert(refusal, PROTOCOL_VERSION)
            }
            _ => Ended {
                refusal: classify(&io::Error::new(io::ErrorKind::InvalidData, error)),
                last_words: alert,
            },
        }
    }

    /// Tells of the end first: a client that takes its time over its last words changes nothing about why it was refused.
    async fn end(&mut self, mut stream: TcpStream, ended: &Ended) {
        self.tell(&ended.refusal);
        if !ended.last_words.is_empty() {
            last_words(&mut stream, &ended.last_words).await;
        }
    }

    /// Tells the error log of a failed handshake, with all that its ClientHello says; once.
    pub fn tell(&mut self, refusal: &Refusal) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let whence = (self.client, self.local, Protocol::Tls);
        let hello = hello::read(&self.hello);
        tell(self.report, hello, refusal, None, self.traced, whence);
    }

    /// Whether the client has sent anything.
    pub fn has_begun(&self) -> bool {
        !self.hello.is_empty()
    }
}

impl Ended {
    fn silent(refusal: Refusal) -> Self {
        Self {
            refusal,
            last_words: Vec::new(),
        }
    }

    fn too_long() -> Self {
        Self::silent(Refusal::new(
            Reason::TlsOther,
            "the ClientHello is longer than 16 KiB",
        ))
    }

    fn alert(refusal: Refusal, alert: u8) -> Self {
        Self {
            refusal,
            last_words: vec![ALERT_RECORD, 3, 3, 0, 2, FATAL, alert],
        }
    }

    /// What arrived is not TLS; a client that speaks HTTP is told so in its own language.
    fn not_tls(reading: &Reading) -> Self {
        match reading {
            Reading::NotTls(NotTls::Http) => Self {
                refusal: Refusal::new(
                    Reason::TlsNotTls,
                    "cleartext HTTP arrived on a TLS port; use an https:// address",
                ),
                last_words: plain_answer(),
            },
            _ => Self::silent(Refusal::new(
                Reason::TlsNotTls,
                "what arrived on a TLS port is not TLS",
            )),
        }
    }
}

fn facts(
    stream: &TlsStream,
    sni: Option<Box<str>>,
    binding: Option<Arc<crate::model::BindingKey>>,
    covers: Arc<[Box<str>]>,
) -> TlsFacts {
    let session = stream.session();
    TlsFacts {
        handshake: None,
        sni,
        alpn: match session.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(b"http/1.1") => Some("http/1.1"),
            _ => None,
        },
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: session
            .negotiated_cipher_suite()
            .map_or("", |suite| suite_name(suite.suite())),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        binding,
        covers,
        client: None,
    }
}

/// Sends a client its last bytes and closes so that they arrive.
async fn last_words(stream: &mut TcpStream, bytes: &[u8]) {
    // A client that does not take them is gone all the same.
    let _ = stream.write_all(bytes).await;
    crate::http::linger(stream).await;
}

fn plain_answer() -> Vec<u8> {
    let text = "400 Bad Request: this port speaks TLS; use an https:// address\n";
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nDate: {date}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// No suite, but a sign (RFC 7507), which rustls has no name for.
const TLS_FALLBACK_SCSV: CipherSuite = CipherSuite::Unknown(0x5600);

/// As `supported_versions` says it (RFC 8446 section 4.2.1).
const TLS_1_3: u16 = 0x0304;

/// TLS record types and alerts (RFC 8446 sections 5.1 and 6, RFC 6066, RFC 7301, RFC 7507).
const HANDSHAKE_RECORD: u8 = 22;
const ALERT_RECORD: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;
const INAPPROPRIATE_FALLBACK: u8 = 86;
pub(super) const UNRECOGNIZED_NAME: u8 = 112;
pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;

/// A ClientHello with a post-quantum key share is about 1.8 kB.
const HELLO_READ_BYTES: usize = 2048;

#[cfg(test)]
mod tests;
