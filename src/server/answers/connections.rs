//! The connections that are open. What a connection moved, and what it does now, is counted by nobody: that would cost each of
//! its requests something.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Serving;
use crate::admin::Told;
use crate::listener::OpenConnection;

/// Listed of each data thread, which waits while they are copied: some microseconds.
const CONNECTIONS_SHOWN_MAX: usize = 500;

pub(super) fn told(serving: &Serving) -> Told {
    let mut speaking = 0;
    let mut shown = Vec::new();
    for thread in serving.threads() {
        let (all, first) = thread.open.first(CONNECTIONS_SHOWN_MAX);
        speaking += all;
        shown.extend(first);
    }
    // The longest first: those that stay are what is looked for.
    shown.sort_by_key(|open| open.since);
    let open = serving.limits.open();
    let mut text = format!(
        "Open connections: {open}\n    Speaking HTTP: {speaking}\n    Shown: {}\n",
        shown.len()
    );
    for connection in &shown {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{}", line(connection));
    }
    let json = json!({
        "open": open,
        "speaking_http": speaking,
        "connections": shown.iter().map(json_of).collect::<Vec<_>>(),
    });
    Told { json, text }
}

fn line(open: &OpenConnection) -> String {
    let connection = &open.connection;
    let age = Duration::from_secs(open.since.elapsed().as_secs());
    let mut line = format!(
        "{} -> {}  {}  {}",
        connection.client,
        connection.local,
        open.protocol,
        humantime::format_duration(age),
    );
    if let Some(tls) = &connection.tls {
        let _ = write!(line, "  {} {}", tls.version, tls.cipher);
        if tls.resumed {
            line.push_str(" resumed");
        }
        if let Some(sni) = &tls.sni {
            let _ = write!(line, "  {sni}");
        }
    }
    line
}

fn json_of(open: &OpenConnection) -> Value {
    let connection = &open.connection;
    let tls = connection.tls.as_ref().map(|tls| {
        json!({
            "version": tls.version,
            "cipher": tls.cipher,
            "resumed": tls.resumed,
            "sni": tls.sni,
            "alpn": tls.alpn,
            "binding": tls.binding.as_ref().map(ToString::to_string),
            "client_subject": tls.client_certificate().map(|shown| &shown.subject),
        })
    });
    json!({
        "client": connection.client.to_string(),
        "local": connection.local.to_string(),
        "protocol": open.protocol.to_string(),
        "age_seconds": open.since.elapsed().as_secs_f64(),
        "tls": tls,
    })
}
