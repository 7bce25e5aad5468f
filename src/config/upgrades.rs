//! `upgrade` of a proxy: what its clients may leave HTTP for.

use super::reader::Table;
use super::wrong::Wrong;

/// The protocols that clients may leave HTTP for (RFC 9110 section 7.8), in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrades(Vec<String>);

impl Upgrades {
    /// What is taken when nothing is said. HAProxy and Caddy pass every upgrade on, nginx none that is not written out: what
    /// follows is none of HTTP's, past routes and limits. WebSocket is made for browsers and for being passed on.
    pub fn websocket_alone() -> Self {
        Self(vec!["websocket".to_owned()])
    }

    /// These, which are in small letters.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(protocols: [&str; N]) -> Self {
        Self(protocols.map(str::to_owned).into())
    }

    /// Whether `protocol` may be asked for. One that has its version behind it is meant with each of its versions.
    pub fn allow(&self, protocol: &str) -> bool {
        let name = protocol.split('/').next().unwrap_or_default();
        self.0.iter().any(|allowed| {
            [protocol, name]
                .iter()
                .any(|it| it.eq_ignore_ascii_case(allowed))
        })
    }
}

pub(super) fn read(table: &Table<'_>) -> Upgrades {
    let Some(listed) = table.strings("upgrade") else {
        return Upgrades::websocket_alone();
    };
    let mut protocols = Vec::with_capacity(listed.value.len());
    for protocol in listed.value {
        match checked(protocol.value) {
            Ok(checked) => protocols.push(checked),
            Err(wrong) => table.reader.wrong(&protocol.span, wrong),
        }
    }
    Upgrades(protocols)
}

fn checked(protocol: &str) -> Result<String, Wrong> {
    let lower = protocol.to_ascii_lowercase();
    let name = lower.split('/').next().unwrap_or_default();
    if is_http(name) {
        let message = format!("a client is not let past us by {protocol:?}");
        return Err(Wrong::new("upgrade-not-allowed", message).help(
            "remove it: what followed would be HTTP or TLS that bindings, routes and limits never see; clients that speak HTTP/2 and HTTP/3 need no upgrade",
        ));
    }
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if lower.split('/').count() > 2 || !lower.split('/').all(is_token) {
        let message = format!("{protocol:?} is no protocol that an Upgrade field could name");
        return Err(Wrong::new("bad-upgrade", message)
            .help("write each protocol by itself, as in [\"websocket\"]; [] allows none"));
    }
    Ok(lower)
}

/// Whether a protocol is a version of HTTP, or TLS that would hide one.
fn is_http(name: &str) -> bool {
    matches!(name, "http" | "h2c" | "h2" | "h3" | "tls")
}
