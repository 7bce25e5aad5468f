//! One accepted connection: TLS if the socket is for it, and then the version of HTTP that is spoken.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::limits::{Full, Place};
use super::open::OpenPlace;
use super::proxied::{self, Proxied, ProxiedError};
use super::worker::Worker;
use crate::http::{self, h1, h2};
use crate::model::{
    Activity, ClientAddr, Connection, LocalAddr, Protocol, Reason, Refusal, Scheme, TlsFacts,
};
use crate::report::Refused;
use crate::tls::{Handshake, TlsStream, Traced};

/// A connection that was accepted.
pub(super) struct Connected {
    pub(super) worker: Arc<Worker>,
    pub(super) client: ClientAddr,
    pub(super) local: LocalAddr,
    pub(super) scheme: Scheme,
}

impl Connected {
    pub(super) async fn run(self, stream: TcpStream) {
        let about_to = match self.scheme {
            Scheme::Https => Protocol::Tls,
            Scheme::Http => Protocol::Tcp,
        };
        let open = (self.worker.open).enter(self.client, self.local, about_to);
        // Responses are written whole; waiting for more to send with them would only delay them.
        let _ = stream.set_nodelay(true);
        match self.scheme {
            Scheme::Https => self.run_tls(stream, open).await,
            Scheme::Http => self.run_cleartext(stream, open).await,
        }
    }

    /// One whose client is named by the balancer in front of us, before anything else.
    pub(super) async fn run_proxied(mut self, mut stream: TcpStream, mut place: Place) {
        let header_wait = self.worker.thread.edge().limits.header_wait;
        let reading = proxied::read(&mut stream);
        let proxied = match tokio::time::timeout(header_wait, reading).await {
            Ok(Ok(proxied)) => proxied,
            Ok(Err(ProxiedError::Nothing)) => return,
            Ok(Err(error)) => {
                let detail = format!(
                    "{error}; connections from this address must begin with one (proxy_protocol)"
                );
                return self.refuse(Reason::BadRequest, None, &detail);
            }
            Err(_) => {
                let detail =
                    "no whole header of the PROXY protocol arrived within limits.header_wait";
                return self.refuse(Reason::TimerHeaderWait, None, detail);
            }
        };
        if let Proxied::Client(client) = proxied {
            self.client = ClientAddr::new(client);
            // Nobody is turned away for the number of those whom one balancer speaks for.
            if let Err(full) = place.name(self.client.ip()) {
                return self.turn_away(stream, full);
            }
        }
        self.run(stream).await;
        drop(place);
    }

    /// Closes a connection that there is no place for; told why, if there is a place for that.
    pub(super) fn turn_away(&self, stream: TcpStream, full: Full) {
        let detail = match full {
            Full::Total => "limits.max_connections are open",
            Full::PerIp => "limits.max_connections_per_ip are open from this address",
        };
        let farewell = match self.scheme {
            Scheme::Http => self.worker.limits.turn_away(),
            // Without a handshake there is nothing that a client could read.
            Scheme::Https => None,
        };
        let status = farewell.as_ref().map(|_| 503);
        self.refuse(Reason::ConnLimit, status, detail);
        if let Some(place) = farewell {
            tokio::spawn(async move {
                http::turn_away(stream).await;
                drop(place);
            });
        }
    }

    /// Tells of a connection that is refused before a byte of its own protocol was read.
    fn refuse(&self, reason: Reason, status: Option<u16>, detail: &str) {
        self.worker.thread.edge().report.refused(&Refused {
            status,
            detail: Some(detail),
            ..Refused::new(reason, self.client, self.local, Protocol::Tcp)
        });
    }

    async fn run_tls(self, stream: TcpStream, open: OpenPlace) {
        let accepted = Instant::now();
        let Some((mut stream, mut facts)) = Box::pin(self.handshake(stream, accepted)).await else {
            return;
        };
        self.count(&mut stream, &mut facts, accepted);
        let http2 = facts.alpn == Some("h2");
        let connection = Arc::new(Connection {
            client: self.client,
            local: self.local,
            tls: Some(facts),
            activity: Activity::default(),
        });
        let thread = Arc::clone(&self.worker.thread);
        speaks(&open, &connection, http2);
        if http2 {
            Box::pin(h2::drive(stream, BytesMut::new(), thread, connection)).await;
        } else {
            Box::pin(h1::drive(stream, BytesMut::new(), thread, connection)).await;
        }
    }

    /// Counts a handshake that is done, and how its connection ends, unless it was with ourselves; and keeps when it was, for spans.
    fn count(&self, stream: &mut TlsStream, facts: &mut TlsFacts, accepted: Instant) {
        let edge = self.worker.thread.edge();
        let report = &edge.report;
        if !report.is_own(self.client, self.local, Protocol::Tls) {
            stream.count_end(report);
            (report.metrics()).shook_hands(false, facts, accepted.elapsed());
        }
        facts.handshake = edge.handshake(accepted);
    }

    /// The handshake, within its time, its bound on how many run at once, and the server's own life.
    async fn handshake(
        &self,
        stream: TcpStream,
        accepted: Instant,
    ) -> Option<(TlsStream, TlsFacts)> {
        let edge = self.worker.thread.edge();
        let table = self.worker.tls.load_full();
        let mut handshake = Handshake::new(
            &table,
            &edge.report,
            &edge.challenges,
            self.client,
            self.local,
        );
        handshake.traced = Traced::by(edge.tracer.as_deref(), accepted);
        let Some(_running) = self.worker.handshakes.enter() else {
            handshake.tell(&Refusal::new(
                Reason::ConnLimit,
                "too many TLS handshakes are running",
            ));
            return None;
        };
        let mut drain = self.worker.thread.drain.watch();
        let begun = poll_fn(|cx| {
            if drain.has_begun(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let timed = tokio::time::timeout(edge.limits.tls_handshake, handshake.run(stream));
        let outcome = tokio::select! {
            biased;
            outcome = timed => outcome,
            () = begun => {
                if handshake.has_begun() {
                    let detail = "the server stops, and takes no new connection";
                    handshake.tell(&Refusal::new(Reason::AppShutdown, detail));
                }
                return None;
            }
        };
        outcome.unwrap_or_else(|_| {
            let detail = if handshake.has_begun() {
                "the handshake was not done within limits.tls_handshake"
            } else {
                "no byte of a handshake arrived within limits.tls_handshake"
            };
            handshake.tell(&Refusal::new(Reason::TlsTimeout, detail));
            None
        })
    }

    async fn run_cleartext(self, mut stream: TcpStream, open: OpenPlace) {
        let edge = self.worker.thread.edge();
        let connection = Arc::new(Connection {
            client: self.client,
            local: self.local,
            tls: None,
            activity: Activity::default(),
        });
        let thread = Arc::clone(&self.worker.thread);
        if !edge.cleartext_http2 {
            speaks(&open, &connection, false);
            return Box::pin(h1::drive(stream, BytesMut::new(), thread, connection)).await;
        }
        let mut drain = thread.drain.watch();
        let begun = poll_fn(|cx| {
            if drain.has_begun(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let mut first = BytesMut::new();
        let sniffing = sniff(&mut stream, &mut first);
        let sniffed = tokio::select! {
            biased;
            sniffed = tokio::time::timeout(edge.limits.header_wait, sniffing) => sniffed,
            () = begun => return,
        };
        drop(drain);
        match sniffed {
            Ok(Some(http2)) => {
                speaks(&open, &connection, http2);
                connection.activity.receive(first.len());
                match http2 {
                    true => Box::pin(h2::drive(stream, first, thread, connection)).await,
                    false => Box::pin(h1::drive(stream, first, thread, connection)).await,
                }
            }
            Ok(None) => {}
            Err(_) => {
                let detail = if first.is_empty() {
                    "no byte of a request arrived within limits.header_wait"
                } else {
                    "the request head was not complete within limits.header_wait"
                };
                self.refuse(Reason::TimerHeaderWait, None, detail);
            }
        }
    }
}

fn speaks(open: &OpenPlace, connection: &Arc<Connection>, http2: bool) {
    let protocol = match http2 {
        true => Protocol::Http2,
        false => Protocol::Http1,
    };
    open.speaks(connection, protocol);
}

/// Reads until it is clear whether HTTP/2 is spoken with prior knowledge (RFC 9113 section 3.3); none where the client has
/// left without a word.
async fn sniff(stream: &mut TcpStream, first: &mut BytesMut) -> Option<bool> {
    loop {
        // A client that says nothing costs no buffer.
        stream.readable().await.ok()?;
        first.reserve(SNIFF_BYTES);
        if stream.read_buf(first).await.ok()? == 0 {
            // What there is of a request is HTTP/1.1's to refuse.
            return (!first.is_empty()).then_some(false);
        }
        let same = first.len().min(PREFACE.len());
        if first[..same] != PREFACE[..same] {
            return Some(false);
        }
        if same == PREFACE.len() {
            return Some(true);
        }
    }
}

const SNIFF_BYTES: usize = 4096;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests;
