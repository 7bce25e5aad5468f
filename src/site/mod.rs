//! A site: its routes, and the steps around its handlers (redirect to https, Strict-Transport-Security, fields, error pages).
//!
//! Built once from the checked configuration, then only asked; asking allocates nothing unless the request is refused.

mod explain;
mod headers;
mod pages;
mod tree;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::config;
use crate::model::template::Said;
use crate::model::{Body, FieldChanges, Reason, Refusal, RoutePath, RouteRules};

pub use explain::{RouteCandidate, RouteVerdict};
pub use headers::https_redirect_target;
pub use pages::PageError;

use pages::Pages;
use tree::Tree;

/// A site, ready to be asked.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: Box<str>,
    /// On an http binding: 308 to the same host and path on https.
    pub https_redirect: bool,
    hsts: Option<HeaderValue>,
    response_fields: Option<Arc<FieldChanges>>,
    pages: Pages,
    routes: Vec<Route>,
    tree: Tree<Place>,
}

/// A route of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its index among the site's routes in the configuration.
    pub index: usize,
    /// The prefix that it takes, on whole segments.
    pub path: Box<str>,
    /// The methods that it takes; empty: all. GET stands for HEAD too.
    pub methods: Box<[Method]>,
    /// The pool, by its index in the configuration.
    pub pool: usize,
    /// A request's body, in bytes; `None`: as `[limits]` says; `Some(None)`: no limit.
    pub max_body_bytes: Option<Option<u64>>,
    /// The longest gap between two pieces of a request's body; none: as `[limits]` says.
    pub entity_body: Option<Duration>,
    /// What it says to its handler.
    pub rules: Option<Arc<RouteRules>>,
    response_fields: Option<Arc<FieldChanges>>,
    intercepts: bool,
}

/// As the server tells of it: `/api (GET, POST)`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        for (index, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if index == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.methods.is_empty() { "" } else { ")" })
    }
}

/// The routes of one path.
#[derive(Debug)]
struct Place {
    /// Into the site's routes, in the order of the file.
    routes: Box<[usize]>,
    /// The methods that they take between them, as Allow lists them.
    allow: Box<str>,
}

impl Site {
    /// Builds a site, and reads its error pages.
    pub fn load(site: &config::Site) -> Result<Self, PageError> {
        let pages = Pages::load(&site.keys.error_pages)?;
        Ok(Self {
            pages,
            ..Self::build(site)
        })
    }

    /// Builds a site without its error pages.
    pub fn build(site: &config::Site) -> Self {
        let routes = site.routes.iter().enumerate();
        let routes: Vec<Route> = routes.map(|route| Route::build(route, site)).collect();
        let tree = Tree::build(routes.iter().map(|route| (&*route.path, route.index)))
            .map(|indices| Place::build(indices, &routes));
        Self {
            name: site.name.as_str().into(),
            https_redirect: site.https_redirect,
            hsts: site.hsts.as_ref().map(headers::hsts),
            response_fields: site.keys.response_fields.clone(),
            pages: Pages::default(),
            routes,
            tree,
        }
    }

    /// The route that takes the request: the one with the longest path that the request's path is at or under, and among
    /// routes with that path the one that takes the method. One that names the method comes before one that takes all.
    ///
    /// Where none of them takes the method a shorter path is not tried: the answer is 405.
    pub fn route(&self, path: &RoutePath, method: &Method) -> Result<&Route, Refusal> {
        let place = self
            .tree
            .longest(path.as_str())
            .ok_or_else(|| self.no_route())?;
        self.select(place, method)
            .ok_or_else(|| self.wrong_method(place, method))
    }

    fn select(&self, place: &Place, method: &Method) -> Option<&Route> {
        let routes = || place.routes.iter().map(|&index| &self.routes[index]);
        // Nearly every path has one route, and that one takes all methods.
        if let [only] = *place.routes
            && self.routes[only].methods.is_empty()
        {
            return self.routes.get(only);
        }
        routes()
            .find(|route| route.methods.contains(method))
            .or_else(|| {
                // RFC 9110, section 9.3.2: HEAD is GET without the content.
                let head = method == Method::HEAD;
                routes().find(|route| head && route.methods.contains(&Method::GET))
            })
            .or_else(|| routes().find(|route| route.methods.is_empty()))
    }

    /// The value of Strict-Transport-Security, to be sent on https only (RFC 6797, section 7.2).
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Changes the fields of a response: as the site says, and then as its route says, by its index, where there is one.
    pub fn change_fields(&self, route: Option<usize>, fields: &mut HeaderMap, said: &Said<'_>) {
        let of_route = route.and_then(|route| self.routes[route].response_fields.as_deref());
        for changes in self.response_fields.as_deref().into_iter().chain(of_route) {
            changes.apply(fields, said);
        }
    }

    /// Whether any response of this route has its fields changed.
    pub fn changes_fields(&self, route: Option<usize>) -> bool {
        self.response_fields.is_some()
            || route.is_some_and(|route| self.routes[route].response_fields.is_some())
    }

    /// Puts the site's own page in the place of a response's content, if it has one for such a status.
    pub fn put_page(&self, response: &mut Response<Body>, said: &Said<'_>) {
        if let Some(page) = self.pages.of(response.status()) {
            page.put(response, said);
        }
    }

    /// Whether a handler's response of this route gets the site's own page.
    pub fn intercepts(&self, route: Option<usize>, status: StatusCode) -> bool {
        (status.is_client_error() || status.is_server_error())
            && route.is_some_and(|route| self.routes[route].intercepts)
            && self.pages.of(status).is_some()
    }

    /// Its routes, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    #[cold]
    fn no_route(&self) -> Refusal {
        let detail = format!("no route of the site {} takes this path", self.name);
        Refusal::new(Reason::NoRoute, detail)
    }

    #[cold]
    fn wrong_method(&self, place: &Place, method: &Method) -> Refusal {
        let path = place.routes.first().map(|&index| &*self.routes[index].path);
        let detail = format!(
            "the route {} of the site {} does not take the method {method}, but {}",
            path.unwrap_or_default(),
            self.name,
            place.allow,
        );
        Refusal::method_not_allowed(place.allow.clone(), detail)
    }
}

impl Route {
    fn build((index, route): (usize, &config::Route), site: &config::Site) -> Self {
        let keys = &route.keys;
        Self {
            index,
            path: route.path.as_str().into(),
            methods: route.methods.clone().into(),
            pool: route.pool,
            max_body_bytes: route.max_body_bytes,
            entity_body: keys.entity_body,
            rules: keys.rules.clone(),
            response_fields: keys.response_fields.clone(),
            intercepts: keys.intercept_errors.unwrap_or(site.keys.intercept_errors),
        }
    }

    /// Whether the route takes the method.
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

impl Place {
    fn build(indices: Vec<usize>, routes: &[Route]) -> Self {
        let mut methods: Vec<&str> = Vec::new();
        for method in indices.iter().flat_map(|&index| &routes[index].methods) {
            methods.push(method.as_str());
            if method == Method::GET {
                methods.push("HEAD");
            }
        }
        methods.sort_unstable();
        methods.dedup();
        Self {
            allow: methods.join(", ").into(),
            routes: indices.into(),
        }
    }
}

#[cfg(test)]
mod tests;
