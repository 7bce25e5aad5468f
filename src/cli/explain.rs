//! `portunus explain`: what the bindings file would have happen to a request.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use http::{Method, Uri};

use super::{BAD_CONFIGURATION, fail};
use crate::server::explain::{Asking, Handshakes, explain, render};
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

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    let mut prepared = server::check(config, &LibraryHandlers::new());
    let Some((config, certificates)) = prepared.take() else {
        eprint!("{}", prepared.loaded.render(io::stderr().is_terminal()));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let asking = Asking {
        url: arguments.url.clone(),
        ip: arguments.ip,
        sni: arguments.sni.clone(),
        method: arguments.method.clone(),
    };
    let explanation = match explain(&config, &Handshakes::With(&certificates), &asking) {
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
