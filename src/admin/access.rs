//! Who may ask, and whether it is he who asks rather than a page that he looks at.

use std::ffi::CString;
use std::fmt;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Method, StatusCode};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

use super::dashboard::is_page;
use super::sessions::are_equal;

/// Who asks, for the log.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// Somebody on this machine, by the system's own word.
    Local {
        user: u32,
        group: u32,
        process: Option<i32>,
    },
    /// Somebody with the token.
    Token,
    /// Somebody who has logged in with it, or with a code.
    Session,
    /// Somebody on this machine, at the metrics address.
    Anybody,
}

impl Peer {
    pub(super) fn of(credentials: UCred) -> Self {
        Self::Local {
            user: credentials.uid(),
            group: credentials.gid(),
            process: credentials.pid(),
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
                let found = User::from_uid(Uid::from_raw(*user)).ok().flatten();
                match found {
                    Some(user) => f.write_str(&user.name)?,
                    None => write!(f, "uid {user}")?,
                }
                match process {
                    Some(process) => write!(f, " (pid {process})"),
                    None => Ok(()),
                }
            }
            Self::Token => f.write_str("who has the token"),
            Self::Session => f.write_str("who is logged in at the dashboard"),
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
pub(super) fn same_origin(method: &Method, path: &str, fields: &HeaderMap) -> Result<(), No> {
    let host = loopback_host(fields)?;
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
        _ => is_page(path) && is_visit(method, fields),
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

/// A cookie.
pub(super) fn cookie<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = fields.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    values.next()
}

/// Whether a request comes from where it seems to come from, rather than from a page in a browser here.
pub(super) fn from_this_machine(fields: &HeaderMap) -> Result<(), No> {
    loopback_host(fields)?;
    let site = fields.get("sec-fetch-site").map(|site| site.as_bytes());
    if fields.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none") {
        return Err(FROM_ANOTHER_PAGE);
    }
    Ok(())
}

fn loopback_host(fields: &HeaderMap) -> Result<&str, No> {
    let host = fields.get(HOST).and_then(|host| host.to_str().ok());
    host.filter(|host| is_loopback(host)).ok_or((
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
