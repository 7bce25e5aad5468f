//! `portunus show`, `pool`, `reload` and `stop`: what a running server is asked through its admin socket.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::fail;
use crate::admin::{Client, ClientError, Filter, Form, PoolOrder, Question};
use crate::config;

/// Where the server is asked.
#[derive(Debug, clap::Args)]
pub(super) struct At {
    /// The admin socket, or its loopback address with the token of server.state_dir [default: as the bindings file says]
    #[arg(long, value_name = "unix:PATH|ADDRESS:PORT")]
    admin: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Show {
    /// All of it in short: addresses, request queues, bindings, and what was refused
    Service(Look),
    /// Every binding: its routes, and what came of its requests
    Bindings(Look),
    /// Every certificate that it shows: names, issuer, days left, used by which bindings
    Certificates(Look),
    /// Every pool: its state, its queue, its upstreams, its workers, how the last one failed, and what happened last
    Pools(Look),
    /// The connections that are open, the oldest first: client, protocol, TLS, age, bytes, requests, and what each does now
    Connections(OfConnections),
    /// The last handshakes that failed, by reason, server name and client
    TlsFailures(Look),
}

#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
pub(super) struct OfConnections {
    /// Show no more than so many: the oldest [default: 500, at most 10000]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Show those of one client alone
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    #[command(flatten)]
    look: Look,
}

impl OfConnections {
    fn filter(&self) -> Filter {
        Filter {
            limit: self.limit,
            client: self.client,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Pool {
    /// Replace the pool's workers by new ones, which are started first: no request is lost
    Recycle(OfPool),
    /// Have the pool refuse requests (503, AppShutdown), and end its workers when their requests have ended
    Stop(OfPool),
    /// Start a pool that was stopped, or that was disabled since its application kept failing
    Start(OfPool),
}

#[derive(Debug, clap::Args)]
pub(super) struct OfPool {
    /// The pool's name
    name: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    /// Only tell what would change, and what would be wrong
    #[arg(long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Cut requests in flight, rather than let them finish
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn show(config: &Path, show: &Show) -> ExitCode {
    let (question, look) = match show {
        Show::Service(look) => (Question::Service, look),
        Show::Bindings(look) => (Question::Bindings, look),
        Show::Certificates(look) => (Question::Certificates, look),
        Show::Pools(look) => (Question::Pools, look),
        Show::Connections(of) => (Question::Connections(of.filter()), &of.look),
        Show::TlsFailures(look) => (Question::TlsFailures, look),
    };
    let form = if look.json { Form::Json } else { Form::Text };
    let asked = (look.at.client(config)).and_then(|client| ask(&client, question, form));
    match asked {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

pub(super) fn pool(config: &Path, pool: &Pool) -> ExitCode {
    let (of, order, not_done) = match pool {
        Pool::Recycle(of) => (of, PoolOrder::Recycle, "not recycled"),
        Pool::Stop(of) => (of, PoolOrder::Stop, "not stopped"),
        Pool::Start(of) => (of, PoolOrder::Start, "not started"),
    };
    let name = of.name.clone();
    let asked = (of.at.client(config))
        .and_then(|client| ask(&client, Question::Pool { name, order }, Form::Text));
    match asked {
        Ok(done) => {
            eprint!("{done}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("{not_done}: {why}")),
    }
}

pub(super) fn reload(config: &Path, arguments: &Reload) -> ExitCode {
    let (question, not_done) = match arguments.dry_run {
        true => (Question::Plan, "it would not be reloaded"),
        false => (Question::Reload, "not reloaded"),
    };
    let form = if arguments.json {
        Form::Json
    } else {
        Form::Text
    };
    let asked = (arguments.at.client(config)).and_then(|client| ask(&client, question, form));
    match asked {
        Ok(told) => {
            print!("{told}");
            if !arguments.dry_run {
                eprintln!("reloaded");
            }
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("{not_done}: {why}")),
    }
}

pub(super) fn stop(config: &Path, arguments: &Stop) -> ExitCode {
    let question = Question::Stop { now: arguments.now };
    let asked = arguments.at.client(config).and_then(|client| {
        let asked = client.ask_until_gone(question);
        asked.map_err(|error: ClientError| error.to_string())
    });
    match asked {
        Ok(_) => {
            eprintln!("stopped");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("not stopped: {why}")),
    }
}

fn ask(client: &Client, question: Question, form: Form) -> Result<String, String> {
    client
        .ask(question, form)
        .map_err(|error| error.to_string())
}

impl At {
    /// A bindings file with errors is no reason not to ask a server that runs with what it said before: what it says of
    /// `server.admin` is taken as far as it can be read.
    pub(super) fn client(&self, file: &Path) -> Result<Client, String> {
        let Some(admin) = &self.admin else {
            let loaded = config::load(file);
            return Ok(match &loaded.config {
                Some(config) => Client::new(&config.server),
                None => Client::new(&config::server_of(file)).despite(loaded.first_error()),
            });
        };
        if let Some(path) = admin.strip_prefix("unix:") {
            return Ok(Client::at(PathBuf::from(path)));
        }
        match admin.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Client::new(&config::Server {
                admin: config::Admin::Loopback(address),
                ..config::server_of(file)
            })),
            _ => Err(format!(
                "--admin cannot be {admin:?}; write it as unix:/path.sock, or as a loopback address like 127.0.0.1:9180"
            )),
        }
    }
}
