//! The adapter that makes a handler of any tower service, an axum `Router` for one.
//!
//! This is for programs that have Portunus as a library. The service finds the request's [`Connection`] (the client's
//! address, what TLS settled, the certificate that it has shown) as an `Arc<Connection>` among its extensions.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tower_service::Service;

use super::{Handler, Reply};
use crate::model::{Body, BodyError, Facts, Reason, Refusal};

#[cfg(doc)]
use crate::model::Connection;

/// A tower service as a handler.
///
/// The service is cloned for every request, as tower has it; it is asked for readiness before each call, and a request waits
/// until it is ready. Its error is a fault of ours, answered with 500, unless a request body that could not be read lies
/// under it: then that body's own reason counts.
#[derive(Clone, Debug)]
pub struct TowerHandler<S> {
    service: S,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl<S> TowerHandler<S> {
    /// Adapts `service`.
    pub fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S, B> Handler for TowerHandler<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn handle<'a>(&'a self, mut request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        let connection = Arc::clone(&facts.connection);
        request.extensions_mut().insert(connection);
        let mut service = self.service.clone();
        Reply::later(async move {
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(|error| failed(error.into()))?;
            let response = service.call(request).await;
            Ok(response.map_err(|error| failed(error.into()))?.map(adapt))
        })
    }
}

fn failed(error: BoxError) -> Refusal {
    let reason = reason_under(&*error);
    Refusal::new(reason, format!("the application failed: {}", told(&*error)))
}

/// An error and what lies under it, in one sentence.
fn told(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(error) = under {
        text = format!("{text}: {error}");
        under = error.source();
    }
    text
}

/// What a failure counts as. A service that fails because the request's content broke off hands on why.
fn reason_under(error: &(dyn StdError + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(body) = error.downcast_ref::<BodyError>() {
            return body.reason;
        }
        next = error.source();
    }
    Reason::Internal
}

/// A service's content as ours.
fn adapt<B>(content: B) -> Body
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    if content.is_end_stream() {
        return Body::empty();
    }
    Body::stream(Adapted { content })
}

pin_project_lite::pin_project! {
    struct Adapted<B> {
        #[pin]
        content: B,
    }
}

impl<B> http_body::Body for Adapted<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = ready!(self.project().content.poll_frame(cx));
        Poll::Ready(polled.map(|frame| match frame {
            // Bytes are taken as they are; any other buffer is copied.
            Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
            Err(error) => {
                let error = error.into();
                Err(BodyError::new(reason_under(&*error), error))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests;
