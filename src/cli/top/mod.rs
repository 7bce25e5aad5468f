//! `portunus top`: the running server's state, live in the terminal.
//!
//! ```text
//! server ─► poll (a thread) ─┐
//! keys ─► (a thread) ────────┼─► Screen (pure) ─► draw
//! signals ─► (a thread) ─────┘
//! ```

mod draw;
mod poll;
mod screen;
mod seen;
mod table;
mod tabs;
mod terminal;
mod words;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::draw::{title, totals};
use self::seen::{Pair, Seen};
use self::tabs::Tab;
use super::fail;
use super::running::At;
use crate::admin::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How often to ask the server, from 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Write one frame as text, with rates over one interval, and end; so it does as well where stdout or stdin is no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    at: At,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        true => Ok(interval),
        false => Err("it must be from 100ms to 1h".to_owned()),
    }
}

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    let client = match arguments.at.client(config) {
        Ok(client) => client,
        Err(why) => return fail(&format!("top: {why}")),
    };
    if arguments.once {
        return once(&client, arguments.interval);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        eprintln!("portunus top: this is no terminal; one frame follows as text");
        return once(&client, arguments.interval);
    }
    terminal::run(client, arguments.interval)
}

/// Writes one frame as text.
fn once(client: &Client, interval: Duration) -> ExitCode {
    let began = Instant::now();
    let two = poll::ask(client, began).and_then(|before| {
        std::thread::sleep(interval);
        Ok((before, poll::ask(client, began)?))
    });
    match two {
        Ok((before, now)) => {
            print!("{}", frame(&before, &now));
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("top: {why}")),
    }
}

/// All tabs one below the other.
fn frame(before: &Seen, now: &Seen) -> String {
    let pair = Pair::new(now, Some(before));
    let mut text = format!("{}\n{}\n", title(&pair), totals(&pair));
    for tab in Tab::ALL {
        let table = tab.table(&pair);
        let (head, rows) = table.lines(None, None);
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n{head}\n", tab.name()));
        for (row, _) in rows {
            text.push_str(&row);
            text.push('\n');
        }
    }
    text
}

/// Faster than a person reads.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
