//! Who may ask, and whether it is he who asks rather than a page that he looks at.

use std::ffi::CString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

use super::Backend;
use super::dashboard::is_page;
use super::sessions::are_equal;
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
    /// Somebody at this address of this machine, who has logged in at the dashboard.
    Session(SocketAddr),
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
            Self::Address(_) | Self::Session(_) | Self::Anybody => None,
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
            Self::Session(client) => AuditedBy::Address {
                client: *client,
                authorised: "session",
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

    /// The same, once he has shown a session.
    pub(super) fn logged_in(&self) -> Self {
        match self {
            Self::Address(client) => Self::Session(*client),
            other => other.clone(),
        }
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
            Self::Address(client) | Self::Session(client) => client.fmt(f),
            Self::Anybody => f.write_str("who watches the server"),
        }
    }
}

/// Why a request is not answered.
pub(super) type No = (StatusCode, &'static str);

/// Whether a request was made by a program, or by a page that is our own. A browser on this machine can be made to send requests
/// here by any page: one that was told another name for the address (DNS rebinding) says that name in Host, and one that comes
/// from another page says so in Origin or Sec-Fetch-Site. What changes something must say in Origin that it comes from here,
/// where it comes from a browser.
pub(super) fn same_origin<T>(request: &Request<T>) -> Result<(), No> {
    let (method, uri, fields) = (request.method(), request.uri(), request.headers());
    let host = loopback_host(uri, fields)?;
    let origin = fields.get(ORIGIN);
    let is_ours = |origin: &http::HeaderValue| {
        let authority = origin.as_bytes().strip_prefix(b"http://");
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
    };
    let site = fields.get("sec-fetch-site").map(|site| site.as_bytes());
    let from_browser = site.is_some() || fields.contains_key(COOKIE);
    let fair = match (origin, site) {
        (Some(origin), _) if !is_ours(origin) => false,
        (None, _) if from_browser && *method != Method::GET && *method != Method::HEAD => false,
        (_, None | Some(b"none" | b"same-origin")) => true,
        // Somebody follows a link to the page, which itself holds nothing.
        _ => is_page(uri.path()) && is_visit(method, fields),
    };
    fair.then_some(()).ok_or(FROM_ANOTHER_PAGE)
}

/// Whether a browser shows the answer as a page of its own: then whoever led there does not see it.
fn is_visit(method: &Method, fields: &HeaderMap) -> bool {
    let says = |name, value: &str| fields.get(name).is_some_and(|it| it == value);
    *method == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

/// Whether a request has the token.
pub(super) fn has_token(fields: &HeaderMap, token: &str) -> bool {
    let given = fields.get(AUTHORIZATION).and_then(bearer).unwrap_or("");
    are_equal(given, token)
}

/// The values of a cookie. There may be several: browsers send what other ports of this host have set, too.
pub(super) fn cookies<'a>(fields: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let all = fields.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'));
    pairs.filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether a request comes from where it seems to come from, rather than from a page in a browser here.
pub(super) fn from_this_machine<T>(request: &Request<T>) -> Result<(), No> {
    let fields = request.headers();
    loopback_host(request.uri(), fields)?;
    let site = fields.get("sec-fetch-site").map(|site| site.as_bytes());
    if fields.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none") {
        return Err(FROM_ANOTHER_PAGE);
    }
    Ok(())
}

fn loopback_host<'a>(uri: &Uri, fields: &'a HeaderMap) -> Result<&'a str, No> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let host = host.filter(|host| hosts.next().is_none() && is_loopback(host));
    let target = uri.authority().map(|authority| authority.as_str());
    host.filter(|_| target.is_none_or(is_loopback)).ok_or((
        StatusCode::MISDIRECTED_REQUEST,
        "the Host of a request to this address must be a loopback address or localhost",
    ))
}

const FROM_ANOTHER_PAGE: No = (
    StatusCode::FORBIDDEN,
    "requests that another page makes are refused",
);

/// What somebody is told who has neither token nor session.
pub(super) const NO_TOKEN: No = (
    StatusCode::UNAUTHORIZED,
    "the token is missing or wrong; it lies in admin-token in server.state_dir, and is sent as \"Authorization: Bearer …\"; a \
     browser logs in at /login, and `portunus dashboard` prints a link for it",
);

fn bearer(value: &http::HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then_some(token)
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
