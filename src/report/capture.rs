//! Logs kept in memory, for tests of whoever reports.

use std::sync::Arc;

use super::Shared;
use super::sink::Sink;
use crate::config::AccessFormat;

/// The lines of a [`Report`](super::Report) that keeps them in memory, visible as soon as they are reported.
pub struct Captured {
    errors: Arc<Sink>,
    access: Arc<Sink>,
}

impl Captured {
    pub(super) fn attach(shared: &Shared, format: AccessFormat) -> Self {
        let captured = Self {
            errors: Arc::new(Sink::new(shared.threads, AccessFormat::Json)),
            access: Arc::new(Sink::new(shared.threads, format)),
        };
        shared.errors.store(Some(Arc::clone(&captured.errors)));
        shared.access.store(Some(Arc::clone(&captured.access)));
        shared
            .wants_access
            .store(true, std::sync::atomic::Ordering::Relaxed);
        captured
    }

    /// The error log's lines so far.
    pub fn errors(&self) -> Vec<String> {
        lines(&self.errors)
    }

    /// The access log's lines so far.
    pub fn access(&self) -> Vec<String> {
        lines(&self.access)
    }
}

fn lines(sink: &Sink) -> Vec<String> {
    String::from_utf8_lossy(&sink.peek())
        .lines()
        .map(str::to_owned)
        .collect()
}
