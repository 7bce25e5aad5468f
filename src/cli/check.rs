//! `portunus check`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use super::BAD_CONFIGURATION;
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
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    let failed = errors > 0 || arguments.strict && warnings > 0;
    if arguments.json {
        let report = serde_json::json!({
            "file": config,
            "ok": !failed,
            "errors": errors,
            "warnings": warnings,
            "findings": findings,
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
        println!(
            "{} {verdict}: {errors} errors, {warnings} warnings{strict}",
            config.display()
        );
    }
    if failed {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::SUCCESS
    }
}
