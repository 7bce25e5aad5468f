//! Asking a collector: one request at a time, over a connection that is kept, within bounds of time and size.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use super::collector::{Said, said};
use crate::certificate::{Trust, TrustFault};
use crate::config::{self, Secret, TrustSource};
use crate::model::causes;

/// Why nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A file of `[traces]` cannot be read.
    #[error("{key} of [traces]: {} cannot be read: {error}", file.display())]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What stands in a file is no field's value.
    #[error("headers of [traces]: the first line of {} is not visible ASCII", .0.display())]
    NoValue(PathBuf),
    /// There is nobody to know the collector by.
    #[error("[traces]: {}", told(.0))]
    Roots(TrustFault),
    /// TLS cannot be set up.
    #[error("[traces]: {0}")]
    Tls(#[from] rustls::Error),
    /// The system refused a thread.
    #[error("the exporter of [traces] cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

fn told(fault: &TrustFault) -> String {
    match fault {
        TrustFault::System(_) => {
            "this system has no root certificates to know the collector by: install \
                                  ca-certificates, or set `ca`"
                .to_owned()
        }
        TrustFault::File(why) => format!("`ca` cannot be used: {why}"),
    }
}

/// Whoever asks the collector.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: Uri,
    fields: HeaderMap,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Collector {
    /// Reads the files that it needs.
    pub(super) fn new(settings: &config::Traces) -> Result<Self, TracesError> {
        let roots = match settings.endpoint.scheme_str() {
            Some("https") => roots(settings.ca.as_deref())?,
            _ => RootCertStore::empty(),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            fields: fields(&settings.headers)?,
            client,
        })
    }

    /// Sends a request.
    pub(super) async fn send(&self, content: Bytes) -> Said {
        let later = |why: String| Said::Later { after: None, why };
        match tokio::time::timeout(ANSWER_WAIT, self.exchange(content)).await {
            Ok(Ok(said)) => said,
            Ok(Err(why)) => later(why),
            Err(_) => later(format!("no answer within {} s", ANSWER_WAIT.as_secs())),
        }
    }

    async fn exchange(&self, content: Bytes) -> Result<Said, String> {
        let mut request = Request::new(Full::new(content));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.fields.clone();
        let response = self.client.request(request).await;
        let (head, body) = response.map_err(|error| causes(&error))?.into_parts();
        // An answer that is too long or breaks off has said what matters in its head.
        let content = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let content = content.map_or_else(|_| Bytes::new(), |content| content.to_bytes());
        Ok(said(
            head.status,
            &head.headers,
            &content,
            SystemTime::now(),
        ))
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TracesError> {
    let source = match file {
        Some(file) => TrustSource::File(file.to_owned()),
        None => TrustSource::System,
    };
    Trust::load(&source)
        .into_roots()
        .map_err(TracesError::Roots)
}

/// The fields of every request.
fn fields(configured: &[(HeaderName, Secret)]) -> Result<HeaderMap, TracesError> {
    let mut fields = HeaderMap::new();
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    let agent = HeaderValue::from_static(concat!("portunus/", env!("CARGO_PKG_VERSION")));
    fields.insert(USER_AGENT, agent);
    for (name, secret) in configured {
        let value = match secret {
            Secret::Value(value) => value.clone(),
            Secret::File(file) => first_line(file)?,
        };
        fields.append(name, value);
    }
    Ok(fields)
}

fn first_line(file: &Path) -> Result<HeaderValue, TracesError> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(LINE_MAX).read_to_end(&mut text));
    read.map_err(|error| TracesError::File {
        key: "headers",
        file: file.to_owned(),
        error,
    })?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii();
    let visible = !line.is_empty() && line.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match HeaderValue::from_bytes(line) {
        Ok(mut value) if visible => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err(TracesError::NoValue(file.to_owned())),
    }
}

/// OpenTelemetry's own bound (OTEL_EXPORTER_OTLP_TIMEOUT).
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A collector says at most how many spans it refused, and why.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A field's value is no longer.
const LINE_MAX: u64 = 16 << 10;
