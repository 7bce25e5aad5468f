//! What would happen to a request, step by step, each with why; and every candidate that lost, with why not. It asks the very
//! table, sites and policies that serve: those of a file for `portunus explain`, those that run for whoever asks the server,
//! where it goes on to how the pool stands at that moment.

mod around;
mod now;
mod policy;
mod steps;
mod words;

use std::borrow::Cow;
use std::net::IpAddr;

use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificates;
use crate::model::Refusal;
use crate::tls::TlsTable;

pub use self::now::Standing;
use self::now::{Instead, Now};
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
#[derive(Debug, Serialize, Deserialize)]
pub struct Explanation {
    url: String,
    method: String,
    steps: Vec<Step>,
    /// How the pool stands that it comes to; none where nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<Now>,
    /// Whether it would be served.
    pub served: bool,
    /// What it would have to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits: Option<String>,
    /// What it would be refused with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    /// What it would be answered with that is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instead: Option<Instead>,
    /// The pool that it comes to.
    #[serde(skip)]
    pool: Option<String>,
}

/// One arrow of the way.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    step: Cow<'static, str>,
    /// What was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<String>,
    /// Why.
    why: String,
    /// Where in the configuration it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// What else there is, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Lost>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lost {
    candidate: String,
    why: String,
    line: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    reason: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// It is sent on all the same, and whoever gets it may have come to life since it was last heard of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    likely: bool,
    detail: String,
}

impl Refused {
    fn of(refusal: &Refusal) -> Self {
        Self {
            reason: refusal.reason.as_str().into(),
            status: refusal.status().map(|status| status.as_u16()),
            likely: false,
            detail: refusal.detail.clone().into_owned(),
        }
    }
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
    let now = explanation.now.iter().flat_map(Now::lines);
    now.for_each(&mut line);
    line(verdict(explanation));
    text
}

fn verdict(explanation: &Explanation) -> String {
    if let Some(refused) = &explanation.refused {
        let likely = if refused.likely { "most likely " } else { "" };
        let status = refused.status.map(|status| format!("{status}, "));
        return format!(
            "It would {likely}be refused: {}{}: {}",
            status.unwrap_or_default(),
            refused.reason,
            refused.detail
        );
    }
    if let Some(Instead { status, detail }) = &explanation.instead {
        return format!("It would be answered with {status}: {detail}");
    }
    match &explanation.waits {
        Some(waits) => format!("It would wait {waits}, and then be served."),
        None => "It would be served.".to_owned(),
    }
}

/// Losers that a person reads; a machine gets all of them.
const LOST_SHOWN: usize = 20;

#[cfg(test)]
mod tests;
