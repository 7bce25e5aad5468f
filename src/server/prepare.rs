//! From a configuration file to what a server is started with: read, certificates loaded, everything found told.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::build::{self, Context, LibraryHandlers};
use crate::acme;
use crate::certificate::{Certificates, Finding, Inventory, News, dev};
use crate::config::{self, Config, Diagnostic, Loaded};
use crate::report::Report;
use crate::worker::launch;

/// What a server is started with, or everything that is wrong with it.
pub struct Prepared {
    /// The configuration, its text, and what was found.
    pub loaded: Loaded,
    /// The certificates; none where the configuration itself has errors.
    pub certificates: Option<Certificates>,
    /// What they are; none where the configuration itself has errors.
    pub inventory: Option<Inventory>,
    /// What is to be told of certificate files once the certificates are shown.
    pub news: Vec<News>,
}

impl Prepared {
    /// The configuration and its certificates, if there is no error.
    pub fn take(&mut self) -> Option<(Config, Certificates)> {
        let config = self.loaded.config.take()?;
        Some((config, self.certificates.take()?))
    }
}

/// Reads a configuration and loads its certificates. A development certificate is made where one is due. Where a file went
/// bad since it was taken, what `shown` has of it is kept.
pub fn prepare(file: &Path, library: &LibraryHandlers, shown: Option<&Certificates>) -> Prepared {
    look(file, library, true, shown)
}

/// Reads a configuration and loads its certificates; makes nothing.
pub fn check(file: &Path, library: &LibraryHandlers) -> Prepared {
    look(file, library, false, None)
}

/// The same beside a server that runs: as [`prepare`] would find it, and makes nothing.
pub(super) fn look_for_plan(
    file: &Path,
    library: &LibraryHandlers,
    shown: &Certificates,
) -> Prepared {
    look(file, library, false, Some(shown))
}

fn look(
    file: &Path,
    library: &LibraryHandlers,
    may_make: bool,
    shown: Option<&Certificates>,
) -> Prepared {
    let mut loaded = config::load(file);
    let Some(config) = &loaded.config else {
        return Prepared {
            loaded,
            certificates: None,
            inventory: None,
            news: Vec::new(),
        };
    };
    let mut findings = Vec::new();
    let mut looked = Certificates::look(config, shown, SystemTime::now());
    if may_make {
        match dev::make_missing(config, &looked.certificates) {
            Ok(made) => {
                for made in &made {
                    tracing::info!(
                        ca = %made.ca.display(),
                        "made a development certificate; browsers and tools accept it once they trust this CA"
                    );
                }
                if !made.is_empty() {
                    looked = Certificates::look(config, shown, SystemTime::now());
                }
            }
            Err(error) => findings.push(Diagnostic::error(
                "certificate-development",
                error.to_string(),
            )),
        }
    }
    findings.extend(
        looked
            .certificates
            .findings
            .iter()
            .map(|finding| diagnostic(finding, config)),
    );
    findings.extend(handler_findings(config, library));
    findings.extend(config.pools.iter().flat_map(worker_findings));
    let inventory = Inventory::of(config, &looked.certificates);
    loaded.add(findings);
    Prepared {
        loaded,
        certificates: Some(looked.certificates),
        inventory: Some(inventory),
        news: looked.news,
    }
}

fn diagnostic(finding: &Finding, config: &Config) -> Diagnostic {
    let found = Diagnostic::new(finding.severity, finding.code, &finding.message)
        .at(config.bindings[finding.binding].place);
    match &finding.help {
        Some(help) => found.help(match ordering_trouble(finding, config) {
            Some(trouble) => format!("{trouble}; {help}"),
            None => help.clone(),
        }),
        None => found,
    }
}

/// Why a certificate that is ordered has not come yet, where it was tried before.
fn ordering_trouble(finding: &Finding, config: &Config) -> Option<String> {
    if finding.code != "certificate-acme-pending" {
        return None;
    }
    let name = config.bindings[finding.binding].hostname.to_string();
    acme::trouble(config.acme.as_ref()?, &name)
}

/// What would keep a pool's workers from starting. Warnings: the other pools can be served all the same.
fn worker_findings(pool: &config::Pool) -> Vec<Diagnostic> {
    let config::Handler::Process(settings) = &pool.handler else {
        return Vec::new();
    };
    let told = |found: launch::Finding| {
        let message = format!("workers of the pool {:?}: {}", pool.name, found.message);
        Diagnostic::warning(found.code, message)
            .at(pool.place)
            .help(found.help)
    };
    launch::look(settings).into_iter().map(told).collect()
}

/// Handlers are built once for the finding, and again for use: it costs little, and keeps what is told in one place.
fn handler_findings(config: &Config, library: &LibraryHandlers) -> Vec<Diagnostic> {
    let report = Arc::new(Report::none());
    let context = Context {
        threads: 1,
        library,
        report: &report,
        challenges: &Arc::default(),
        answers: Vec::new(),
        running: None,
    };
    let Err(errors) = build::edge(config, &context) else {
        return Vec::new();
    };
    errors
        .iter()
        .map(|error| match error {
            build::BuildError::Handler { place, .. } => {
                Diagnostic::error("handler", error.to_string()).at(*place)
            }
            build::BuildError::NoLibraryHandler { place, .. } => {
                Diagnostic::error("handler-library", error.to_string()).at(*place)
            }
            build::BuildError::Traces(_) => Diagnostic::error("traces", error.to_string()),
            build::BuildError::ErrorPage(page) => {
                Diagnostic::error("error-page", error.to_string()).at(page.place)
            }
        })
        .collect()
}
