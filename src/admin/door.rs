//! What is asked of who asks, beside what the system says of him: nothing at a unix socket, at a loopback address the token, or a
//! session that was had for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{LOCATION, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::access::{self, No, Peer};
use super::sessions::{CODE_LIFE, Sessions, Shown};
use super::{Declined, Form, Told, api, dashboard, query};

/// What stands between who asks and his answer.
pub(super) enum Door {
    /// Nothing: not everybody can reach the file.
    File,
    /// The token of a loopback address.
    Token(Box<Guarded>),
    /// Nothing, and not everything is answered.
    Open,
}

/// A loopback address for who has its token.
pub(super) struct Guarded {
    token: zeroize::Zeroizing<String>,
    sessions: Sessions,
    /// The name of its cookie. Browsers send cookies to every port of a host: two servers would log each other out.
    cookie: String,
}

impl Door {
    /// Of a loopback address with this port.
    pub(super) fn guarded(token: zeroize::Zeroizing<String>, port: u16) -> Self {
        Self::Token(Box::new(Guarded {
            token,
            sessions: Sessions::default(),
            cookie: format!("portunus-{port}"),
        }))
    }

    /// Who asks, where the system does not say.
    pub(super) fn peer(&self, from: SocketAddr) -> Peer {
        match self {
            Self::Open => Peer::Anybody,
            Self::File | Self::Token(_) => Peer::Address(from),
        }
    }

    /// Whether it is he who asks, rather than a page that he looks at.
    pub(super) fn is_fair<T>(&self, request: &Request<T>) -> Result<(), No> {
        match self {
            Self::File | Self::Token(_) => access::same_origin(request),
            Self::Open => access::from_this_machine(request),
        }
    }

    /// Lets in who may ask; with his session, if he comes by one.
    pub(super) fn let_in<'a>(&self, fields: &'a HeaderMap) -> Result<Option<&'a str>, No> {
        let Self::Token(guarded) = self else {
            return Ok(None);
        };
        if access::has_token(fields, &guarded.token) {
            return Ok(None);
        }
        let mut shown = access::cookies(fields, &guarded.cookie);
        let session = shown.find(|session| guarded.sessions.has(Instant::now(), session));
        session.map(Some).ok_or(access::NO_TOKEN)
    }

    /// Whether who was let in with this session still is.
    pub(super) fn still_lets_in(&self, session: Option<&str>) -> bool {
        match (self, session) {
            (Self::Token(guarded), Some(session)) => guarded.sessions.has(Instant::now(), session),
            _ => true,
        }
    }

    /// A browser shows the token or a code, and gets a session for it.
    pub(super) async fn log_in(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Self::Token(guarded) = self else {
            return go_to_page();
        };
        // Every browser says it, and nobody else has a use for a session.
        if !request.headers().contains_key(ORIGIN) {
            let why = "a session is for browsers, which say Origin; send the token as \"Authorization: Bearer …\"";
            return api::error(StatusCode::FORBIDDEN, why);
        }
        let content = Limited::new(request.into_body(), FORM_BYTES_MAX).collect();
        let Ok(Ok(form)) = tokio::time::timeout(FORM_WAIT, content).await else {
            let why = "the form is too long, or did not come";
            return api::error(StatusCode::BAD_REQUEST, why);
        };
        let form = zeroize::Zeroizing::new(form.to_bytes().to_vec());
        let form = String::from_utf8_lossy(&form);
        let mut fields = query::pairs(&form);
        let found = fields.find(|(name, _)| name == "token" || name == "code");
        let (name, value) = found.unwrap_or_default();
        let shown = match &*name {
            "code" => Shown::Code(value.trim()),
            _ => Shown::Token(value.trim()),
        };
        let sessions = &guarded.sessions;
        match sessions.log_in(Instant::now(), shown, &guarded.token) {
            Ok(session) => {
                tracing::info!(
                    by = &*name,
                    "an administrator has logged in at the dashboard"
                );
                dashboard::go(&guarded.cookie, Some(&session))
            }
            Err(why) => {
                tracing::warn!(?why, "somebody could not log in at the dashboard");
                dashboard::not_logged_in(why)
            }
        }
    }

    /// Ends a session.
    pub(super) fn log_out(&self, session: Option<&str>) -> Response<Full<Bytes>> {
        match (self, session) {
            (Self::Token(guarded), Some(session)) => {
                guarded.sessions.log_out(session);
                dashboard::go(&guarded.cookie, None)
            }
            _ => go_to_page(),
        }
    }

    /// A code by which a browser may log in, for who has no session himself.
    pub(super) fn code(&self, session: Option<&str>, form: Form) -> Result<Told, Declined> {
        let Self::Token(guarded) = self else {
            let why = "no login is needed at a unix socket: who may use it may ask";
            return Err(Declined(why.into()));
        };
        if session.is_some() {
            // Else a session would never end.
            return Err(Declined("codes are for who has the token".into()));
        }
        let code = guarded.sessions.make_code(Instant::now());
        let code = code.ok_or_else(|| Declined("the system has no random bytes".into()))?;
        Ok(Told::of(
            form,
            || json!({ "code": *code, "valid_seconds": CODE_LIFE.as_secs() }),
            || format!("{}\n", *code),
        ))
    }
}

/// Where no login is needed.
fn go_to_page() -> Response<Full<Bytes>> {
    let mut response = api::error(StatusCode::SEE_OTHER, "no login is needed here");
    let fields = response.headers_mut();
    fields.insert(LOCATION, HeaderValue::from_static("/"));
    response
}

/// A token and its name.
const FORM_BYTES_MAX: usize = 4096;
/// It is sent with its head.
const FORM_WAIT: Duration = Duration::from_secs(10);
