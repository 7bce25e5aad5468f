//! `type = "redirect"`: every request is sent to another address.

mod template;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};

use self::template::Template;
use super::{Handler, Outcome, Reply};
use crate::config;
use crate::model::{Body, Facts};

/// Answers with a redirect to an address made from the request's own.
#[derive(Debug)]
pub struct Redirect {
    to: Template,
    status: StatusCode,
}

impl Redirect {
    /// The handler as the configuration has it.
    pub fn new(config: &config::Redirect) -> Self {
        Self {
            to: Template::parse(&config.to),
            status: config.status,
        }
    }
}

impl Redirect {
    fn response(&self, request: &Request<Body>, facts: &Facts) -> Response<Body> {
        let target = self.to.fill(request.uri(), &facts.host);
        let content = format!("{} -> {target}\n", self.status);
        let location = HeaderValue::try_from(target)
            .expect("a filled template holds only what a URI may hold, which is visible ASCII");
        let mut response = Response::new(Body::full(content));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    }
}

impl Handler for Redirect {
    fn handle<'a>(&'a self, request: Request<Body>, facts: &'a Facts) -> Reply<'a> {
        Reply::Now(Ok(self.response(&request, facts)))
    }

    fn handle_now(&self, request: &Request<Body>, facts: &Facts) -> Option<Outcome> {
        Some(Ok(self.response(request, facts)))
    }
}

#[cfg(test)]
mod tests;
