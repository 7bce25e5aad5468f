//! Taking the configuration anew, and telling what that would do.

use std::path::Path;
use std::sync::Arc;

use sd_notify::NotifyState;

use super::{Beside, RunError, audit, errors_of, findings, notify};
use crate::certificate::{News, dev};
use crate::report::own_log::OwnLog;
use crate::server::Server;
use crate::server::control::{By, For, Reloaded, Reply};
use crate::server::plan;
use crate::server::prepare::{look_for_plan, prepare};

/// Takes the configuration anew, and tells what came of it.
pub(super) fn reload(server: &mut Server, own_log: &OwnLog, beside: &mut Beside, whom: For) {
    let reloading = NotifyState::monotonic_usec_now();
    if let Ok(now) = reloading {
        notify(&[NotifyState::Reloading, now]);
    }
    let file = server.file().to_owned();
    let result = try_reload(server, own_log, &file);
    // Before anybody hears of it: who asks for a certificate then asks by this configuration.
    beside.follow(server);
    beside.serving.reloaded(result.is_ok());
    match &result {
        Ok(done) => {
            let changes = done.plan.len();
            tracing::info!(config = %file.display(), changes, "reloaded");
        }
        Err(error) => {
            tracing::error!(%error, "the configuration was not taken; what ran before goes on running");
        }
    }
    notify(&[NotifyState::Ready]);
    match whom {
        For::Signal(signal) => {
            let why = result.err().map(|error| error.to_string());
            let done = why.as_deref().map_or(Ok(()), Err);
            audit(server, "reload", By::Signal(signal), done);
        }
        For::Whom(reply) => {
            // Whoever asked may have gone.
            let _ = reply.send(result.map_err(|error| {
                format!(
                    "{error}; what ran before goes on running (`portunus check` shows every finding)"
                )
            }));
        }
    }
}

fn try_reload(server: &mut Server, own_log: &OwnLog, file: &Path) -> Result<Reloaded, RunError> {
    let shown = Arc::clone(server.certificates());
    let mut prepared = prepare(file, server.library(), Some(&shown));
    findings::tell(&prepared.loaded, own_log.format());
    let Some((config, certificates)) = prepared.take() else {
        return Err(errors_of(&prepared.loaded));
    };
    let log = config.log.clone();
    let plan = server.reload(config, Arc::new(certificates))?;
    prepared.news.iter().for_each(News::tell);
    // The configuration is taken by now; a level that cannot be set is no reason to say otherwise.
    if let Err(error) = own_log.reload(&log) {
        tracing::warn!(%error, "the level of this log stays as it was");
    }
    Ok(Reloaded {
        plan,
        findings_text: prepared.loaded.render(false),
        findings: prepared.loaded.diagnostics,
    })
}

/// Tells what a reload would do, and does nothing.
pub(super) fn plan(server: &Server, reply: Reply) {
    // Whoever asked may have gone.
    let _ = reply.send(foresee(server));
}

fn foresee(server: &Server) -> Result<Reloaded, String> {
    let shown = Arc::clone(server.certificates());
    let mut prepared = look_for_plan(server.file(), server.library(), &shown);
    let findings_text = prepared.loaded.render(false);
    let Some((config, certificates)) = prepared.take() else {
        return Err(format!(
            "{findings_text}\nthis configuration would not be taken, and what runs would go on running"
        ));
    };
    let mut plan = plan::foresee(server, &config, &certificates).map_err(|error| {
        format!("{error}; this configuration would not be taken, and what runs would go on running")
    })?;
    plan.add_missing(&config, &dev::missing(&config, &certificates));
    Ok(Reloaded {
        plan,
        findings: prepared.loaded.diagnostics,
        findings_text,
    })
}
