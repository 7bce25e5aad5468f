//! The dashboard: one page, which is in the binary, and asks the API for all that it shows. What it is made of holds nothing of
//! this server, and is sent to whoever asks; what it shows is asked for as everything else is.
//!
//! `vendor/` has what is not ours: uPlot 1.6.32, which draws the charts, with its licence.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::api::with_content;
use super::sessions::{Refused, SESSION_LIFE};

/// A path, its media type, and what lies there.
type Asset = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const LOGIN: &str = include_str!("login.html");

const ASSETS: [Asset; 12] = [
    ("/", HTML, include_str!("index.html")),
    ("/dashboard/page.css", CSS, include_str!("page.css")),
    ("/dashboard/page.js", SCRIPT, include_str!("page.js")),
    ("/dashboard/charts.js", SCRIPT, include_str!("charts.js")),
    ("/dashboard/tables.js", SCRIPT, include_str!("tables.js")),
    ("/dashboard/explain.js", SCRIPT, include_str!("explain.js")),
    ("/dashboard/words.js", SCRIPT, include_str!("words.js")),
    ("/dashboard/login.js", SCRIPT, include_str!("login.js")),
    (
        "/dashboard/icon.svg",
        "image/svg+xml",
        include_str!("icon.svg"),
    ),
    (
        "/dashboard/uplot.js",
        SCRIPT,
        include_str!("vendor/uplot.js"),
    ),
    (
        "/dashboard/uplot.css",
        CSS,
        include_str!("vendor/uplot.css"),
    ),
    (
        "/dashboard/uplot-LICENSE",
        "text/plain; charset=utf-8",
        include_str!("vendor/uplot-LICENSE"),
    ),
];

/// Where a browser logs in. A code is written behind it, as a fragment, which no log sees.
pub const LOGIN_PATH: &str = "/login";
/// Where it logs out.
pub(super) const LOGOUT_PATH: &str = "/logout";

/// What lies at a path, if it is the dashboard's.
pub(super) fn asset(path: &str) -> Option<Response<Full<Bytes>>> {
    if path == LOGIN_PATH {
        return Some(login(StatusCode::OK, ""));
    }
    let (_, kind, text) = ASSETS.iter().find(|(known, ..)| *known == path)?;
    Some(with_content(StatusCode::OK, kind, *text))
}

/// Whether a path is a page, that links may lead to.
pub(super) fn is_page(path: &str) -> bool {
    path == "/" || path == LOGIN_PATH
}

fn login(status: StatusCode, said: &'static str) -> Response<Full<Bytes>> {
    with_content(status, HTML, LOGIN.replace("<!-- said -->", said))
}

/// What somebody is told who could not log in.
pub(super) fn not_logged_in(why: Refused) -> Response<Full<Bytes>> {
    match why {
        Refused::Wrong => login(
            StatusCode::FORBIDDEN,
            "That is not the token, or the link has been used or is older than a minute.",
        ),
        Refused::TooMany(wait) => {
            let said = "There were too many wrong attempts. Wait a few seconds, and try again.";
            let mut response = login(StatusCode::TOO_MANY_REQUESTS, said);
            let seconds = HeaderValue::from(wait.as_secs() + 1);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
        Refused::NoRandomness => login(
            StatusCode::SERVICE_UNAVAILABLE,
            "The system has no random bytes: nobody can log in.",
        ),
    }
}

/// Sends a browser that has logged in to the page, with its session, or one that has logged out to where it can log in again.
pub(super) fn go(cookie: &str, session: Option<&str>) -> Response<Full<Bytes>> {
    let (to, value, life) = match session {
        Some(session) => ("/", session, SESSION_LIFE.as_secs()),
        None => (LOGIN_PATH, "", 0),
    };
    let mut response = with_content(StatusCode::SEE_OTHER, HTML, "");
    let fields = response.headers_mut();
    fields.insert(LOCATION, HeaderValue::from_static(to));
    // Without Domain it is this host's alone. `Secure` would keep it from browsers that take no loopback address for secure.
    let cookie = format!("{cookie}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        fields.insert(SET_COOKIE, cookie);
    }
    response
}

/// What every answer says to a browser: that nothing of it is to be kept, framed, guessed at, or mixed with anything else.
pub(super) fn harden(fields: &mut HeaderMap) {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer` browsers say `Origin: null`, which tells us nothing.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
}

/// Scripts and styles are files of ours, and no script makes markup of a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
