//! What is to be said of the certificates of a configuration, before a client says it.
//!
//! An error is a binding that cannot be served. What clients will refuse is a warning: a server that does not start because
//! one of its certificates has expired serves nobody at all.

mod chain;
mod files;
mod leaf;
mod names;

pub(super) use files::of_error as file_of_error;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::access::Reader;
use super::error::CertificateError;
use super::pair::Certificate;
use super::set::Certificates;
use super::trust::TrustFault;
use crate::config::{CertificateSource, Config, Severity, TrustSource};

/// Something about a binding's certificate that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The binding, by its index.
    pub binding: usize,
    /// An error: the binding cannot be served.
    pub severity: Severity,
    /// Stable.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
    /// The file of the certificate that it is about, where it is about one.
    pub file: Option<PathBuf>,
}

impl Finding {
    /// A finding of this severity.
    pub(super) fn new(
        severity: Severity,
        binding: usize,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            binding,
            severity,
            code,
            message: message.into(),
            help: None,
            file: None,
        }
    }

    pub(super) fn error(binding: usize, code: &'static str, message: String) -> Self {
        Self::new(Severity::Error, binding, code, message)
    }

    pub(super) fn warning(binding: usize, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, binding, code, message)
    }

    pub(super) fn note(binding: usize, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, binding, code, message)
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    fn about(self, file: &Path) -> Self {
        Self {
            file: Some(file.into()),
            ..self
        }
    }

    /// Whether the binding cannot be served.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Looks at the certificate that each binding would show.
pub(super) fn of(config: &Config, certificates: &Certificates) -> Vec<Finding> {
    let now = SystemTime::now();
    let (reader, anybody) = (Reader::after_start(&config.server), Reader::anybody());
    let mut findings = Vec::new();
    findings.extend(of_trust(config, certificates));
    let mut looked_at = HashSet::new();
    let mut defaults_told = HashSet::new();
    for (index, binding) in config.bindings.iter().enumerate() {
        let Some(tls) = &binding.tls else { continue };
        let shown = match &tls.certificate {
            CertificateSource::Named(named) => match certificates.named(*named) {
                Ok(_) => {
                    let faults = certificates.faults_beside(*named);
                    findings.extend(faults.map(|fault| warning_of(index, fault)));
                    certificates.kinds(*named).map(|shown| &**shown).collect()
                }
                Err(error) => {
                    findings.push(unusable(index, error));
                    continue;
                }
            },
            CertificateSource::Folder(path) => match certificates.folder(path) {
                Some(folder) if tls.acme && !folder.has(&binding.hostname) => {
                    findings.push(names::pending(index, binding, folder));
                    continue;
                }
                Some(folder) => {
                    let shown = names::of_folder(index, binding, folder, &mut findings);
                    if let Some(fault) = folder.default_fault()
                        && defaults_told.insert(path)
                        && !names::tells_every_fault(&binding.hostname)
                    {
                        findings.push(warning_of(index, fault));
                    }
                    shown
                }
                // Its own finding says that it cannot be read.
                None => continue,
            },
        };
        for certificate in shown {
            findings.extend(names::of_names(index, binding, certificate));
            findings.extend(leaf::staple(index, certificate, tls.ocsp_stapling));
            if looked_at.insert(certificate.file.as_path()) {
                let of_files = (certificates.files_of(&tls.certificate, certificate))
                    .map(|files| files::of(index, files, reader.as_ref(), &anybody));
                let found = of_certificate(index, certificate, now)
                    .into_iter()
                    .chain(of_files.into_iter().flatten());
                findings.extend(found.map(|finding| finding.about(&certificate.file)));
            }
        }
    }
    findings
}

/// What is to be said of one certificate, whichever bindings show it.
fn of_certificate(binding: usize, certificate: &Certificate, now: SystemTime) -> Vec<Finding> {
    let mut findings = leaf::of(binding, certificate, now);
    let is_sound = (findings.iter()).all(|found| !leaf::SPOILS_A_PATH.contains(&found.code));
    findings.extend(chain::of(binding, certificate, is_sound, now));
    findings
}

/// That chains cannot be looked at is said once, at the first binding that has one.
fn of_trust(config: &Config, certificates: &Certificates) -> Option<Finding> {
    let binding = config.bindings.iter().position(|b| b.tls.is_some())?;
    let found = match (&certificates.trust().fault, &config.trust) {
        (None, _) => return None,
        (Some(TrustFault::System(why)), _) => {
            let why = match why.as_str() {
                "" => String::new(),
                why => format!(" ({why})"),
            };
            let message =
                format!("this system has no roots{why}: whether chains lead to one cannot be said");
            Finding::note(binding, "trust-none", message).with_help(
                "install the package ca-certificates, or name a PEM file with `tls.trust`",
            )
        }
        (Some(TrustFault::File(why)), source) => {
            let file = match source {
                TrustSource::File(file) => file.display().to_string(),
                TrustSource::System => String::new(),
            };
            let message = format!(
                "the roots in {file} (`tls.trust`) cannot be used: {why}; whether chains lead to one cannot be said"
            );
            Finding::warning(binding, "trust-unusable", message)
                .with_help("name a PEM file with the certificates of the CAs that clients trust, or \"system\"")
        }
    };
    Some(found)
}

fn warning_of(index: usize, error: &CertificateError) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..unusable(index, error)
    }
}

fn unusable(index: usize, error: &CertificateError) -> Finding {
    let finding = Finding::error(index, error.code(), error.to_string());
    finding
        .with_help(error.remedy())
        .about(files::of_error(error))
}

#[cfg(test)]
mod tests;
