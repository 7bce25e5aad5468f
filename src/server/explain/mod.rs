//! What would happen to a request, step by step, each with why; and every candidate that lost, with why not. It asks the very
//! table, sites and policies that serve: those of a file for `portunus explain`, those that run for whoever asks the server.

mod around;
mod policy;
mod steps;
mod words;

use std::net::IpAddr;

use http::{Method, Uri};
use serde::Serialize;

use crate::certificate::Certificates;
use crate::tls::TlsTable;

pub use steps::explain;

/// A request that is asked about.
#[derive(Clone, Debug)]
pub struct Asking {
    /// As a client would write it: `https://www.example.com/path`.
    pub url: Uri,
    /// The local address that the client connects to; none: one that is bound.
    pub ip: Option<IpAddr>,
    /// The server name in the TLS handshake, if it is not the URL's host; empty: none is sent.
    pub sni: Option<String>,
    /// The method.
    pub method: Method,
}

/// What answers handshakes.
pub enum Handshakes<'a> {
    /// What runs.
    Running(&'a TlsTable),
    /// What would, with these certificates.
    With(&'a Certificates),
}

/// The way of a request, as far as it comes.
#[derive(Debug, Serialize)]
pub struct Explanation {
    url: String,
    method: String,
    steps: Vec<Step>,
    /// Whether it would be served.
    pub served: bool,
    /// What it would be refused with.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
}

/// One arrow of the way.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    /// What was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<String>,
    /// Why.
    why: String,
    /// Where in the configuration it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// What else there is, and why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Lost>,
}

#[derive(Debug, Serialize)]
struct Lost {
    candidate: String,
    why: String,
    line: usize,
}

#[derive(Debug, Serialize)]
struct Refused {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    detail: String,
}

/// For a person.
pub fn render(explanation: &Explanation) -> String {
    use std::fmt::Write;
    let mut text = format!("{} {}\n", explanation.method, explanation.url);
    // Writing to a String cannot fail.
    let mut line = |line: String| writeln!(text, "{line}").unwrap_or_default();
    for step in &explanation.steps {
        let at = step
            .line
            .map(|line| format!("  (line {line})"))
            .unwrap_or_default();
        match &step.chosen {
            Some(chosen) => line(format!("  {:<12} {chosen}{at}", step.step)),
            None => line(format!("  {:<12} none{at}", step.step)),
        }
        line(format!("  {:<12}   because {}", "", step.why));
        for lost in step.lost.iter().take(LOST_SHOWN) {
            line(format!(
                "  {:<12}   not {} (line {}): {}",
                "", lost.candidate, lost.line, lost.why
            ));
        }
        if step.lost.len() > LOST_SHOWN {
            line(format!(
                "  {:<12}   and {} more (--json has all)",
                "",
                step.lost.len() - LOST_SHOWN
            ));
        }
    }
    match &explanation.refused {
        None => line("It would be served.".to_owned()),
        Some(refused) => {
            let status = refused
                .status
                .map(|status| format!("{status}, "))
                .unwrap_or_default();
            line(format!(
                "It would be refused: {status}{}: {}",
                refused.reason, refused.detail
            ));
        }
    }
    text
}

/// Losers that a person reads; a machine gets all of them.
const LOST_SHOWN: usize = 20;

#[cfg(test)]
mod tests;
