//! A site: its routes, and the steps around its handlers (redirect to https, Strict-Transport-Security).
//!
//! Built once from the checked configuration, then only asked; asking allocates nothing unless the request is refused.

mod explain;
mod headers;
mod tree;

use http::{HeaderValue, Method};

use crate::config;
use crate::model::{Reason, Refusal, RoutePath};

pub use explain::{RouteCandidate, RouteVerdict};
pub use headers::https_redirect_target;

use tree::Tree;

/// A site, ready to be asked.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: Box<str>,
    /// On an http binding: 308 to the same host and path on https.
    pub https_redirect: bool,
    hsts: Option<HeaderValue>,
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
    /// Builds a site.
    pub fn build(site: &config::Site) -> Self {
        let routes: Vec<Route> = site.routes.iter().enumerate().map(Route::build).collect();
        let tree = Tree::build(routes.iter().map(|route| (&*route.path, route.index)))
            .map(|indices| Place::build(indices, &routes));
        Self {
            name: site.name.as_str().into(),
            https_redirect: site.https_redirect,
            hsts: site.hsts.as_ref().map(headers::hsts),
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
    fn build((index, route): (usize, &config::Route)) -> Self {
        Self {
            index,
            path: route.path.as_str().into(),
            methods: route.methods.clone().into(),
            pool: route.pool,
            max_body_bytes: route.max_body_bytes,
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
