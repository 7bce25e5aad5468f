//! The audit log's line: a JSON object. The names are public interface.

use serde::Serialize;

use super::clock::Clock;
use super::json::{Text, write};
use crate::report::{Audited, AuditedBy};

pub(super) fn audited(clock: &Clock, entry: &Audited<'_>, line: &mut Vec<u8>) {
    let mut told = AuditLine {
        time: clock.rfc3339(),
        action: Text(entry.action),
        pool: entry.pool.map(Text),
        outcome: entry.outcome.as_str(),
        via: "",
        uid: None,
        user: None,
        gid: None,
        pid: None,
        command: None,
        client: None,
        authorised: None,
        signal: None,
        detail: entry.detail.map(Text),
    };
    match entry.by {
        AuditedBy::Process {
            uid,
            user,
            gid,
            pid,
            command,
        } => {
            told.via = "unix";
            (told.uid, told.gid, told.pid) = (Some(uid), Some(gid), pid);
            (told.user, told.command) = (user.map(Text), command.map(Text));
        }
        AuditedBy::Address { client, authorised } => {
            told.via = "tcp";
            told.client = Some(client.to_string());
            told.authorised = Some(authorised);
        }
        AuditedBy::Signal(signal) => {
            told.via = "signal";
            told.signal = Some(signal);
        }
    }
    write(&told, line);
}

#[derive(Serialize)]
struct AuditLine<'a> {
    time: &'a str,
    action: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<Text<'a>>,
    outcome: &'static str,
    via: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorised: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
}
