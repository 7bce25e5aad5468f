//! x
use super::{Handler, Reply};
use crate::config;
use crate::model::{Body, Facts};
use http::{Request, Response};
/// x
pub struct Redirect;
impl Redirect {
    /// x
    pub fn new(_: &config::Redirect) -> Self {
        Redirect
    }
}
impl Handler for Redirect {
    fn handle<'a>(&'a self, _request: Request<Body>, _facts: &'a Facts) -> Reply<'a> {
        Reply::Now(Ok(Response::new(Body::empty())))
    }
}
