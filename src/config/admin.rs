//! `server.admin` and `server.metrics`: where an administrator asks, and where metrics are read.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::wrong::{self, Wrong};
use super::{Source, defaults};
use toml::de::DeValue;

/// Where an administrator asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// At a unix socket, which its file's owner and group may use.
    Unix(PathBuf),
    /// At a loopback address, with a token.
    Loopback(SocketAddr),
}

/// `unix:/path.sock`, a loopback address with its port, or `off`.
pub(super) fn read(value: &DeValue<'_>, source: &Source) -> Result<Admin, Wrong> {
    parse(wrong::text("admin", value)?, source)
}

pub(super) fn default(source: &Source) -> Admin {
    let path = defaults::ADMIN.trim_start_matches("unix:");
    Admin::Unix(source.resolve(path))
}

/// A loopback address with its port, or `off`: what is served is nothing for a network, and asks nobody who he is.
pub(super) fn metrics(value: &DeValue<'_>) -> Result<Option<SocketAddr>, Wrong> {
    let text = wrong::text("metrics", value)?;
    if text == "off" {
        return Ok(None);
    }
    let wrong = match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => return Ok(Some(address)),
        Ok(address) => format!("{} can be reached from other machines", address.ip()),
        Err(_) => format!("`metrics` cannot be {text:?}"),
    };
    let wrong = Wrong::new("bad-metrics", wrong);
    Err(wrong.help("write a loopback address as in \"127.0.0.1:9181\", or \"off\"; a binding with a proxy makes it public, with what guards that needs"))
}

fn parse(text: &str, source: &Source) -> Result<Admin, Wrong> {
    if text == "off" {
        return Ok(Admin::Off);
    }
    let forms =
        "write \"unix:/path.sock\", a loopback address as in \"127.0.0.1:9180\", or \"off\"";
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() || path.ends_with('/') {
            let wrong = Wrong::new("bad-admin", "the admin socket has no name");
            return Err(wrong.help(forms));
        }
        return Ok(Admin::Unix(source.resolve(path)));
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        let wrong = Wrong::new("bad-admin", format!("`admin` cannot be {text:?}"));
        return Err(wrong.help(forms));
    };
    // Whoever may ask may stop the server: that is nothing to be offered to a network.
    if !address.ip().is_loopback() {
        let message = format!("{} can be reached from other machines", address.ip());
        let wrong = Wrong::new("bad-admin", message);
        return Err(wrong.help(
            "use a loopback address, and ssh (`ssh -L 9180:127.0.0.1:9180 host`) from elsewhere",
        ));
    }
    Ok(Admin::Loopback(address))
}

/// As the configuration writes it.
impl std::fmt::Display for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}
