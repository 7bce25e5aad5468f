//! The last handshakes that failed, those alike together: why a client cannot connect is mostly why it could not a minute ago.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Serving;
use crate::admin::{Form, Told};
use crate::model::{Protocol, Reason, plain};
use crate::report::metrics::PastRefusal;

/// Failures for the same reason, under the same name, of the same client.
struct Group {
    count: u64,
    first: SystemTime,
    last: PastRefusal,
}

pub(super) fn told(serving: &Serving, form: Form) -> Told {
    let groups = groups(serving.report.metrics().handshake_failures());
    let json = || json!({ "failures": groups.iter().map(json_of).collect::<Vec<_>>() });
    Told::of(form, json, || text(&groups))
}

fn text(groups: &[Group]) -> String {
    let mut text = match groups.is_empty() {
        true => "no handshake has failed\n".to_owned(),
        false => format!(
            "Failed handshakes, {} kinds, the latest first:\n",
            groups.len()
        ),
    };
    for group in groups {
        write_one(&mut text, group);
    }
    text
}

/// `failures`: the latest first.
fn groups(failures: Vec<PastRefusal>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(Reason, String, IpAddr), usize> = HashMap::new();
    for failure in failures {
        let key = (failure.reason, failure.sni.clone(), failure.client);
        match places.get(&key) {
            Some(&place) => {
                groups[place].count += 1;
                groups[place].first = failure.time;
            }
            None => {
                places.insert(key, groups.len());
                groups.push(Group {
                    count: 1,
                    first: failure.time,
                    last: failure,
                });
            }
        }
    }
    groups
}

fn write_one(text: &mut String, group: &Group) {
    let last = &group.last;
    let time = humantime::format_rfc3339_seconds;
    // Writing to memory does not fail.
    let _ = write!(
        text,
        "{}\n    SNI: {}\n    Client: {}\n    Over: {}\n    Count: {}\n    Last: {}\n    First: {}\n",
        last.reason,
        plain(last.server_name().unwrap_or("(none)")),
        last.client,
        over(last),
        group.count,
        time(last.time),
        time(group.first),
    );
    if !last.ja4.is_empty() {
        let _ = writeln!(text, "    JA4: {}", last.ja4);
    }
    let _ = writeln!(text, "    Detail: {}", plain(&last.detail));
}

fn json_of(group: &Group) -> Value {
    let last = &group.last;
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    json!({
        "reason": last.reason.as_str(),
        "sni": last.server_name(),
        "client": last.client,
        "transport": over(last),
        "count": group.count,
        "first": time(group.first),
        "last": time(last.time),
        "ja4": Some(&last.ja4).filter(|ja4| !ja4.is_empty()),
        "detail": last.detail,
    })
}

fn over(failure: &PastRefusal) -> &'static str {
    if failure.protocol == Protocol::Quic {
        "quic"
    } else {
        "tcp"
    }
}
