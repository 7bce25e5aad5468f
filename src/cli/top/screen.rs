//! What is looked at, and what keys do to it. Pure: keys, answers and the time come from outside.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::seen::{Pair, Seen};
use super::table::Table;
use super::tabs::Tab;

/// What is looked at.
pub(super) struct Screen {
    pub(super) tab: Tab,
    /// For each tab: the column that it is sorted by, and whether that falls; none: as the server tells it.
    sorted: [Option<(usize, bool)>; Tab::ALL.len()],
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) paused: bool,
    /// Rows that are above the first one shown.
    pub(super) skipped: usize,
    now: Option<Seen>,
    before: Option<Seen>,
    /// Why the server does not answer, and since when.
    pub(super) gone: Option<Gone>,
}

/// What keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Looking.
    Look,
    /// The filter is being typed.
    Filter,
    /// The keys are explained.
    Help,
}

/// The server does not answer.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    /// Since when, as the clock says.
    pub(super) since: String,
    /// The same, since `top` was started.
    pub(super) at: Duration,
    pub(super) why: String,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            tab: Tab::Pools,
            sorted: Default::default(),
            filter: String::new(),
            mode: Mode::Look,
            paused: false,
            skipped: 0,
            now: None,
            before: None,
            gone: None,
        }
    }
}

impl Screen {
    /// The server has answered.
    pub(super) fn answered(&mut self, seen: Seen) {
        self.gone = None;
        if !self.paused {
            self.before = self.now.replace(seen);
        }
    }

    /// The server has not answered; `clock` is what time it is.
    pub(super) fn unanswered(&mut self, at: Duration, clock: String, why: String) {
        match &mut self.gone {
            Some(gone) => gone.why = why,
            None => {
                let since = clock;
                self.gone = Some(Gone { since, at, why });
            }
        }
    }

    /// The last answers, once there is one.
    pub(super) fn pair(&self) -> Option<Pair<'_>> {
        let now = self.now.as_ref()?;
        Some(Pair::new(now, self.before.as_ref()))
    }

    /// The table that is looked at, and what it is sorted by.
    pub(super) fn table(&self) -> (Table, Option<(usize, bool)>) {
        let mut table = self.pair().map(|pair| self.tab.table(&pair));
        let table = table.get_or_insert_default();
        if !self.filter.is_empty() {
            table.filter(&self.filter);
        }
        let sorted = self.sorted[self.tab as usize];
        if let Some((column, falling)) = sorted {
            table.sort(column, falling);
        }
        (std::mem::take(table), sorted)
    }

    /// Whether the key ends all.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd'));
        }
        match self.mode {
            Mode::Filter => self.type_filter(key.code),
            Mode::Help => self.mode = Mode::Look,
            Mode::Look => return self.look(key.code),
        }
        false
    }

    fn look(&mut self, key: KeyCode) -> bool {
        match key {
            KeyCode::Char('q') => return true,
            KeyCode::Char(digit @ '1'..='6') => {
                let index = usize::from(digit as u8 - b'1');
                self.go(Tab::ALL[index]);
            }
            KeyCode::Tab | KeyCode::Right => self.step(1),
            KeyCode::BackTab | KeyCode::Left => self.step(Tab::ALL.len() - 1),
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => {
                if let Some((_, falling)) = &mut self.sorted[self.tab as usize] {
                    *falling = !*falling;
                }
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Down | KeyCode::Char('j') => self.skipped = self.skipped.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.skipped = self.skipped.saturating_sub(1),
            KeyCode::PageDown => self.skipped = self.skipped.saturating_add(PAGE),
            KeyCode::PageUp => self.skipped = self.skipped.saturating_sub(PAGE),
            KeyCode::Home => self.skipped = 0,
            _ => {}
        }
        false
    }

    fn type_filter(&mut self, key: KeyCode) {
        self.skipped = 0;
        match key {
            KeyCode::Enter => self.mode = Mode::Look,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(sign) if self.filter.len() < FILTER_BYTES_MAX => self.filter.push(sign),
            _ => {}
        }
    }

    fn step(&mut self, by: usize) {
        self.go(Tab::ALL[(self.tab as usize + by) % Tab::ALL.len()]);
    }

    fn go(&mut self, tab: Tab) {
        self.tab = tab;
        self.skipped = 0;
    }

    /// By the next column: names rise, and what is counted falls. Behind the last it is as the server tells it.
    fn sort_by_next(&mut self) {
        let next = self.sorted[self.tab as usize].map_or(0, |(column, _)| column + 1);
        let (table, _) = self.table();
        let column = table.columns.get(next);
        self.sorted[self.tab as usize] = column.map(|column| (next, column.right));
    }
}

const PAGE: usize = 10;
const FILTER_BYTES_MAX: usize = 100;
