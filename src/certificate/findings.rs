//! What is to be said of the certificates of a configuration, before a client says it.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::dev::is_local;
use super::error::CertificateError;
use super::folder::Folder;
use super::pair::{Certificate, ChainFault};
use super::set::Certificates;
use crate::config::{Binding, CertificateSource, Config};
use crate::model::{HostName, HostPattern};

/// Something about a binding's certificate that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The binding, by its index.
    pub binding: usize,
    /// Whether the binding cannot be served.
    pub is_error: bool,
    /// Stable.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
}

impl Finding {
    pub(super) fn error(binding: usize, code: &'static str, message: String) -> Self {
        Self {
            binding,
            is_error: true,
            code,
            message,
            help: None,
        }
    }

    fn warning(binding: usize, code: &'static str, message: String) -> Self {
        Self {
            is_error: false,
            ..Self::error(binding, code, message)
        }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// Looks at the certificate that each binding would show.
pub(super) fn of(config: &Config, certificates: &Certificates) -> Vec<Finding> {
    let now = SystemTime::now();
    let mut findings = Vec::new();
    let mut looked_at = HashSet::new();
    let mut defaults_told = HashSet::new();
    for (index, binding) in config.bindings.iter().enumerate() {
        let Some(tls) = &binding.tls else { continue };
        let shown = match &tls.certificate {
            CertificateSource::Named(named) => match certificates.named(*named) {
                Ok(certificate) => vec![&**certificate],
                Err(error) => {
                    findings.push(unusable(index, error));
                    continue;
                }
            },
            CertificateSource::Folder(path) => match certificates.folder(path) {
                Some(folder) => {
                    let shown = of_folder(index, binding, folder, &mut findings);
                    if let Some(fault) = folder.default_fault()
                        && defaults_told.insert(path)
                        && !tells_every_fault(&binding.hostname)
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
            of_names(index, binding, certificate, &mut findings);
            if looked_at.insert(certificate.file.as_path()) {
                of_certificate(index, certificate, now, &mut findings);
            }
        }
    }
    findings
}

/// The certificates of the folder that the binding would show.
fn of_folder<'a>(
    index: usize,
    binding: &Binding,
    folder: &'a Folder,
    findings: &mut Vec<Finding>,
) -> Vec<&'a Certificate> {
    let found = match &binding.hostname {
        HostPattern::Exact(host) => {
            let default = host.ip().and_then(|_| folder.default_choice());
            if let Some(fault) = folder.fault(host) {
                findings.push(unusable(index, fault));
                return Vec::new();
            }
            folder.choice(host).or(default)
        }
        HostPattern::Wildcard(parent) => {
            if let Some(fault) = folder.wildcard_fault(parent) {
                findings.push(unusable(index, fault));
                return Vec::new();
            }
            folder.wildcard_choice(parent)
        }
        HostPattern::Strong | HostPattern::Any => {
            findings.extend(folder.faults().map(|fault| warning_of(index, fault)));
            let all: Vec<_> = folder
                .iter()
                .map(|(_, certificate)| &**certificate)
                .collect();
            if all.is_empty() {
                findings.push(missing(index, binding, folder));
            }
            return all;
        }
    };
    match found {
        Some(choice) => choice.all().map(|certificate| &**certificate).collect(),
        // Hosts under a wildcard may each have a certificate of their own.
        None if matches!(&binding.hostname, HostPattern::Wildcard(parent) if folder.iter().any(|(name, _)| is_below(name, parent))) => {
            Vec::new()
        }
        None => {
            findings.push(missing(index, binding, folder));
            Vec::new()
        }
    }
}

fn missing(index: usize, binding: &Binding, folder: &Folder) -> Finding {
    let host = binding.hostname.to_string();
    if matches!(&binding.hostname, HostPattern::Exact(host) if is_local(host)) {
        return Finding::warning(
            index,
            "certificate-development",
            format!(
                "there is no certificate for {host} yet; `portunus run` makes a development certificate"
            ),
        );
    }
    let file = match &binding.hostname {
        HostPattern::Wildcard(parent) => format!("_.{parent}.pem"),
        HostPattern::Exact(name) => format!("{name}.pem"),
        HostPattern::Strong | HostPattern::Any => "_default.pem".to_owned(),
    };
    Finding::error(
        index,
        "certificate-missing",
        format!("there is no certificate for {host} in {}", folder.path.display()),
    )
    .with_help(format!(
        "put {file} (chain, leaf first) and its .key there, name one with `certificate`, or try `portunus cert dev {}`",
        for_a_shell(&binding.hostname)
    ))
}

/// A host that a development certificate can be made for, as it is typed into a shell.
fn for_a_shell(hostname: &HostPattern) -> String {
    match hostname {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Wildcard(parent) => format!("'*.{parent}'"),
        HostPattern::Strong | HostPattern::Any => "localhost".to_owned(),
    }
}

/// Whether a name is exactly one label and the parent.
fn is_below(name: &str, parent: &HostName) -> bool {
    name.split_once('.')
        .is_some_and(|(_, above)| above == parent.as_str())
}

/// Whether a binding of such a name is told of every fault of its folder.
fn tells_every_fault(hostname: &HostPattern) -> bool {
    matches!(hostname, HostPattern::Strong | HostPattern::Any)
}

fn warning_of(index: usize, error: &CertificateError) -> Finding {
    Finding::warning(index, error.code(), error.to_string())
}

fn unusable(index: usize, error: &CertificateError) -> Finding {
    Finding::error(index, error.code(), error.to_string())
}

fn of_names(
    index: usize,
    binding: &Binding,
    certificate: &Certificate,
    findings: &mut Vec<Finding>,
) {
    let covered = match &binding.hostname {
        HostPattern::Exact(host) => certificate.covers(host),
        // Some of the hosts, or all: the names below a wildcard are the operator's to choose.
        HostPattern::Wildcard(parent) => {
            let mut names = certificate.covers.iter();
            names.any(|name| is_below(name, parent))
        }
        HostPattern::Strong | HostPattern::Any => true,
    };
    if !covered {
        let covers = match &*certificate.covers {
            [] => "no name at all (a common name alone has not counted for years)".to_owned(),
            names => names.join(", "),
        };
        let message = format!(
            "{} does not cover {}; it covers {covers}",
            certificate.file.display(),
            binding.hostname,
        );
        let finding = Finding::warning(index, "certificate-name", message);
        findings.push(
            finding.with_help("clients will refuse it; use a certificate that names the host"),
        );
    }
}

fn of_certificate(
    index: usize,
    certificate: &Certificate,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) {
    let file = certificate.file.display();
    let mut warn = |code, message: String| findings.push(Finding::warning(index, code, message));
    if now > certificate.not_after {
        let since = days(now, certificate.not_after);
        warn(
            "certificate-expired",
            format!("{file} expired {since} days ago"),
        );
    } else if is_expiring(certificate, now) {
        let left = days(certificate.not_after, now);
        warn(
            "certificate-expiring",
            format!("{file} expires in {left} days"),
        );
    }
    if now < certificate.not_before {
        warn(
            "certificate-not-yet-valid",
            format!("{file} is not valid yet"),
        );
    }
    match certificate.chain_fault {
        Some(ChainFault::Incomplete) => warn(
            "certificate-chain-incomplete",
            format!(
                "{file} holds the leaf only; its issuer, {}, must follow it",
                certificate.issuer
            ),
        ),
        Some(ChainFault::Order) => warn(
            "certificate-chain-order",
            format!(
                "{file} is out of order: each certificate must be followed by its issuer, the leaf first"
            ),
        ),
        None => {}
    }
}

/// Whether a renewal is late: ACME clients renew with a third of the lifetime left, and of a long one with 30 days.
fn is_expiring(certificate: &Certificate, now: SystemTime) -> bool {
    let between = |later: SystemTime, earlier| later.duration_since(earlier).unwrap_or_default();
    let lifetime = between(certificate.not_after, certificate.not_before);
    // Half of that third is spent: certificates of six days are not spoken of all their life.
    between(certificate.not_after, now) < EXPIRY_WARNING.min(lifetime / 6)
}

fn days(later: SystemTime, earlier: SystemTime) -> u64 {
    later
        .duration_since(earlier)
        .unwrap_or(Duration::ZERO)
        .as_secs()
        / 86_400
}

/// A sixth of 90 days, nearly.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 86_400);
