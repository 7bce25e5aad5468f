//! Why a route takes a request, and why every other route of the site does not.

use std::cmp::Reverse;
use std::fmt;

use http::Method;

use super::{Route, Site};
use crate::model::RoutePath;

/// A route of the site, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCandidate<'a> {
    /// The route.
    pub route: &'a Route,
    /// Whether it won, or why it lost.
    pub verdict: RouteVerdict<'a>,
}

/// Whether a route won, or why it lost. Written as a sentence without its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteVerdict<'a> {
    /// It takes the request.
    Won,
    /// The request's path is not at or under the route's.
    OtherPath,
    /// This longer path takes the request's path.
    Shorter(&'a str),
    /// It takes the path, but not the method.
    OtherMethod,
    /// It takes path and method, but another route of the same path names the method, or stands before it in the file.
    SamePath,
}

impl Site {
    /// Every route of the site, the longest path first: the first path that takes the request's path is the only one whose
    /// methods count.
    pub fn explain_route(&self, path: &RoutePath, method: &Method) -> Vec<RouteCandidate<'_>> {
        let place = self.tree.longest(path.as_str());
        let longest = place.map(|place| &*self.routes[place.routes[0]].path);
        let winner = place.and_then(|place| self.select(place, method));
        let mut routes: Vec<_> = self.routes.iter().collect();
        // Equal lengths keep the order of the file.
        routes.sort_by_key(|route| Reverse(route.path.len()));
        routes
            .into_iter()
            .map(|route| RouteCandidate {
                route,
                verdict: match longest {
                    Some(longest) if is_under(path.as_str(), &route.path) => {
                        verdict(route, longest, winner, method)
                    }
                    _ => RouteVerdict::OtherPath,
                },
            })
            .collect()
    }
}

/// Of a route that takes the path.
fn verdict<'a>(
    route: &Route,
    longest: &'a str,
    winner: Option<&Route>,
    method: &Method,
) -> RouteVerdict<'a> {
    if *route.path != *longest {
        RouteVerdict::Shorter(longest)
    } else if winner.is_some_and(|winner| winner.index == route.index) {
        RouteVerdict::Won
    } else if route.takes(method) {
        RouteVerdict::SamePath
    } else {
        RouteVerdict::OtherMethod
    }
}

/// Whether a path is at or under a prefix, on whole segments.
pub(super) fn is_under(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

impl fmt::Display for RouteVerdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won => f.write_str("it has the longest path that takes the request's, and takes the method"),
            Self::OtherPath => f.write_str("the request's path is not at or under its path"),
            Self::Shorter(longest) => write!(f, "it takes the path too, but {longest} is longer"),
            Self::OtherMethod => f.write_str("it takes the path, but not the method"),
            Self::SamePath => f.write_str(
                "it takes the path and the method too, but a route of the same path names the method or stands before it",
            ),
        }
    }
}
