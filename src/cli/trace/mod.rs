//! `portunus trace`: what failed-request tracing has written down, listed and looked at.

mod page;
mod text;
mod view;

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Subcommand;
use nix::fcntl::OFlag;

use super::fail;
use crate::config;
use crate::report::failed::{Record, is_record_name};

#[derive(Debug, Subcommand)]
pub(super) enum Trace {
    /// The files that are in failed_requests.folder, the newest last
    List,
    /// Look at one of them in a browser: every step with its time, the fields, the attempts, why it failed
    ///
    /// The page is one file that loads nothing and runs no script. Without a display its path is written to stdout.
    Open(Open),
}

#[derive(Debug, clap::Args)]
pub(super) struct Open {
    /// The file, or its name in failed_requests.folder [default: the newest there]
    file: Option<PathBuf>,
    /// Write the page to this file, and open nothing
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    output: Option<PathBuf>,
    /// Write it to stdout as text, for a terminal
    #[arg(long)]
    print: bool,
}

pub(super) fn main(config: &Path, trace: &Trace) -> ExitCode {
    let done = match trace {
        Trace::List => list(config),
        Trace::Open(arguments) => open(config, arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn list(config: &Path) -> Result<(), String> {
    let folder = folder(config)?;
    for name in files(&folder)? {
        println!("{}", folder.join(name).display());
    }
    Ok(())
}

fn open(config: &Path, arguments: &Open) -> Result<(), String> {
    let file = find(config, arguments.file.as_deref())?;
    let record = read(&file)?;
    if arguments.print {
        return say(&text::text(&record));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let page = page::page(&record, &name);
    if let Some(output) = &arguments.output {
        let written = write(output, &page, false);
        return written.map_err(|error| cannot("be written", output, &error));
    }
    let output = std::env::temp_dir().join(format!("{name}-{}.html", std::process::id()));
    write(&output, &page, true).map_err(|error| {
        let why = cannot("be written", &output, &error);
        format!("{why}; --output FILE writes it elsewhere")
    })?;
    say(&format!("{}\n", output.display()))?;
    show(&output);
    Ok(())
}

/// The file that is meant: as it is written, else the one of that name in the folder of the configuration.
fn find(config: &Path, file: Option<&Path>) -> Result<PathBuf, String> {
    match file {
        Some(file) if file.exists() || file.components().count() > 1 => Ok(file.to_path_buf()),
        Some(name) if is_bare(name) => Ok(folder(config)?.join(name)),
        Some(name) => Err(format!(
            "no failed request is called {}, neither here nor in {}; {NAMES}",
            name.display(),
            folder(config)?.display()
        )),
        None => {
            let folder = folder(config)?;
            let newest = files(&folder)?.pop();
            newest.map(|name| folder.join(name)).ok_or_else(|| {
                format!(
                    "no request has failed yet that a rule is for: {} has no file of one (docs/failed-requests.md)",
                    folder.display()
                )
            })
        }
    }
}

fn is_bare(file: &Path) -> bool {
    file.to_str().is_some_and(is_record_name)
}

fn read(file: &Path) -> Result<Record, String> {
    let mut text = String::new();
    // A pipe would never answer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(file);
    let opened = opened.and_then(|opened| match opened.metadata()?.is_file() {
        true => Ok(opened),
        false => Err(io::Error::other("it is no file")),
    });
    let read = opened.and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| format!("{}; {NAMES}", cannot("be read", file, &error)))?;
    parse(&text).map_err(|why| {
        format!(
            "{} is no failed request of this version of Portunus: {why}; {NAMES}",
            file.display()
        )
    })
}

/// The file is ours, and may be anything.
pub(super) fn parse(text: &str) -> Result<Record, String> {
    let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if record.format == Record::FORMAT {
        return Ok(record);
    }
    let (is, wanted) = (view::plain(&record.format), Record::FORMAT);
    Err(format!("its `format` is {is:?}, and not {wanted:?}"))
}

/// `new`: in a folder that others write to as well, where what is there already may be a trap.
fn write(file: &Path, page: &str, new: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match new {
        true => options.create_new(true),
        false => options.create(true).truncate(true),
    };
    options.open(file)?.write_all(page.as_bytes())
}

/// Hands a page to the desktop's browser. Where there is none its path was told already.
fn show(page: &Path) {
    let has_display = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !has_display("DISPLAY") && !has_display("WAYLAND_DISPLAY") {
        return;
    }
    let browser = Command::new("xdg-open")
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = browser {
        eprintln!("portunus: xdg-open cannot be run ({error}); open the file in a browser");
    }
}

fn folder(config: &Path) -> Result<PathBuf, String> {
    let loaded = config::load(config);
    let config_of = loaded.config.ok_or_else(|| {
        let file = config.display();
        format!("{file} has errors (`portunus check` shows them), and names no folder then")
    })?;
    Ok(config_of.failed_requests.folder)
}

/// The names of what was written, the oldest first.
fn files(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // It is made when there is something to write.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let why = cannot("be read", folder, &error);
            return Err(format!("{why}; it is the server's user's alone"));
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_record_name(name)).collect();
    names.sort_unstable();
    Ok(names)
}

fn cannot(what: &str, file: &Path, error: &io::Error) -> String {
    format!("{} cannot {what}: {error}", file.display())
}

/// A reader that goes away has seen enough.
fn say(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

const NAMES: &str = "`portunus trace list` has the names of those there are";

/// Twice the longest file that can be asked for.
const FILE_BYTES_MAX: u64 = 32 << 20;

#[cfg(test)]
mod tests;
