//! What a binding asks of a handshake, as it is explained.

use super::words::{duration, protocols};
use super::{Step, steps::step};
use crate::config::{Binding, BindingTls, group_name, spoken_versions, suite_name};

/// What a handshake with a binding agrees on.
pub(super) fn steps_of(binding: &Binding) -> Vec<Step> {
    let Some(tls) = &binding.tls else {
        return Vec::new();
    };
    let line = Some(binding.place.line);
    let suites = tls.cipher_suites.iter().map(|suite| suite_name(*suite));
    let groups = tls.groups.iter().map(|group| group_name(*group));
    let versions = spoken_versions(tls).map(|version| format!("TLS {version}"));
    vec![
        step(
            "protocols",
            Some(protocols(binding)),
            "the binding offers them by ALPN, in this order".into(),
            line,
        ),
        step(
            "versions",
            Some(versions.collect::<Vec<_>>().join(", ")),
            format!(
                "min_version is {}, and there are cipher suites for them",
                tls.min_version
            ),
            line,
        ),
        step(
            "suites",
            Some(suites.collect::<Vec<_>>().join(", ")),
            "the first of these that the client has is agreed on".into(),
            line,
        ),
        step(
            "groups",
            Some(groups.collect::<Vec<_>>().join(", ")),
            "keys are agreed in the first of the client's list that is among these".into(),
            line,
        ),
        sessions(tls, line),
    ]
}

fn sessions(tls: &BindingTls, line: Option<usize>) -> Step {
    if tls.ticket_rotation.is_zero() {
        let why = "ticket_rotation is 0s: every handshake is a full one";
        return step("sessions", None, why.into(), line);
    }
    let lifetime = duration(tls.ticket_rotation);
    let (chosen, why) = match tls.ticket_keys.len() {
        0 => (
            "tickets under keys of our own".to_owned(),
            format!(
                "a client resumes its session in this binding alone, within {lifetime}, while this process runs"
            ),
        ),
        files => (
            format!(
                "tickets under the keys of {files} file{}",
                if files == 1 { "" } else { "s" }
            ),
            format!(
                "a client resumes its session within {lifetime}, in this binding alone, on every machine that has a key of \
                 ticket_keys"
            ),
        ),
    };
    step("sessions", Some(chosen), why, line)
}
