//! `portunus explain`: what would happen to a request, step by step, each with why; and every candidate that lost, with why
//! not. It asks the very table, sites and policies that serve.

mod around;
mod policy;
mod steps;
mod words;

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use http::{Method, Uri};
use serde::Serialize;

use super::{BAD_CONFIGURATION, fail};
use crate::server::{self, LibraryHandlers};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As a client would write it: `https://www.example.com/path`
    url: Uri,
    /// The local address that the client connects to
    #[arg(long, value_name = "LOCAL_IP")]
    ip: Option<IpAddr>,
    /// The server name in the TLS handshake, if it is not the URL's host; "" for none
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// Write the explanation as JSON
    #[arg(long)]
    json: bool,
}

/// The way of a request, as far as it comes.
#[derive(Debug, Serialize)]
struct Explanation {
    url: String,
    method: String,
    steps: Vec<Step>,
    served: bool,
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

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    let mut prepared = server::check(config, &LibraryHandlers::new());
    let Some((config, certificates)) = prepared.take() else {
        eprint!("{}", prepared.loaded.render(io::stderr().is_terminal()));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let explanation = match steps::explain(&config, &certificates, arguments) {
        Ok(explanation) => explanation,
        Err(message) => return fail(&message),
    };
    if arguments.json {
        match serde_json::to_string_pretty(&explanation) {
            Ok(text) => println!("{text}"),
            Err(error) => return fail(&error.to_string()),
        }
    } else {
        print!("{}", render(&explanation));
    }
    if explanation.served {
        ExitCode::SUCCESS
    } else {
        // What is found of the configuration may well be why, as a certificate that the first start will make.
        eprint!("{}", prepared.loaded.render(io::stderr().is_terminal()));
        ExitCode::FAILURE
    }
}

fn render(explanation: &Explanation) -> String {
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
