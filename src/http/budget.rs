//! Budgets: what a client may make us do in a while.

use std::time::Duration;

use tokio::time::Instant;

/// What was spent, and on what there is a bound.
pub(super) trait Spent: Default {
    /// Which budget is overdrawn. docs/limits.md has the reason of each.
    fn over(&self) -> Option<&'static str>;
}

/// What was spent in the present [`WINDOW`].
#[derive(Debug)]
pub(super) struct Budget<S> {
    began: Instant,
    pub(super) spent: S,
}

impl<S: Spent> Budget<S> {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            spent: S::default(),
        }
    }

    /// What was overdrawn within a window, if anything was; only then is the clock looked at.
    pub(super) fn overdrawn(&mut self) -> Option<&'static str> {
        let what = self.spent.over()?;
        if self.began.elapsed() < WINDOW {
            return Some(what);
        }
        *self = Self::new();
        None
    }
}

/// What every budget is for.
const WINDOW: Duration = Duration::from_secs(10);
