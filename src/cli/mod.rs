//! The command line: one file a command. Results go to stdout, words to a person to stderr.

mod cert;
mod check;
mod completions;
mod dashboard;
mod explain;
mod run;
mod running;
mod top;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::worker::launch as worker;

/// The HTTPS edge server that never refuses in silence.
#[derive(Debug, Parser)]
#[command(
    name = "portunus",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Exit status: 0 as asked · 1 it could not be done · 64 the configuration has errors.\n\
                  Documentation: docs/configuration.md, docs/admin.md, docs/logs.md, docs/top.md, docs/dashboard.md, docs/failed-requests.md; \
                  for a bad night: docs/runbooks; the model in two minutes: docs/architecture.md.\n\
                  Environment: PORTUNUS_CONFIG, PORTUNUS_LOG (a level, or directives as \"info,portunus::tls=debug\")."
)]
struct Arguments {
    /// The bindings file [default: config/bindings.toml, else /etc/portunus/bindings.toml]
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "PORTUNUS_CONFIG",
        global = true
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server in the foreground
    ///
    /// SIGTERM, SIGINT: let requests finish, then stop. SIGQUIT: stop at once. SIGHUP: reload the configuration; a bad one is
    /// refused aloud, and what ran before goes on. Speaks sd_notify and takes sockets by systemd socket activation.
    Run(run::Arguments),
    /// Read the configuration, load every certificate, tell every finding, bind nothing
    Check(check::Arguments),
    /// Tell which socket, certificate, binding, site, route, pool and handler would serve a URL, and why
    ///
    /// By the bindings file, whether a server runs or not. With --running by what the server runs with, as its pool stands now:
    /// stopped, full, with upstreams that fail. Ends with 0 where the request would be served, and with 1 where not.
    Explain(explain::Arguments),
    /// Show the running server's state
    #[command(subcommand)]
    Show(running::Show),
    /// Show the running server's state, live: pools, bindings, upstreams, workers, connections, refusals
    ///
    /// Keys: 1-6 and Tab for the tabs, s sorts, / filters, p pauses, ? explains them, q quits.
    Top(top::Arguments),
    /// Tell where a browser finds the running server's dashboard
    ///
    /// At a loopback address: a link that logs in, once and within a minute. At a unix socket: how ssh brings it to a browser.
    Dashboard(dashboard::Arguments),
    /// Have the running server take its bindings file anew, and tell what came of it
    ///
    /// A bad one is refused aloud, and what ran before goes on. SIGHUP does the same, and tells the log alone. Lines begin with
    /// + for what comes, - for what goes, ~ for what changes, = for what goes on, ! for what takes effect at the next start.
    Reload(running::Reload),
    /// Have the running server stop, and wait until it is gone
    Stop(running::Stop),
    /// Recycle, stop or start a pool of the running server
    #[command(subcommand)]
    Pool(running::Pool),
    /// Make certificates to develop with, and have ordered ones renewed
    #[command(subcommand)]
    Cert(cert::Command),
    /// List the failed requests that were recorded, and look at one
    #[command(subcommand)]
    Trace(trace::Trace),
    /// Write the completions of a shell to stdout
    Completions(completions::Arguments),
    /// (for Portunus itself) Stand between Portunus and one worker process
    #[command(hide = true)]
    KeepWorker(Rest),
    /// (for Portunus itself) Become a worker process
    #[command(hide = true)]
    BecomeWorker,
}

#[derive(Debug, clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<String>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return told(&error),
    };
    let config = arguments.config.unwrap_or_else(default_config);
    match arguments.command {
        Command::Run(arguments) => run::main(&config, &arguments),
        Command::Check(arguments) => check::main(&config, &arguments),
        Command::Explain(arguments) => explain::main(&config, &arguments),
        Command::Cert(command) => cert::main(&config, &command),
        Command::Dashboard(arguments) => dashboard::main(&config, &arguments),
        Command::Show(show) => running::show(&config, &show),
        Command::Top(arguments) => top::main(&config, &arguments),
        Command::Pool(pool) => running::pool(&config, &pool),
        Command::Reload(at) => running::reload(&config, &at),
        Command::Stop(arguments) => running::stop(&config, &arguments),
        Command::Trace(trace) => trace::main(&config, &trace),
        Command::Completions(arguments) => completions::main(&arguments),
        Command::KeepWorker(_) => worker::keep(),
        Command::BecomeWorker => worker::become_worker(),
    }
}

/// Help and the version were asked for; anything else could not be done.
fn told(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told that it cannot be written.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn default_config() -> PathBuf {
    let here = PathBuf::from("config/bindings.toml");
    let system = PathBuf::from("/etc/portunus/bindings.toml");
    // With neither there, the nearer one is what the message should name.
    if !here.exists() && system.exists() {
        system
    } else {
        here
    }
}

/// Says why a command could not be done.
fn fail(message: &str) -> ExitCode {
    eprintln!("portunus: {message}");
    ExitCode::FAILURE
}

/// EX_USAGE, as sysexits.h has it: the configuration has errors.
const BAD_CONFIGURATION: u8 = 64;
