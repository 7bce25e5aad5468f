//! Which certificate a name is shown, and whether that one covers it.

use super::{Finding, unusable, warning_of};
use crate::certificate::choice::Choice;
use crate::certificate::dev::is_local;
use crate::certificate::folder::Folder;
use crate::certificate::pair::Certificate;
use crate::config::Binding;
use crate::model::{HostName, HostPattern};

/// The certificates of the folder that the binding would show.
pub(super) fn of_folder<'a>(
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
            // A CA's certificate that chains are completed with needs no key.
            let faults = folder.faults().filter(|fault| !is_of_issuer(fault));
            findings.extend(faults.map(|fault| warning_of(index, fault)));
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
        Some(choice) => {
            let faults = folder.faults_beside(&binding.hostname);
            findings.extend(faults.map(|fault| warning_of(index, fault)));
            if let HostPattern::Exact(host) = &binding.hostname {
                findings.extend(rivals(index, host, choice, folder));
            }
            choice.all().map(|certificate| &**certificate).collect()
        }
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

/// Other certificates of the folder for the same name, and which of them is shown.
fn rivals(index: usize, host: &HostName, shown: &Choice, folder: &Folder) -> Option<Finding> {
    let mut others: Vec<_> = folder
        .iter()
        .filter(|(_, other)| other.covers(host) && !shown.all().any(|shown| shown.is_same(other)))
        .collect();
    let shown = shown.preferred();
    if others.is_empty() {
        return None;
    }
    // The one that would be taken by those who forget that the name of the file decides.
    others.sort_by_key(|(_, other)| std::cmp::Reverse(other.not_after));
    let names: Vec<_> = others
        .iter()
        .take(RIVALS_NAMED)
        .map(|(_, other)| other.file.display().to_string())
        .collect();
    let more = match others.len().saturating_sub(RIVALS_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "several certificates cover {host}: {} is shown, not {}{more}",
        shown.file.display(),
        names.join(", "),
    );
    let finding = Finding::note(index, "certificate-rivals", message);
    let help = "the file that is named after the host is shown before the wildcard's, and no other; \
                name one with `certificate`, or take the others away";
    Some(finding.with_help(help).about(&shown.file))
}

/// Whether a file without a key is a CA's certificate, which needs none here.
fn is_of_issuer(error: &crate::certificate::CertificateError) -> bool {
    use crate::certificate::CertificateError as E;
    use crate::certificate::details::Details;
    use crate::certificate::trust::certificates_of;
    let (E::KeyMissing { chain, .. } | E::NoKey(chain)) = error else {
        return false;
    };
    let first = certificates_of(chain)
        .ok()
        .and_then(|all| all.into_iter().next());
    first.is_some_and(|first| Details::of(&first).is_ok_and(|details| details.is_ca))
}

/// A certificate that is ordered is missing until it has come, and one that cannot be used is ordered anew.
pub(super) fn pending(index: usize, binding: &Binding, folder: &Folder) -> Finding {
    let fault = match &binding.hostname {
        HostPattern::Exact(host) => folder.fault(host),
        HostPattern::Wildcard(parent) => folder.wildcard_fault(parent),
        HostPattern::Any | HostPattern::Strong => None,
    };
    let host = &binding.hostname;
    let message = match fault {
        Some(fault) => {
            format!("the certificate for {host} that was ordered cannot be used: {fault}")
        }
        None => format!("the certificate for {host} is to be ordered, and has not come yet"),
    };
    Finding::warning(index, "certificate-acme-pending", message).with_help(
        "`portunus run` orders it, and shows a self-signed placeholder meanwhile; its log says how that goes",
    )
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
pub(super) fn tells_every_fault(hostname: &HostPattern) -> bool {
    matches!(hostname, HostPattern::Strong | HostPattern::Any)
}

/// Whether a certificate covers what the binding is for.
pub(super) fn of_names(
    index: usize,
    binding: &Binding,
    certificate: &Certificate,
) -> Option<Finding> {
    let covered = match &binding.hostname {
        HostPattern::Exact(host) => certificate.covers(host),
        // Some of the hosts, or all: the names below a wildcard are the operator's to choose.
        HostPattern::Wildcard(parent) => {
            let mut names = certificate.covers.iter();
            names.any(|name| is_below(name, parent))
        }
        HostPattern::Strong | HostPattern::Any => true,
    };
    // Without any name that is said of the certificate itself.
    if covered || certificate.covers.is_empty() {
        return None;
    }
    let message = format!(
        "{} does not cover {}; it covers {}",
        certificate.file.display(),
        binding.hostname,
        listed(&certificate.covers),
    );
    let finding = Finding::warning(index, "certificate-name", message);
    let help = "clients will refuse it; use a certificate that names the host";
    Some(finding.with_help(help).about(&certificate.file))
}

/// Names, and no more of them than fit on a line or two.
fn listed(names: &[Box<str>]) -> String {
    let shown = names.iter().take(NAMES_LISTED).map(|name| &**name);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

const RIVALS_NAMED: usize = 3;
const NAMES_LISTED: usize = 10;
