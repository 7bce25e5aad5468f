//! A JSON object a line: the error log, and the access log by default. The names are public interface.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::clock::Clock;
use super::cut;
use crate::model::{ClientAddr, LocalAddr, write_ip};
use crate::report::{Access, Refused};

pub(super) fn refused(clock: &Clock, entry: &Refused<'_>, line: &mut Vec<u8>) {
    write(
        &RefusedLine {
            time: clock.rfc3339(),
            reason: entry.reason.as_str(),
            client: Address::from(entry.client),
            peer: entry.peer.map(Address::from),
            local: Address::from(entry.local),
            protocol: entry.protocol.as_str(),
            sni: entry.sni.map(Text),
            alpn: entry.alpn.map(Text),
            tls_version: entry.tls_version.map(Text),
            ja4: entry.ja4.map(Text),
            client_subject: entry.client_subject.map(Text),
            client_fingerprint: entry.client_fingerprint,
            host: entry.host.map(Text),
            method: entry.method.map(Text),
            path: entry.path.map(Text),
            status: entry.status,
            site: entry.site.map(Text),
            pool: entry.pool.map(Text),
            upstream: entry.upstream.map(Text),
            request_id: entry.request_id,
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            detail: entry.detail.map(Text),
        },
        line,
    );
}

pub(super) fn accessed(clock: &Clock, entry: &Access<'_>, line: &mut Vec<u8>) {
    write(
        &AccessLine {
            time: clock.rfc3339(),
            client: Address::from(entry.client),
            peer: entry.peer.map(Address::from),
            local: Address::from(entry.local),
            protocol: entry.version,
            scheme: entry.scheme.as_str(),
            sni: entry.sni.map(Text),
            alpn: entry.alpn.map(Text),
            tls_version: entry.tls_version,
            cipher: entry.cipher,
            tls_resumed: entry.tls_resumed,
            client_subject: entry.client_subject.map(Text),
            client_fingerprint: entry.client_fingerprint,
            method: Text(entry.method),
            host: entry.host.map(Text),
            path: Text(entry.path),
            query: entry.query.map(Text),
            status: entry.status,
            bytes_sent: entry.bytes_sent,
            bytes_received: entry.bytes_received,
            site: entry.site,
            pool: entry.pool,
            binding: entry.binding,
            queue_wait_ms: Millis(entry.queue_wait),
            handler_time_ms: Millis(entry.handler_time),
            upstream: entry.upstream.map(|it| Text(it.name)),
            upstream_attempts: entry.upstream.map(|it| it.attempts),
            upstream_connect_ms: (entry.upstream).and_then(|it| it.took.connect.map(Millis)),
            upstream_response_ms: (entry.upstream).and_then(|it| it.took.response.map(Millis)),
            duration_ms: Millis(entry.duration),
            user_agent: entry.user_agent.map(Text),
            referer: entry.referer.map(Text),
            reason: entry.reason.map(|reason| reason.as_str()),
            request_id: entry.request_id,
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            complete: entry.complete,
        },
        line,
    );
}

pub(super) fn write(value: &impl Serialize, line: &mut Vec<u8>) {
    serde_json::to_writer(line, value).expect("a Vec takes every byte, and every key is text");
}

#[derive(Serialize)]
struct RefusedLine<'a> {
    time: &'a str,
    reason: &'static str,
    client: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Address>,
    local: Address,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subject: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
}

#[derive(Serialize)]
struct AccessLine<'a> {
    time: &'a str,
    client: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Address>,
    local: Address,
    protocol: &'a str,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_resumed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subject: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_fingerprint: Option<&'a str>,
    method: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Text<'a>>,
    path: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    bytes_sent: u64,
    bytes_received: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'a str>,
    queue_wait_ms: Millis,
    handler_time_ms: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_connect_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_response_ms: Option<Millis>,
    duration_ms: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    complete: bool,
}

/// A text of somebody else's, no longer than a field may be.
pub(super) struct Text<'a>(pub(super) &'a str);

/// An address as its `Display` writes it.
struct Address {
    ip: IpAddr,
    /// 0: not known.
    port: u16,
}

/// Milliseconds, exact to the microsecond.
struct Millis(Duration);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match cut(self.0) {
            (text, "") => serializer.serialize_str(text),
            (text, rest) => serializer.collect_str(&format_args!("{text}{rest}")),
        }
    }
}

impl From<ClientAddr> for Address {
    fn from(addr: ClientAddr) -> Self {
        let (ip, port) = (addr.ip(), addr.port());
        Self { ip, port }
    }
}

impl From<LocalAddr> for Address {
    fn from(addr: LocalAddr) -> Self {
        let (ip, port) = (addr.ip(), addr.port());
        Self { ip, port }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { ip, port } = *self;
        if ip.is_ipv6() && port != 0 {
            return serializer.collect_str(&SocketAddr::new(ip, port));
        }
        // In one piece, since each is looked over for what must be escaped: every line has two of them.
        let mut text = String::with_capacity("255.255.255.255:65535".len());
        // Writing to memory does not fail.
        let _ = write_ip(&mut text, ip);
        if port != 0 {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(port));
        }
        serializer.serialize_str(&text)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A request of 285 years would lose its last microsecond here.
        serializer.serialize_f64(self.0.as_micros() as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_it_is_shown(ip in any::<IpAddr>(), port in any::<u16>()) {
            let written = |address: Address| serde_json::to_value(address).expect("text");
            let address = SocketAddr::new(ip, port);
            let client = ClientAddr::new(address);
            prop_assert_eq!(written(client.into()), client.to_string());
            let local = LocalAddr::new(SocketAddr::new(ip, port.max(1)));
            prop_assert_eq!(written(local.into()), local.to_string());
        }
    }
}
