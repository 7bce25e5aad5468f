//! `portunus completions`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(super) fn main(arguments: &Arguments) -> ExitCode {
    let mut command = super::Arguments::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "portunus",
        &mut std::io::stdout(),
    );
    ExitCode::SUCCESS
}
