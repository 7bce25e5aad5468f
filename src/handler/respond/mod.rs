//! A fixed response.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, PerThread};

/// Answers every request alike.
pub struct Respond {
    prepared: PerThread<Prepared>,
    delay: Duration,
}

/// The response, with bytes of each thread's own: what a request counts up and down is not shared between threads.
struct Prepared {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    content: Bytes,
}

impl Respond {
    /// A fixed response as configured.
    pub fn new(config: &config::Respond, threads: usize) -> Self {
        Self {
            prepared: PerThread::new(threads, |_| Prepared::new(config)),
            delay: config.delay,
        }
    }
}

impl Prepared {
    fn new(config: &config::Respond) -> Self {
        let own = |value: &HeaderValue| {
            HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
        };
        Self {
            status: config.status,
            fields: config
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), own(value)))
                .collect(),
            content: Bytes::copy_from_slice(config.body.as_bytes()),
        }
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.content.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        // Room for these, Date, Server and the length: one allocation.
        *headers = HeaderMap::with_capacity(self.fields.len() + 4);
        for (name, value) in &self.fields {
            headers.append(name.clone(), value.clone());
        }
        response
    }
}

impl Handler for Respond {
    fn handle<'a>(&'a self, _request: Request<Body>, _facts: &'a Facts) -> Reply<'a> {
        Reply::later(async {
            tokio::time::sleep(self.delay).await;
            Ok(self.prepared.mine().response())
        })
    }

    fn handle_now(&self, request: Request<Body>, _facts: &Facts) -> Result<Outcome, Request<Body>> {
        if !self.delay.is_zero() {
            return Err(request);
        }
        Ok(Ok(self.prepared.mine().response()))
    }
}
