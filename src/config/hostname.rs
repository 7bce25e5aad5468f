//! A binding's `hostname`: the pattern, or what is wrong with it in words that fit how people write it.

use std::net::IpAddr;

use super::wrong::Wrong;
use crate::model::HostPattern;

pub(super) fn read(text: &str) -> Result<HostPattern, Wrong> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if bare.parse::<IpAddr>().is_err()
        && let Some(wrong) = slip(text)
    {
        return Err(wrong);
    }
    let below = text.strip_prefix("*.").unwrap_or(text);
    if below.contains('*') && text != "*" {
        return Err(bad(text).help("a wildcard is the whole first label, as in \"*.example.com\""));
    }
    HostPattern::parse(text).map_err(|error| bad(text).help(error.to_string()))
}

fn bad(text: &str) -> Wrong {
    Wrong::new("bad-hostname", format!("{text:?} is no host name"))
}

/// What people write in place of a host name.
fn slip(text: &str) -> Option<Wrong> {
    if !text.is_ascii() {
        return Some(bad(text).help(
            "write its ASCII form, which begins with xn-- where a label is not ASCII (punycode, as DNS and browsers send it)",
        ));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return Some(bad(text).help(format!("write the name alone: \"{host}\"")));
    }
    if let Some((host, _)) = text.split_once('/') {
        return Some(bad(text).help(format!(
            "write \"{host}\"; the path goes to a [[site.route]]"
        )));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => Some(bad(text).help(format!(
            "write \"{host}\", and `port = {port}` on a line of its own"
        ))),
        _ => None,
    }
}
