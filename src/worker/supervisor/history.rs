//! What happened to a pool's workers: told to the log, and the last of it kept.

use std::collections::VecDeque;

use super::view::Event;
use crate::worker::machine::Note;

/// What happened to one pool's workers.
pub(super) struct History {
    pool: String,
    events: VecDeque<Event>,
    last_failure: Option<Event>,
    failures: u64,
}

impl History {
    pub(super) fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            events: VecDeque::new(),
            last_failure: None,
            failures: 0,
        }
    }

    /// Tells what the machine has to tell.
    pub(super) fn tell(&mut self, note: &Note) {
        if let Note::Failed(_, what) | Note::Kept(_, what) = note {
            self.failures += 1;
            self.last_failure = Some(Event::now(what.clone()));
        }
        let what = note.to_string();
        match note {
            Note::Disabled(..) => {
                tracing::error!(pool = %self.pool, "{what}");
                self.keep(what);
            }
            note if note.is_warning() => self.warn(&what),
            _ => self.note(&what),
        }
    }

    pub(super) fn warn(&mut self, what: &str) {
        tracing::warn!(pool = %self.pool, "{what}");
        self.keep(what.to_owned());
    }

    pub(super) fn note(&mut self, what: &str) {
        tracing::info!(pool = %self.pool, "{what}");
        self.keep(what.to_owned());
    }

    fn keep(&mut self, what: String) {
        if self.events.len() == KEPT_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event::now(what));
    }

    pub(super) fn last_failure(&self) -> Option<Event> {
        self.last_failure.clone()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn events(&self) -> VecDeque<Event> {
        self.events.clone()
    }
}

/// Enough to see how a pool came to be disabled: a failure tells two or three things.
const KEPT_MAX: usize = 50;
