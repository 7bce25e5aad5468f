//! The chain behind the leaf, as it is sent.

use std::time::SystemTime;

use super::Finding;
use super::leaf::{SPOILS_A_PATH, date, is_for_this_machine, span, weak};
use crate::certificate::chain::Chain;
use crate::certificate::details::Details;
use crate::certificate::pair::Certificate;
use crate::certificate::trust::Verdict;
use crate::config::Severity;

/// Everything that is to be said of a chain. `is_sound`: the leaf itself spoils no path.
pub(super) fn of(
    binding: usize,
    certificate: &Certificate,
    is_sound: bool,
    now: SystemTime,
) -> Vec<Finding> {
    let file = certificate.file.display().to_string();
    let chain = certificate.chain();
    let mut findings = done(binding, &file, &chain);
    let sent = certificate.arranged();
    let above = sent.cert.iter().skip(1);
    let above = above.filter_map(|der| Details::of(der).ok());
    let read: Vec<_> = (certificate.leaf().cloned().into_iter())
        .chain(above)
        .collect();
    let above = read.get(1..).unwrap_or_default();
    for issuer in above {
        let what = format!("the issuer {} in {file}", issuer.subject);
        if now > issuer.not_after {
            let ago = span(now, issuer.not_after);
            let message = format!("{what} expired {ago} ago, on {}", date(issuer.not_after));
            let finding = Finding::warning(binding, "certificate-chain-expired", message);
            findings
                .push(finding.with_help("fetch the chain anew from the CA: it has a newer one"));
        }
        findings.extend(weak(binding, &what, issuer));
    }
    // A path that no client follows because of what is said already is nothing more to say.
    let is_said = matches!(chain.verdict, Verdict::Invalid(_))
        && (!is_sound
            || findings
                .iter()
                .any(|found| SPOILS_A_PATH.contains(&found.code)));
    if !is_said {
        findings.extend(of_verdict(binding, &file, certificate, &chain.verdict));
    }
    findings.extend(extra(binding, &file, &read));
    findings
}

/// What was done to the chain before it is shown.
fn done(binding: usize, file: &str, chain: &Chain) -> Vec<Finding> {
    let mut findings = Vec::new();
    if chain.reordered {
        let message = format!("{file} is out of order; it is shown in order");
        findings.push(
            Finding::warning(binding, "certificate-chain-order", message).with_help(
                "write each certificate before its issuer, the leaf first: other programs show it as it stands",
            ),
        );
    }
    for added in &chain.added {
        let message = format!(
            "{file} lacks the issuer {}; it is shown with the one in {}",
            added.subject,
            added.file.display()
        );
        findings.push(
            Finding::warning(binding, "certificate-chain-completed", message)
                .with_help(format!(
                    "append that certificate to {file}: other programs send what stands there and no more"
                )),
        );
    }
    findings
}

/// What clients make of it.
fn of_verdict(
    binding: usize,
    file: &str,
    certificate: &Certificate,
    verdict: &Verdict,
) -> Option<Finding> {
    let finding = match verdict {
        Verdict::Trusted | Verdict::Private | Verdict::Unjudged => return None,
        Verdict::SelfSigned => {
            let severity = match is_for_this_machine(certificate) {
                true => Severity::Note,
                false => Severity::Warning,
            };
            let message =
                format!("{file} is signed by itself: clients refuse it unless they know it");
            Finding::new(severity, binding, "certificate-self-signed", message).with_help(
                "use a CA's; where every client knows it, put it into the file that `tls.trust` names",
            )
        }
        Verdict::Incomplete { issuer } => {
            let message = format!(
                "{file} does not hold the whole chain: the issuer {issuer} must follow, and clients do not fetch it"
            );
            Finding::warning(binding, "certificate-chain-incomplete", message).with_help(
                "append the CA's intermediate certificates, or put their file into the same folder; \
                 if it is a private CA's root, name it with `tls.trust`",
            )
        }
        Verdict::Unknown { issuer } => {
            let message = format!(
                "{file} leads to {issuer}, whom clients are not known to trust: whether the chain is whole cannot be said"
            );
            Finding::note(binding, "certificate-issuer-unknown", message).with_help(
                "if it is a private CA's root, put it into the same folder or name it with `tls.trust`; \
                 else append it",
            )
        }
        Verdict::Invalid(why) => {
            let message = format!("{file} leads clients to no root: {why}");
            Finding::warning(binding, "certificate-chain-invalid", message)
                .with_help("fetch the chain anew from the CA")
        }
    };
    Some(finding)
}

/// What is sent and of no use to anybody.
fn extra(binding: usize, file: &str, read: &[Details]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, extra) in read.iter().enumerate().skip(1) {
        if extra.is_self_issued() && extra.is_ca {
            let message = format!(
                "{file} holds the root {}: clients trust their own copy or none",
                extra.subject
            );
            findings.push(
                Finding::note(binding, "certificate-chain-root", message)
                    .with_help("leave it out: it only makes handshakes longer"),
            );
            continue;
        }
        let leads = read
            .iter()
            .any(|other| !std::ptr::eq(other, extra) && other.may_come_from(extra));
        let is_twice = read[..at]
            .iter()
            .any(|other| other.fingerprint == extra.fingerprint);
        if !leads || is_twice {
            let message = format!(
                "{file} holds {}, which is no part of its chain",
                extra.subject
            );
            findings.push(
                Finding::note(binding, "certificate-chain-extra", message)
                    .with_help("leave it out: it only makes handshakes longer"),
            );
        }
    }
    findings
}
