//! A request on its way to an application.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;

use super::script::{Found, Scripts};
use super::{params, record};
use crate::config;
use crate::handler::files::redirect_to_folder;
use crate::handler::notes::Notes;
use crate::handler::proxy::{
    Progress, Upload, is_idempotent, strip_for_upstream, target, tell_beside_client,
};
use crate::model::{Body, Facts, Reason, Refusal};

/// What every request to an application has alike, wherever that listens.
pub(in crate::handler) struct Terms {
    scripts: Option<Scripts>,
    /// What is told of every request alike.
    fixed: Vec<u8>,
    keeps_connections: bool,
    buffer_body: usize,
    certificate: config::ClientFields,
}

/// A request on its way to an application.
pub(in crate::handler) struct Outbound {
    /// All records but those of content.
    pub(super) head: Bytes,
    /// None where there is none, and where it has been handed out.
    pub(super) content: Option<Body>,
    /// What becomes of it.
    pub(super) progress: Option<Arc<Progress>>,
    /// Whether carrying it out twice does no more than once, and there is no content to lose.
    pub(in crate::handler) repeatable: bool,
    pub(super) method: Method,
    /// Where its attempts are noted, if anybody asked for them.
    pub(in crate::handler) notes: Notes,
}

impl Terms {
    /// As configured. An error names the folder of the scripts.
    pub(in crate::handler) fn new(config: &config::FastCgiTerms) -> io::Result<Self> {
        let scripts = config.scripts.as_ref().map(Scripts::new).transpose()?;
        Ok(Self {
            fixed: params::fixed(&config.params, scripts.as_ref()),
            scripts,
            keeps_connections: config.idle_connections > 0,
            buffer_body: config.buffer_body,
            certificate: config.certificate,
        })
    }

    /// Whether those made of the same configuration today would find other scripts.
    pub(in crate::handler) fn is_outdated(&self) -> bool {
        self.scripts.as_ref().is_some_and(Scripts::is_outdated)
    }

    /// What an application is to be sent of a request; or what is answered without it.
    pub(in crate::handler) async fn outbound(
        &self,
        mut request: Request<Body>,
        facts: &Facts,
    ) -> Result<Result<Outbound, Response<Body>>, Refusal> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            // A tunnel is not an application's to make, and TRACE gives a request's fields back, those too that a page's
            // scripts must not see.
            let detail = "CONNECT and TRACE are not for FastCGI applications";
            return Err(Refusal::new(Reason::NotImplemented, detail));
        }
        let script = match &self.scripts {
            None => None,
            Some(scripts) => match scripts.find(facts.path.as_str())? {
                Found::Script(script) => Some((scripts, script)),
                Found::Folder => return to_folder(&request, facts).map(Err),
            },
        };
        *request.uri_mut() = target(request.uri(), facts)?;
        strip_for_upstream(request.headers_mut());
        tell_beside_client(request.headers_mut(), facts, self.certificate);
        let length = self.measure(request.body_mut()).await?;
        let mut told = self.fixed.clone();
        let script = script.as_ref().map(|(scripts, script)| (*scripts, script));
        params::write(&mut told, &request, facts, script, length);
        let mut head = Vec::with_capacity(told.len() + HEAD_BYTES_MORE);
        record::write_begin(&mut head, self.keeps_connections);
        record::write_params(&mut head, &told);
        let mut progress = None;
        let mut content = None;
        if length.is_some_and(|length| length > 0) {
            let shared = progress.insert(Arc::<Progress>::default());
            let body = std::mem::take(request.body_mut());
            content = Some(Body::stream(Upload::new(body, Arc::clone(shared))));
        } else {
            head.extend_from_slice(&record::stdin(0));
        }
        Ok(Ok(Outbound {
            head: head.into(),
            repeatable: content.is_none() && is_idempotent(request.method()),
            content,
            progress,
            method: request.method().clone(),
            notes: Notes::of(facts),
        }))
    }

    /// How long content is; none where there is none. Content that does not say is read first, as CGI has no way to leave it
    /// open (RFC 3875 section 4.1.2), and PHP takes it for none.
    async fn measure(&self, content: &mut Body) -> Result<Option<u64>, Refusal> {
        if content.is_end_stream() {
            return Ok(None);
        }
        if let Some(length) = content.size_hint().exact() {
            return Ok(Some(length));
        }
        let mut read = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *content).poll_frame(cx)).await {
            // Trailers are nothing that a CGI program could be told.
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if read.len() + data.len() > self.buffer_body {
                let detail = "the content is longer than buffer_body and does not say how long it is, which its application \
                              must be told first";
                return Err(Refusal::new(Reason::LengthRequired, detail));
            }
            read.extend_from_slice(&data);
        }
        let length = read.len() as u64;
        *content = Body::full(read);
        Ok(Some(length))
    }
}

/// As a `files` handler does; other methods than GET stay what they are.
fn to_folder(request: &Request<Body>, facts: &Facts) -> Result<Response<Body>, Refusal> {
    let relative = facts.path.as_str().trim_start_matches('/');
    let mut response = redirect_to_folder(request, relative)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    }
    Ok(response)
}

/// What stands around the parameters in records.
const HEAD_BYTES_MORE: usize = 64;
