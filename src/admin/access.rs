//! Who may ask.

use std::ffi::CString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

use super::Backend;
use crate::report::{AuditOutcome, Audited, AuditedBy};

/// Who asks, for the log.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// Somebody on this machine, by the system's own word.
    Local {
        user: u32,
        group: u32,
        process: Option<i32>,
        /// What the process calls itself.
        command: Option<Box<str>>,
    },
    /// Somebody at this address of this machine, who has the token if he is answered.
    Address(SocketAddr),
    /// Somebody on this machine, at the metrics address.
    Anybody,
}

impl Peer {
    pub(super) fn of(credentials: UCred) -> Self {
        let process = credentials.pid();
        Self::Local {
            user: credentials.uid(),
            group: credentials.gid(),
            // Now: later the number may be another's.
            command: process.and_then(command_of),
            process,
        }
    }

    /// Writes down what he changed, or tried to.
    pub(super) fn audit(
        &self,
        backend: &dyn Backend,
        (action, pool): (&str, Option<&str>),
        outcome: AuditOutcome,
        detail: Option<&str>,
    ) {
        let name = match self {
            Self::Local { user, .. } => name_of(*user),
            Self::Address(_) | Self::Anybody => None,
        };
        let by = match self {
            Self::Local {
                user,
                group,
                process,
                command,
            } => AuditedBy::Process {
                uid: *user,
                user: name.as_deref(),
                gid: *group,
                pid: *process,
                command: command.as_deref(),
            },
            Self::Address(client) => AuditedBy::Address {
                client: *client,
                authorised: match outcome {
                    AuditOutcome::Refused => "nothing",
                    AuditOutcome::Done | AuditOutcome::Failed => "token",
                },
            },
            // He can change nothing, and what he tries is told in the server's own log.
            Self::Anybody => return,
        };
        backend.audited(&Audited {
            action,
            pool,
            by,
            outcome,
            detail,
        });
    }

    /// Root, the server's own user, and members of the server's own group. The file's mode says so as well; but modes get
    /// changed, and folders copied.
    pub(super) fn may_ask(&self) -> bool {
        let Self::Local { user, group, .. } = *self else {
            return true;
        };
        let own_group = Gid::effective();
        user == 0
            || user == Uid::effective().as_raw()
            || group == own_group.as_raw()
            || is_member(user, own_group)
    }
}

fn name_of(user: u32) -> Option<String> {
    let found = User::from_uid(Uid::from_raw(user)).ok().flatten()?;
    Some(found.name)
}

/// proc_pid_comm(5)
fn command_of(process: i32) -> Option<Box<str>> {
    let name = std::fs::read(format!("/proc/{process}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into())
}

fn is_member(user: u32, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(user)) else {
        return false;
    };
    let Ok(name) = CString::new(user.name) else {
        return false;
    };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { user, process, .. } => {
                match name_of(*user) {
                    Some(name) => f.write_str(&name)?,
                    None => write!(f, "uid {user}")?,
                }
                match process {
                    Some(process) => write!(f, " (pid {process})"),
                    None => Ok(()),
                }
            }
            Self::Address(client) => client.fmt(f),
            Self::Anybody => f.write_str("who watches the server"),
        }
    }
}

/// Whether a request over a loopback address may ask. A browser on this machine can be made to send requests there by any
/// page: one that was told another name for the address (DNS rebinding) says that name in Host, and one that comes from
/// another page says so in Origin or Sec-Fetch-Site; neither knows the token.
pub(super) fn over_loopback(
    uri: &Uri,
    fields: &HeaderMap,
    token: &str,
) -> Result<(), (StatusCode, &'static str)> {
    from_this_machine(uri, fields)?;
    let given = fields.get(AUTHORIZATION).and_then(bearer).unwrap_or(b"");
    // In constant time: how long it takes says nothing of where the first difference is.
    aws_lc_rs::constant_time::verify_slices_are_equal(given, token.as_bytes()).map_err(|_| {
        (
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong; it lies in admin-token in server.state_dir, and is sent as \"Authorization: Bearer …\"",
        )
    })
}

/// Whether a request comes from where it seems to come from, rather than from a page in a browser here.
pub(super) fn from_this_machine(
    uri: &Uri,
    fields: &HeaderMap,
) -> Result<(), (StatusCode, &'static str)> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let host = host.filter(|_| hosts.next().is_none());
    let target = uri.authority().map(|authority| authority.as_str());
    if !host.is_some_and(is_loopback) || !target.is_none_or(is_loopback) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "the Host of a request to this address must be a loopback address or localhost",
        ));
    }
    let site = fields.get("sec-fetch-site").map(|site| site.as_bytes());
    if fields.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none") {
        return Err((
            StatusCode::FORBIDDEN,
            "requests that another page makes are refused",
        ));
    }
    Ok(())
}

fn bearer(value: &http::HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether Host names this machine as nobody else can.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
