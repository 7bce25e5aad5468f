//! `portunus check`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use super::BAD_CONFIGURATION;
use crate::config::Severity;
use crate::server::{self, LibraryHandlers};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Count a warning as an error
    #[arg(long)]
    strict: bool,
    /// Write the findings as JSON to stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    let prepared = server::check(config, &LibraryHandlers::new());
    let findings = &prepared.loaded.diagnostics;
    let count = |severity| {
        findings
            .iter()
            .filter(|found| found.severity == severity)
            .count()
    };
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note].map(count);
    let failed = errors > 0 || arguments.strict && warnings > 0;
    let inventory = prepared.inventory.as_ref();
    if arguments.json {
        let report = serde_json::json!({
            "file": config,
            "ok": !failed,
            "errors": errors,
            "warnings": warnings,
            "notes": notes,
            "findings": findings,
            "certificates": inventory.map(|inventory| &inventory.certificates),
        });
        println!("{report:#}");
    } else {
        eprint!("{}", prepared.loaded.render(io::stderr().is_terminal()));
        let verdict = if failed {
            "cannot be used"
        } else {
            "can be used"
        };
        let strict = if arguments.strict && errors == 0 && failed {
            ", and --strict counts warnings as errors"
        } else {
            ""
        };
        let notes = match notes {
            0 => String::new(),
            notes => format!(", {notes} notes"),
        };
        if let Some(inventory) = inventory {
            print!("{inventory}");
        }
        println!(
            "{} {verdict}: {errors} errors, {warnings} warnings{notes}{strict}",
            config.display()
        );
    }
    if failed {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}
