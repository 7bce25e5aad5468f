//! Whoever stands in front of the workers and sends them requests, as the supervisor sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Member;

/// Sends requests to workers: to those that the supervisor names, and to no other.
pub trait Front: Send + Sync {
    /// New requests go there from now on.
    fn direct(&self, direction: Direction);

    /// Those that wait are let go, and why.
    fn let_go(&self, why: String);

    /// Told when a request waits.
    fn wanted(&self) -> Arc<Notify>;

    /// Requests a path of a worker, beside all else that it does, and gives the status.
    fn ask<'a>(&'a self, member: &'a Member, path: &'a str) -> Asking<'a>;
}

/// An answer's status to come, or why there is none.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<u16, String>> + Send + 'a>>;

/// Where new requests go.
#[derive(Clone, Debug)]
pub enum Direction {
    /// To any of these.
    To(Vec<Arc<Member>>),
    /// Nowhere yet: they wait.
    Hold,
    /// Nowhere: the pool is stopped.
    Stopped,
    /// Nowhere: the application keeps failing, and how.
    Disabled(String),
    /// To the offline file.
    Offline,
}
