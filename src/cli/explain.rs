//! `portunus explain`: what would happen to a request, by the bindings file or by the running server.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use http::{Method, Uri};

use super::running::At;
use super::{BAD_CONFIGURATION, fail};
use crate::admin::{ClientError, Explained, Form, Question};
use crate::model::plain_lines;
use crate::server::explain::{Asking, Explanation, Handshakes, explain, render};
use crate::server::{self, LibraryHandlers};

#[derive(Debug, clap::Args)]
#[command(mut_arg("admin", |admin| admin.requires("running")))]
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
    /// Ask the running server rather than the bindings file: by what it runs with, and as the pool stands now
    #[arg(long)]
    running: bool,
    /// Write the explanation as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    match arguments.running {
        true => by_server(config, arguments),
        false => by_file(config, arguments),
    }
}

fn by_file(config: &Path, arguments: &Arguments) -> ExitCode {
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
    let code = if arguments.json {
        match serde_json::to_string_pretty(&explanation) {
            Ok(text) => tell(&explanation, &text),
            Err(error) => return fail(&error.to_string()),
        }
    } else {
        tell(&explanation, render(&explanation).trim_end())
    };
    if !explanation.served {
        // What is found of the configuration may well be why, as a certificate that the first start will make.
        eprint!("{}", prepared.loaded.render(io::stderr().is_terminal()));
    }
    code
}

/// It answers as a program reads it, which says by itself whether it would be served.
fn by_server(config: &Path, arguments: &Arguments) -> ExitCode {
    let asked = Question::Explain(Some(Box::new(Explained {
        url: arguments.url.clone(),
        method: arguments.method.clone(),
        ip: arguments.ip,
        sni: arguments.sni.clone(),
    })));
    let answered = (arguments.at.client(config)).and_then(|client| {
        let asked = client.ask(asked, Form::Json);
        asked.map_err(|error| match error {
            ClientError::NotRunning(_) => {
                format!("{error} Without --running the bindings file alone is asked")
            }
            error => error.to_string(),
        })
    });
    let json = match answered {
        Ok(json) => json,
        Err(why) => return fail(&why),
    };
    let explanation: Explanation = match serde_json::from_str(&json) {
        Ok(explanation) => explanation,
        Err(error) => {
            return fail(&format!(
                "what the server answered is no explanation: {error}"
            ));
        }
    };
    match arguments.json {
        true => tell(&explanation, json.trim_end()),
        // Upstreams have a word in it, and what they say was escaped for JSON.
        false => tell(&explanation, plain_lines(render(&explanation)).trim_end()),
    }
}

fn tell(explanation: &Explanation, text: &str) -> ExitCode {
    println!("{text}");
    match explanation.served {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
