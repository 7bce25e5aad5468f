//! Talking to the CA: one connection pool an order, with bounds on time and size, and errors that say what happened.

use std::future::Future;
use std::io::BufReader;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient,
    NewAccount,
};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use super::fault::{Blame, Fault};
use super::ledger::Seconds;
use super::store::{self, Store};
use super::{base64url, now};
use crate::config::Acme;
use crate::model::causes;

/// The last word of the CA on when to come back; shared with the client that hears it.
#[derive(Clone, Debug, Default)]
pub(super) struct RetryAfter(Arc<Mutex<Option<Seconds>>>);

impl RetryAfter {
    /// What the client ended with, with the last word of the CA on when to come back.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        Fault::of(
            error,
            *self.0.lock().unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn heard(&self, at: Option<Seconds>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// The account at the CA, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// The account at the CA: the one that is kept, else a new one. `retry_after` hears what its requests are told.
pub(super) async fn account(
    acme: &Acme,
    store: &Store,
    retry_after: &RetryAfter,
) -> Result<Account, Fault> {
    let fault = |error: Error| retry_after.fault(&error);
    let client = || Ok::<_, Fault>(Box::new(Http::new(acme, retry_after.clone())?));
    let builder = Account::builder_with_http(client()?);
    let kept = store
        .account()
        .map_err(|error| Fault::file(store.folder(), "read", &error))?;
    let contact: Vec<&str> = acme.contact.iter().map(String::as_str).collect();
    if let Some(json) = kept {
        let kept: Kept = serde_json::from_str(&json).map_err(|error| {
            let file = store.folder().join("account.json");
            Fault::ours(format!(
                "{} cannot be read: {error}; move it away, and a new account is made",
                file.display()
            ))
        })?;
        let account = builder
            .from_credentials(kept.credentials)
            .await
            .map_err(fault)?;
        if kept.contact != acme.contact {
            account.update_contacts(&contact).await.map_err(fault)?;
            // The credentials are not to be had from the account again.
            let kept: Kept =
                serde_json::from_str(&json).map_err(|error| Fault::ours(error.to_string()))?;
            keep(store, acme, kept.credentials)?;
        }
        return Ok(account);
    }
    let external = external_account(acme)?;
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder
        .create(&wanted, acme.directory.clone(), external.as_ref())
        .await
        .map_err(fault)?;
    keep(store, acme, credentials)?;
    tracing::info!(
        ca = acme.directory,
        account = account.id(),
        "made an account with the CA"
    );
    Ok(account)
}

fn keep(store: &Store, acme: &Acme, credentials: AccountCredentials) -> Result<(), Fault> {
    let kept = Kept {
        contact: acme.contact.clone(),
        credentials,
    };
    let json =
        serde_json::to_string_pretty(&kept).map_err(|error| Fault::ours(error.to_string()))?;
    let written = store.save_account(&json);
    written.map_err(|error| Fault::file(&store.folder().join("account.json"), "written", &error))
}

fn external_account(acme: &Acme) -> Result<Option<ExternalAccountKey>, Fault> {
    let Some(eab) = &acme.eab else {
        return Ok(None);
    };
    let text = store::read(&eab.key_file)
        .map_err(|error| Fault::file(&eab.key_file, "read", &error))?
        .ok_or_else(|| Fault::ours(format!("{} does not exist", eab.key_file.display())))?;
    let key = base64url::decode(text.trim()).ok_or_else(|| {
        Fault::ours(format!(
            "{} holds no HMAC key: one line of base64url is expected, as the CA gives it",
            eab.key_file.display()
        ))
    })?;
    Ok(Some(ExternalAccountKey::new(eab.key_id.clone(), &key)))
}

/// The HTTP client that the ACME client speaks through.
struct Http {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_after: RetryAfter,
}

impl Http {
    fn new(acme: &Acme, retry_after: RetryAfter) -> Result<Self, Fault> {
        let roots = match &acme.ca {
            Some(file) => bundle(file)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::ours(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            retry_after,
        })
    }
}

fn bundle(file: &Path) -> Result<RootCertStore, Fault> {
    let failed = |error| Fault::file(file, "read", &error);
    let mut roots = RootCertStore::empty();
    let mut pem = BufReader::new(std::fs::File::open(file).map_err(failed)?);
    for certificate in rustls_pemfile::certs(&mut pem) {
        let added = roots.add(certificate.map_err(failed)?);
        added.map_err(|error| Fault::ours(format!("{}: {error}", file.display())))?;
    }
    if roots.is_empty() {
        let text = format!("{} holds no certificate; PEM is expected", file.display());
        return Err(Fault::ours(text));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Fault::ours(
            "this system has no root certificates to know the CA by: install ca-certificates, or set `ca` in [acme]",
        ));
    }
    Ok(roots)
}

impl HttpClient for Http {
    fn request(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        // RFC 8555 section 6.1: clients say who they are.
        let agent = HeaderValue::from_static(concat!("portunus/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let whence = request.uri().clone();
        let sent = self.client.request(request);
        let retry_after = self.retry_after.clone();
        Box::pin(async move {
            let failed = |what: String| Error::Other(format!("{whence}: {what}").into());
            let exchange = async {
                let response = sent.await.map_err(|error| causes(&error))?;
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, ANSWER_MAX).collect().await;
                Ok((parts, body.map_err(|error| error.to_string())?.to_bytes()))
            };
            let answered = tokio::time::timeout(ANSWER_WAIT, exchange).await;
            let (parts, mut body) = answered
                .map_err(|_| failed(format!("no answer within {} s", ANSWER_WAIT.as_secs())))?
                .map_err(|what: String| failed(what))?;
            retry_after.heard(wait_of(&parts.headers));
            if parts.status.is_client_error() || parts.status.is_server_error() {
                body = problem(parts.status, body, &whence.to_string());
            }
            Ok(BytesResponse::from(Response::from_parts(
                parts,
                Full::new(body),
            )))
        })
    }
}

/// Retry-After: seconds or a date (RFC 9110 section 10.2.3).
fn wait_of(headers: &HeaderMap) -> Option<Seconds> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(now().saturating_add(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
        }
    }
}

/// A refusal that is no problem document, as proxies in front of CAs send, is made one that says what came.
fn problem(status: StatusCode, body: Bytes, whence: &str) -> Bytes {
    if serde_json::from_slice::<instant_acme::Problem>(&body).is_ok() {
        return body;
    }
    let seen: String = String::from_utf8_lossy(&body).chars().take(200).collect();
    let detail = format!("{whence} answered {status}, and not in the words of ACME: {seen:?}");
    serde_json::json!({ "type": "about:blank", "status": status.as_u16(), "detail": detail })
        .to_string()
        .into()
}

impl Fault {
    /// Puts the account aside where the CA no longer knows it.
    pub(super) fn losing_account(self, store: &Store) -> Self {
        if self.blame != Blame::AccountLost {
            return self;
        }
        // Where it cannot be moved, the next try says the same.
        let _ = store.lose_account();
        Self {
            blame: Blame::Refused,
            ..self
        }
    }
}

/// A chain of certificates is a few KiB, a directory less.
const ANSWER_MAX: usize = 1 << 20;
const ANSWER_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let wait = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            wait_of(&headers)
        };
        let soon = wait("120").unwrap();
        assert!((now() + 100..=now() + 120).contains(&soon));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(wait("99999999999999999999"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(wait_of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_refusal_that_is_no_problem_document_is_made_one_that_says_what_came() {
        let said = |status, body: &'static str| {
            let body = problem(status, Bytes::from(body), "https://ca.test/order");
            let problem = serde_json::from_slice(&body).unwrap();
            let fault = Fault::of(&Error::Api(problem), None);
            (fault.blame, fault.text)
        };
        let (blame, text) = said(StatusCode::BAD_GATEWAY, "<html>\nupstream");
        assert_eq!(blame, Blame::CaAway);
        assert!(
            text.contains("https://ca.test/order answered 502 Bad Gateway"),
            "{text}"
        );
        assert!(text.contains("<html>") && !text.contains('\n'), "{text}");
        let (blame, text) = said(
            StatusCode::TOO_MANY_REQUESTS,
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}"#,
        );
        assert_eq!(blame, Blame::Refused);
        assert!(text.starts_with("urn:ietf:params:acme:error:rateLimited (429): too many — "));
    }
}
