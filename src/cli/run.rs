//! `portunus run`

use std::path::Path;
use std::process::ExitCode;

use super::{BAD_CONFIGURATION, check, fail};
use crate::server::{self, LibraryHandlers, RunError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only check the configuration, as `portunus check` does
    #[arg(long)]
    check_only: bool,
}

pub(super) fn main(config: &Path, arguments: &Arguments) -> ExitCode {
    if arguments.check_only {
        return check::main(config, &check::Arguments::default());
    }
    match server::run(config, LibraryHandlers::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Configuration(_)) => ExitCode::from(BAD_CONFIGURATION),
        Err(error) => fail(&error.to_string()),
    }
}
