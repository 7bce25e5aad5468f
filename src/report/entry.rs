//! What is reported: the facts of one refusal, and of one request that was answered.

use std::time::{Duration, SystemTime};

use crate::model::{ClientAddr, Connection, LocalAddr, Protocol, Reason, Scheme, Took};

/// One line of the error log: something was refused before a handler saw it, or a handler could not answer.
///
/// What is not known is left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What it counts as.
    pub reason: Reason,
    /// Where the client connects from.
    pub client: ClientAddr,
    /// Who is at the other end of the connection, where that is a hop that has named the client.
    pub peer: Option<ClientAddr>,
    /// Where of ours it connected to.
    pub local: LocalAddr,
    /// What `X-Request-Id` says.
    pub request_id: Option<&'a str>,
    /// The id of the trace that the request is part of.
    pub trace_id: Option<&'a str>,
    /// The id of the request's own span.
    pub span_id: Option<&'a str>,
    /// What was spoken.
    pub protocol: Protocol,
    /// The server name that the client asked for.
    pub sni: Option<&'a str>,
    /// The protocol agreed by ALPN; of a failed handshake, those offered.
    pub alpn: Option<&'a str>,
    /// The version agreed; of a failed handshake, those offered.
    pub tls_version: Option<&'a str>,
    /// The JA4 fingerprint of the ClientHello.
    pub ja4: Option<&'a str>,
    /// The subject of the client's certificate.
    pub client_subject: Option<&'a str>,
    /// The SHA-256 fingerprint of the client's certificate.
    pub client_fingerprint: Option<&'a str>,
    /// The host asked for.
    pub host: Option<&'a str>,
    /// The method.
    pub method: Option<&'a str>,
    /// The path, as it came.
    pub path: Option<&'a str>,
    /// The status of the response; none when the client saw no response.
    pub status: Option<u16>,
    /// The site's name.
    pub site: Option<&'a str>,
    /// The pool's name.
    pub pool: Option<&'a str>,
    /// The upstream that the request was sent to last.
    pub upstream: Option<&'a str>,
    /// A sentence for a person.
    pub detail: Option<&'a str>,
}

impl<'a> Refused<'a> {
    /// A refusal of which no more is known; meant for `Refused { host, ..Refused::new(…) }`.
    pub fn new(
        reason: Reason,
        client: ClientAddr,
        local: LocalAddr,
        protocol: Protocol,
    ) -> Refused<'a> {
        Refused {
            reason,
            client,
            peer: None,
            local,
            request_id: None,
            trace_id: None,
            span_id: None,
            protocol,
            sni: None,
            alpn: None,
            tls_version: None,
            ja4: None,
            client_subject: None,
            client_fingerprint: None,
            host: None,
            method: None,
            path: None,
            status: None,
            site: None,
            pool: None,
            upstream: None,
            detail: None,
        }
    }
}

impl<'a> Refused<'a> {
    /// A refusal on a connection: with its two ends, and what its handshake settled.
    pub fn on(connection: &'a Connection, reason: Reason, protocol: Protocol) -> Refused<'a> {
        let tls = connection.tls.as_ref();
        Refused {
            sni: tls.and_then(|tls| tls.sni.as_deref()),
            alpn: tls.and_then(|tls| tls.alpn),
            tls_version: tls.map(|tls| tls.version),
            client_subject: (connection.client_certificate()).map(|shown| &*shown.subject),
            client_fingerprint: (connection.client_certificate()).map(|shown| &*shown.fingerprint),
            ..Refused::new(reason, connection.client, connection.local, protocol)
        }
    }
}

/// One line of the access log: a request and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// When the request began.
    pub time: SystemTime,
    /// Where the client connects from.
    pub client: ClientAddr,
    /// Who is at the other end of the connection, where that is a hop that has named the client.
    pub peer: Option<ClientAddr>,
    /// Where of ours it connected to.
    pub local: LocalAddr,
    /// What `X-Request-Id` says.
    pub request_id: Option<&'a str>,
    /// The id of the trace that the request is part of.
    pub trace_id: Option<&'a str>,
    /// The id of the request's own span.
    pub span_id: Option<&'a str>,
    /// `http/1.0`, `http/1.1`, `h2` or `h3`.
    pub version: &'a str,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The server name that the client asked for.
    pub sni: Option<&'a str>,
    /// The protocol agreed by ALPN.
    pub alpn: Option<&'a str>,
    /// The TLS version agreed.
    pub tls_version: Option<&'a str>,
    /// The cipher suite by its IANA name.
    pub cipher: Option<&'a str>,
    /// Whether the connection resumed an earlier TLS session.
    pub tls_resumed: Option<bool>,
    /// The subject of the client's certificate.
    pub client_subject: Option<&'a str>,
    /// The SHA-256 fingerprint of the client's certificate.
    pub client_fingerprint: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The host asked for.
    pub host: Option<&'a str>,
    /// The path, as it came.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
    /// The status of the response; none when the client saw no response.
    pub status: Option<u16>,
    /// Bytes of the response's content that were sent.
    pub bytes_sent: u64,
    /// Bytes of the request's content that were read.
    pub bytes_received: u64,
    /// The site's name.
    pub site: Option<&'a str>,
    /// The pool's name.
    pub pool: Option<&'a str>,
    /// The binding, as its configuration writes it.
    pub binding: Option<&'a str>,
    /// How long the request waited in the pool's queue.
    pub queue_wait: Duration,
    /// From the handler's start to its response's head.
    pub handler_time: Duration,
    /// The upstream that it was sent on to; none where that was none.
    pub upstream: Option<SentTo<'a>>,
    /// From the request's start to the response's end.
    pub duration: Duration,
    /// User-Agent
    pub user_agent: Option<&'a str>,
    /// Referer
    pub referer: Option<&'a str>,
    /// Why the request was refused; none when it was answered.
    pub reason: Option<Reason>,
    /// Whether the response was sent to its end.
    pub complete: bool,
}

/// The upstream of a request: the one that answered, else the one that was tried last.
#[derive(Clone, Copy, Debug)]
pub struct SentTo<'a> {
    /// As the configuration writes it.
    pub name: &'a str,
    /// How often an upstream was tried.
    pub attempts: u32,
    /// How long this attempt took.
    pub took: Took,
}

impl<'a> Access<'a> {
    /// An access of which no more is known; meant for `Access { status, ..Access::new(…) }`.
    pub fn new(
        time: SystemTime,
        client: ClientAddr,
        local: LocalAddr,
        version: &'a str,
        scheme: Scheme,
    ) -> Access<'a> {
        Access {
            time,
            client,
            peer: None,
            local,
            request_id: None,
            trace_id: None,
            span_id: None,
            version,
            scheme,
            sni: None,
            alpn: None,
            tls_version: None,
            cipher: None,
            tls_resumed: None,
            client_subject: None,
            client_fingerprint: None,
            method: "",
            host: None,
            path: "",
            query: None,
            status: None,
            bytes_sent: 0,
            bytes_received: 0,
            site: None,
            pool: None,
            binding: None,
            queue_wait: Duration::ZERO,
            handler_time: Duration::ZERO,
            upstream: None,
            duration: Duration::ZERO,
            user_agent: None,
            referer: None,
            reason: None,
            complete: false,
        }
    }
}
