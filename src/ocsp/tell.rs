//! What is said of staples in the server's own log: what somebody should look at, once.

use super::response::Verified;
use super::state::{News, Watched};
use super::subject::Unable;
use crate::certificate::Certificate;

/// What was taken up.
pub(super) fn new(watched: &Watched) {
    let Some(certificate) = watched.certificates.first() else {
        return;
    };
    let file = certificate.file.display();
    match &watched.current {
        Some((
            _,
            Verified {
                revoked: Some(revoked),
                ..
            },
        )) => {
            tracing::error!(certificate = %file, reason = revoked.reason, since = %humantime::format_rfc3339(revoked.since), "{REVOKED}");
        }
        Some(_) => tracing::debug!(certificate = %file, "stapled from disk"),
        None if certificate.requires_staple() => {
            tracing::warn!(certificate = %file, "the certificate requires a staple (must-staple) and has none yet: until its OCSP responder answers, clients may refuse it");
        }
        None => {}
    }
}

/// Why a certificate has no staple. That it names no responder is how it should be, unless it requires a staple.
pub(super) fn unable(certificate: &Certificate, why: &Unable) {
    let file = certificate.file.display();
    if certificate.requires_staple() {
        tracing::error!(certificate = %file, %why, "the certificate requires a staple (must-staple) and can have none: clients may refuse it");
    } else if *why != Unable::NoResponder {
        tracing::warn!(certificate = %file, %why, "no OCSP response is stapled");
    }
}

pub(super) fn ran_out(watched: &Watched) {
    let error = watched.last_error.as_ref().map_or("", |(_, error)| error);
    for certificate in &watched.certificates {
        let file = certificate.file.display();
        let responder = &watched.subject.responder.uri;
        tracing::warn!(certificate = %file, %responder, error, "the staple has run out, and no new one has come: none is sent");
    }
}

pub(super) fn news(watched: &Watched, news: &News) {
    let Some(certificate) = watched.certificates.first() else {
        return;
    };
    let file = certificate.file.display();
    let responder = &watched.subject.responder.uri;
    match news {
        News::Stapled(verified) => {
            let until = humantime::format_rfc3339(verified.until);
            tracing::info!(certificate = %file, %until, "stapled");
        }
        News::Renewed(_) => tracing::debug!(certificate = %file, "staple renewed"),
        News::Revoked(revoked) => {
            let since = humantime::format_rfc3339(revoked.since);
            tracing::error!(certificate = %file, reason = revoked.reason, %since, "{REVOKED}");
        }
        // Once is enough: what is stapled goes on being stapled, and its end is told.
        News::Failed(1, error) => {
            tracing::warn!(certificate = %file, %responder, error, "no OCSP response; trying again");
        }
        News::Failed(failures, error) => {
            tracing::debug!(certificate = %file, %responder, error, failures, "no OCSP response");
        }
        News::Gone => {}
    }
}

/// A client that asks the CA itself refuses the certificate whatever is stapled; to one that does not, saying so would only
/// end the service, and whoever has stolen a key staples nothing of the kind.
const REVOKED: &str =
    "the certificate was REVOKED by its CA: replace it and its key; no staple is sent with it";
