//! The leaf: when it is valid, and what clients ask of it.

use std::time::{Duration, SystemTime};

use super::Finding;
use crate::certificate::details::{Details, Signature};
use crate::certificate::dev::is_local;
use crate::certificate::pair::Certificate;
use crate::config::Severity;
use crate::model::HostName;

/// What is wrong with one certificate, and makes every path through it wrong.
pub(super) const SPOILS_A_PATH: [&str; 3] = [
    "certificate-purpose",
    "certificate-weak-key",
    "certificate-weak-signature",
];

/// Everything that is to be said of the leaf.
pub(super) fn of(binding: usize, certificate: &Certificate, now: SystemTime) -> Vec<Finding> {
    let Some(leaf) = certificate.leaf() else {
        return Vec::new();
    };
    let file = certificate.file.display().to_string();
    let mut findings = Vec::new();
    findings.extend(validity(binding, &file, leaf, now));
    if certificate.covers.is_empty() {
        findings.push(
            Finding::warning(
                binding,
                "certificate-no-san",
                format!(
                    "{file} covers no name at all: a common name alone has not counted for years"
                ),
            )
            .with_help("request a certificate whose subject alternative names name the host"),
        );
    }
    findings.extend(weak(binding, &file, leaf));
    if !leaf.for_servers {
        findings.push(
            Finding::warning(
                binding,
                "certificate-purpose",
                format!("{file} is for other purposes than servers: serverAuth is not among its extended key usages"),
            )
            .with_help("clients will refuse it; request a certificate for a server"),
        );
    }
    findings
}

/// That clients are to refuse the certificate without a stapled OCSP response, and will never get one. Whether it comes in time,
/// where it may come, is said by who fetches it.
pub(super) fn staple(binding: usize, certificate: &Certificate, staples: bool) -> Option<Finding> {
    if !certificate.requires_staple() {
        return None;
    }
    let leaf = certificate.leaf()?;
    let (why, help) = match (staples, leaf.has_responder) {
        (true, true) => return None,
        (false, true) => (
            "`ocsp_stapling` is off",
            "write `ocsp_stapling = true`, or use a certificate without must-staple",
        ),
        (_, false) => (
            "it names no responder to fetch one from",
            "request a certificate without must-staple: CAs that answer by OCSP have become few",
        ),
    };
    let message = format!(
        "{} is refused by clients that see no stapled OCSP response (must-staple, RFC 7633), and {why}",
        certificate.file.display()
    );
    let finding = Finding::warning(binding, "certificate-must-staple", message);
    Some(finding.with_help(help).about(&certificate.file))
}

/// What is weak in the key or the signature of a certificate.
pub(super) fn weak(binding: usize, what: &str, read: &Details) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(fault) = read.key.fault() {
        let message = format!("{what} has a key of {}: {fault}", read.key);
        findings.push(
            Finding::warning(binding, "certificate-weak-key", message).with_help(
                "make a new key, ECDSA P-256 or RSA 2048, and request a certificate for it",
            ),
        );
    }
    let signature = match read.signature {
        Signature::Sound => None,
        // A root's own signature is nobody's proof of anything.
        _ if read.is_self_issued() && read.is_ca => None,
        Signature::Sha1 => Some("SHA-1"),
        Signature::Md5 => Some("MD5 or older"),
    };
    if let Some(signature) = signature {
        let message = format!("{what} is signed with {signature}, which clients refuse");
        findings.push(
            Finding::warning(binding, "certificate-weak-signature", message)
                .with_help("request it anew from a CA that signs with SHA-256"),
        );
    }
    findings
}

fn validity(binding: usize, file: &str, leaf: &Details, now: SystemTime) -> Option<Finding> {
    if now > leaf.not_after {
        let ago = span(now, leaf.not_after);
        let message = format!("{file} expired {ago} ago, on {}", date(leaf.not_after));
        let finding = Finding::warning(binding, "certificate-expired", message);
        return Some(finding.with_help("clients refuse it; renew it now"));
    }
    if now < leaf.not_before {
        let message = format!(
            "{file} is not valid yet: it begins to be in {}, on {}",
            span(leaf.not_before, now),
            date(leaf.not_before)
        );
        let finding = Finding::warning(binding, "certificate-not-yet-valid", message);
        return Some(finding.with_help(
            "clients refuse it; show the one before it until then, or correct this machine's clock",
        ));
    }
    let (severity, help) = urgency(leaf, now)?;
    let message = format!(
        "{file} expires in {}, on {}",
        span(leaf.not_after, now),
        date(leaf.not_after)
    );
    Some(Finding::new(severity, binding, "certificate-expiring", message).with_help(help))
}

/// How urgent a renewal is: 30 days, 7 days and a day before the end. Of a short lifetime that is a third (when ACME clients
/// renew), an eighth, and a twenty-fourth: a certificate of six days is not spoken of all its life.
fn urgency(leaf: &Details, now: SystemTime) -> Option<(Severity, &'static str)> {
    let between = |later: SystemTime, earlier| later.duration_since(earlier).unwrap_or_default();
    let lifetime = between(leaf.not_after, leaf.not_before);
    let left = between(leaf.not_after, now);
    if left < DAY.min(lifetime / 24) {
        Some((
            Severity::Warning,
            "renew it at once: from then on no client gets through",
        ))
    } else if left < (7 * DAY).min(lifetime / 8) {
        Some((
            Severity::Warning,
            "renew it; where that is done by itself, find out why it was not",
        ))
    } else if left < (30 * DAY).min(lifetime / 3) {
        Some((Severity::Note, "it is time to renew it"))
    } else {
        None
    }
}

/// A span in days, or in hours where it is short.
pub(super) fn span(later: SystemTime, earlier: SystemTime) -> String {
    let span = later.duration_since(earlier).unwrap_or_default();
    let (count, unit) = match span.as_secs() {
        seconds if span >= 2 * DAY => (seconds / 86_400, "day"),
        seconds if span >= 2 * HOUR => (seconds / 3600, "hour"),
        seconds => (seconds / 60, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// A day, as in 2026-11-21.
pub(super) fn date(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Whether a certificate is for names that can only be this machine's own.
pub(super) fn is_for_this_machine(certificate: &Certificate) -> bool {
    let mut names = certificate.covers.iter();
    names.all(|name| HostName::parse(name).is_ok_and(|name| is_local(&name)))
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
