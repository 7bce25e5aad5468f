//! Asking a responder: one request over plain http (RFC 6960 appendix A), within bounds of time and size.
//!
//! POST, not GET: it needs no escaping, which middle boxes undo, and goes past caches to the responder. No redirect is
//! followed: nothing here is to be sent where somebody on the way says.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::subject::Responder;

/// How long a responder has for all of it.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A response has about 500 bytes, and 2000 with its signer's certificate.
pub const RESPONSE_BYTES_MAX: usize = 64 << 10;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// It took too long.
    #[error("no response within {} s", FETCH_TIMEOUT.as_secs())]
    Timeout,
    /// There is no connection.
    #[error("cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// HTTP went wrong.
    #[error("the exchange broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The address cannot be asked.
    #[error("the address cannot be asked: {0}")]
    Address(#[from] http::Error),
    /// Another status than 200.
    #[error("the status is {0}")]
    Status(StatusCode),
    /// Sends us elsewhere.
    #[error("the status is {0}, and redirects are not followed")]
    Redirect(StatusCode),
    /// It is no OCSP response.
    #[error("the content is {0:?} instead of \"application/ocsp-response\"")]
    ContentType(String),
    /// It is too long.
    #[error("the content is longer than {RESPONSE_BYTES_MAX} bytes")]
    TooLong,
    /// Its body ended wrongly.
    #[error("the content broke off: {0}")]
    Body(String),
}

/// Asks.
pub(super) async fn fetch(responder: &Responder, request: Vec<u8>) -> Result<Bytes, FetchError> {
    tokio::time::timeout(FETCH_TIMEOUT, ask(responder, request))
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

async fn ask(responder: &Responder, request: Vec<u8>) -> Result<Bytes, FetchError> {
    let stream = TcpStream::connect((&*responder.host, responder.port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let request = as_http(responder, request)?;
    // Both in one task: the connection ends with the exchange, however that ends.
    let exchange = async {
        let response = sender.send_request(request).await?;
        read(response).await
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

fn as_http(responder: &Responder, request: Vec<u8>) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri = &responder.uri;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Request::post(target)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/ocsp-request")
        .header("accept", RESPONSE_TYPE)
        .body(Full::from(request))
}

async fn read(response: http::Response<Incoming>) -> Result<Bytes, FetchError> {
    let (head, body) = response.into_parts();
    match head.status {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind.unwrap_or_default());
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(RESPONSE_TYPE) {
        return Err(FetchError::ContentType(kind.chars().take(100).collect()));
    }
    match Limited::new(body, RESPONSE_BYTES_MAX).collect().await {
        Ok(content) => Ok(content.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLong),
        Err(error) => Err(FetchError::Body(error.to_string())),
    }
}

const RESPONSE_TYPE: &str = "application/ocsp-response";

/// hyper's least is 8 KiB; no responder's head comes near.
const HEAD_BYTES_MAX: usize = 16 << 10;
