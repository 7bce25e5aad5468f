//! What can be seen of a worker before it is started, for `portunus check`.

use std::path::Path;

use super::environment;
use super::identity::{self, Looked};
use crate::config;

/// Something that would keep a worker from starting, or requests from what is to stand in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind of finding it is, as `docs/configuration.md` lists them.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
}

/// What a pool's workers lack, as far as whoever looks may see. Nothing is started.
pub fn look(settings: &config::Process) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |code, message: String, help| {
        found.push(Finding {
            code,
            message,
            help,
        });
    };
    let Looked { user, group } = identity::look(&settings.user, &settings.group);
    if !user {
        let message = format!("there is no user {:?} on this system", settings.user);
        find(
            "worker-user",
            message,
            "make it, as in `useradd --system NAME`, or correct `user`",
        );
    }
    if !group {
        let message = format!("there is no group {:?} on this system", settings.group);
        find(
            "worker-user",
            message,
            "make it, as in `groupadd --system NAME`, or correct `group`",
        );
    }
    if !settings.cwd.is_dir() {
        let message = format!("there is no folder {} to work in", settings.cwd.display());
        find("worker-folder", message, "make it, or correct `cwd`");
    } else if let Some(program) = settings.command.first()
        && !is_there(program, settings)
    {
        let message = format!("there is no program {program:?} for `command`");
        find(
            "worker-program",
            message,
            "write its whole path, install it, or add its folder to PATH in `env`",
        );
    }
    if let Some(page) = settings.splash.as_ref().filter(|page| !page.is_file()) {
        let message = format!("there is no splash page {}", page.display());
        find(
            "worker-splash",
            message,
            "make it, or correct `splash`, which is relative to the bindings file; requests wait instead",
        );
    }
    found
}

fn is_there(program: &str, settings: &config::Process) -> bool {
    if program.contains('/') {
        return settings.cwd.join(program).is_file();
    }
    let ours = std::env::var("PATH").unwrap_or_else(|_| environment::PATH.to_owned());
    let path = settings.env.get("PATH").unwrap_or(&ours);
    path.split(':')
        .any(|folder| settings.cwd.join(Path::new(folder)).join(program).is_file())
}
