//! `portunus dashboard`: where a browser finds the dashboard of a running server.

use std::path::Path;
use std::process::ExitCode;

use super::fail;
use super::running::At;
use crate::admin::{Form, LOGIN_PATH, Probe, Question};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: At,
}

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    match told(config, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn told(config: &Path, arguments: &Arguments) -> Result<(), String> {
    let client = arguments.at.client(config)?;
    let ask = |question| {
        let asked = client.ask(question, Form::Text);
        asked.map_err(|error| error.to_string())
    };
    match client.admin() {
        config::Admin::Loopback(address) => {
            let code = ask(Question::LoginCode)?;
            println!("http://{address}{LOGIN_PATH}#{}", code.trim());
            eprintln!("the link works once, within a minute");
        }
        config::Admin::Unix(path) => {
            // Whoever has no answer here finds none through ssh either.
            ask(Question::Live(Probe::NEW))?;
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            println!("ssh -L 9180:{} HOST", path.display());
            eprintln!(
                "run this where your browser is, with the name of this machine for HOST and a user who may use the socket, and \
                 open http://localhost:9180/; or have server.admin be a loopback address, as \"127.0.0.1:9180\""
            );
        }
        config::Admin::Off => {
            ask(Question::Live(Probe::NEW))?;
        }
    }
    Ok(())
}
