//! `type = "respond"`: the same response to every request.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts, PerThread};

/// Answers with a fixed response, after a delay where one is set.
#[derive(Debug)]
pub struct Respond {
    status: StatusCode,
    delay: Duration,
    /// A copy for each data thread: a response counts references to its fields and content, and threads that counted on the
    /// same ones would wait for each other.
    prepared: PerThread<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    /// Cloned as a whole: that costs 20 ns a field, where building the map anew costs 45 for every field whose name `http`
    /// does not know. That a clone has to grow for Server and Date costs as much as making one with room for them.
    headers: HeaderMap,
    content: Bytes,
}

impl Respond {
    /// The handler as the configuration has it, for `threads` data threads.
    pub fn new(config: &config::Respond, threads: usize) -> Self {
        Self {
            status: config.status,
            delay: config.delay,
            prepared: PerThread::new(threads, |_| Prepared::new(config)),
        }
    }

    fn response(&self) -> Response<Body> {
        let prepared = self.prepared.mine();
        let mut response = Response::new(Body::full(prepared.content.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = prepared.headers.clone();
        response
    }
}

impl Handler for Respond {
    fn handle<'a>(&'a self, _: Request<Body>, _: &'a Facts) -> Reply<'a> {
        Reply::later(async {
            tokio::time::sleep(self.delay).await;
            Ok(self.response())
        })
    }

    fn handle_now(&self, _: &Request<Body>, _: &Facts) -> Option<Outcome> {
        self.delay.is_zero().then(|| Ok(self.response()))
    }
}

impl Prepared {
    fn new(config: &config::Respond) -> Self {
        // Of this room a clone keeps the places by hash, which are not made anew for Server and Date.
        let mut headers = HeaderMap::with_capacity(config.headers.len() + 4);
        for (name, value) in &config.headers {
            headers.append(own_name(name), own_value(value));
        }
        let content = if has_content(config.status) {
            Bytes::copy_from_slice(config.body.as_bytes())
        } else {
            Bytes::new()
        };
        if !content.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        }
        Self { headers, content }
    }
}

/// Whether a response of this status may have content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
fn has_content(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// The same name in memory of its own.
fn own_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).expect("it was a field name before")
}

/// The same value in memory of its own.
fn own_value(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("it was a field value before")
}

#[cfg(test)]
mod tests;
