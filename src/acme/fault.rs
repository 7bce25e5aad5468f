//! Why an order came to nothing: quoted in full, with what to do, and sorted by what it means for the next try.

use std::fmt::Write;
use std::io;
use std::path::Path;

use instant_acme::{AuthorizedIdentifier, Error, Problem};

use super::ledger::Seconds;

/// Why an order came to nothing.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) blame: Blame,
    /// For a person: what was said, and what to do.
    pub(super) text: String,
    /// Until when the CA asks to wait.
    pub(super) retry_after: Option<Seconds>,
}

/// What a fault means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The CA cannot be reached or cannot do its work: the same again, later.
    CaAway,
    /// Refused: another order, later.
    Refused,
    /// Failed here, by what is configured or what a file or command does: another try, later.
    Ours,
    /// One of the CA's nonces was refused again and again, as busy CAs do: the same at once.
    Nonce,
    /// The CA does not know the order.
    OrderLost,
    /// The CA does not know the account.
    AccountLost,
}

impl Fault {
    /// Something that failed on this side.
    pub(super) fn ours(text: impl Into<String>) -> Self {
        Self {
            blame: Blame::Ours,
            text: text.into(),
            retry_after: None,
        }
    }

    /// A file that cannot be read or written.
    pub(super) fn file(file: &Path, what: &str, error: &io::Error) -> Self {
        Self::ours(format!("{} cannot be {what}: {error}", file.display()))
    }

    /// What the ACME client ended with.
    pub(super) fn of(error: &Error, retry_after: Option<Seconds>) -> Self {
        let (blame, text) = match error {
            Error::Api(problem) => (blame_of(problem), quote(problem)),
            Error::Timeout(_) => (
                Blame::CaAway,
                "the CA did not come to an end with the order in time".to_owned(),
            ),
            Error::Unsupported(_) | Error::Crypto | Error::KeyRejected => {
                (Blame::Ours, error.to_string())
            }
            other => (Blame::CaAway, other.to_string()),
        };
        Self {
            blame,
            text,
            retry_after,
        }
    }
}

fn blame_of(problem: &Problem) -> Blame {
    let kind = kind(problem.r#type.as_deref());
    match kind {
        "badNonce" => Blame::Nonce,
        "serverInternal" => Blame::CaAway,
        "accountDoesNotExist" => Blame::AccountLost,
        _ if kind != "rateLimited" && problem.status.is_some_and(|status| status >= 500) => {
            Blame::CaAway
        }
        _ => Blame::Refused,
    }
}

/// A problem document (RFC 7807, RFC 8555 section 6.7), whole: type, status, detail, subproblems with their names; then what
/// to do.
pub(super) fn quote(problem: &Problem) -> String {
    let mut text = String::new();
    line(
        &mut text,
        problem.r#type.as_deref(),
        problem.status,
        problem.detail.as_deref(),
    );
    for sub in &problem.subproblems {
        let whom = sub.identifier.as_ref().map(|name| name.authorized(false));
        text.push_str("; ");
        if let Some(whom) = &whom {
            text.push_str(&named(whom));
        }
        line(
            &mut text,
            sub.r#type.as_deref(),
            None,
            sub.detail.as_deref(),
        );
    }
    let kinds = (problem.subproblems.iter())
        .map(|sub| sub.r#type.as_deref())
        .chain([problem.r#type.as_deref()]);
    if let Some(advice) = kinds.into_iter().find_map(|kind_of| advice(kind(kind_of))) {
        let _ = write!(text, " — {advice}");
    }
    text
}

fn named(whom: &AuthorizedIdentifier<'_>) -> String {
    format!("for {whom}: ")
}

fn line(text: &mut String, r#type: Option<&str>, status: Option<u16>, detail: Option<&str>) {
    text.push_str(r#type.unwrap_or("a problem without a type"));
    if let Some(status) = status {
        // Writing to a String does not fail.
        let _ = write!(text, " ({status})");
    }
    if let Some(detail) = detail {
        // A CA's words end up in logs and on terminals.
        let detail: String = detail.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(text, ": {detail}");
    }
}

fn kind(r#type: Option<&str>) -> &str {
    let text = r#type.unwrap_or_default();
    text.strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or(text)
}

/// What a person can do about a problem, by its type (RFC 8555 section 6.7).
fn advice(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "connection" => {
            "the CA could not connect: the name's A and AAAA records must lead to this machine, and port 80 (http-01) or 443 \
             (tls-alpn-01) must be open to the world"
        }
        "dns" => "look at the name's DNS records: the CA found no answer in them that it can use",
        "unauthorized" | "incorrectResponse" => {
            "the CA was answered by something else: the name's records, a proxy or CDN in front, or another server on the port"
        }
        "tls" => {
            "the CA's handshake on port 443 failed: whatever ends TLS in front of this server must pass it on untouched"
        }
        "caa" => "a CAA record of the domain names other CAs: add one for this CA",
        "rateLimited" => {
            "this is the CA's own limit; nothing helps but waiting, and no certificate can be had sooner here"
        }
        "rejectedIdentifier" => {
            "this CA does not issue for this name: look for a slip in the binding's hostname"
        }
        "externalAccountRequired" => {
            "this CA wants an account made with it beforehand: set `eab` in [acme]"
        }
        "userActionRequired" => {
            "the CA's terms have changed: read them where the message says, and agree"
        }
        "invalidContact" | "unsupportedContact" => "look at `contact` in [acme]",
        "badCSR" | "badPublicKey" => "look at `key_type` in [acme]",
        "invalidProfile" => "look at `profile` in [acme]",
        "accountDoesNotExist" => {
            "the CA no longer knows the account; a new one is made with the next try"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_problem_is_quoted_whole_with_its_names_and_what_to_do() {
        let problem = problem(
            r#"{"type":"urn:ietf:params:acme:error:malformed","status":403,"detail":"Some names were\nrejected",
                "subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"CAA record for a.test prevents issuance",
                "identifier":{"type":"dns","value":"a.test"}}]}"#,
        );
        assert_eq!(
            quote(&problem),
            "urn:ietf:params:acme:error:malformed (403): Some names wererejected; for a.test: \
             urn:ietf:params:acme:error:caa: CAA record for a.test prevents issuance — a CAA record of the domain names other \
             CAs: add one for this CA"
        );
    }

    #[test]
    fn trouble_of_the_ca_is_told_from_what_it_refuses() {
        let blame = |json: &str| blame_of(&problem(json));
        let of = |kind: &str, status: u16| {
            blame(&format!(
                r#"{{"type":"urn:ietf:params:acme:error:{kind}","status":{status}}}"#
            ))
        };
        assert_eq!(of("badNonce", 400), Blame::Nonce);
        assert_eq!(of("serverInternal", 500), Blame::CaAway);
        assert_eq!(blame(r#"{"status":503}"#), Blame::CaAway);
        assert_eq!(of("rateLimited", 429), Blame::Refused);
        assert_eq!(of("rateLimited", 503), Blame::Refused);
        assert_eq!(of("unauthorized", 403), Blame::Refused);
        assert_eq!(of("accountDoesNotExist", 400), Blame::AccountLost);
    }
}
