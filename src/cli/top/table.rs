//! Rows and columns, laid out for a width. Pure.

use std::cmp::Ordering;

use ratatui::text::Span;

use crate::model::plain;

/// What is told in one tab.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) right: bool,
    /// Gives way first where the width does not do.
    pub(super) yields: bool,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) mood: Mood,
}

/// A cell: what is written, and by what it is sorted.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    number: Option<f64>,
}

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Somebody should look.
    Strained,
    /// Somebody must act.
    Bad,
}

impl Column {
    pub(super) const fn left(name: &'static str) -> Self {
        Self {
            name,
            right: false,
            yields: false,
        }
    }

    pub(super) const fn right(name: &'static str) -> Self {
        Self {
            name,
            right: true,
            yields: false,
        }
    }

    pub(super) const fn yielding(name: &'static str) -> Self {
        Self {
            name,
            right: false,
            yields: true,
        }
    }
}

impl Cell {
    /// What others may have written, without anything that a terminal obeys.
    pub(super) fn text(text: &str) -> Self {
        Self {
            text: plain(text).into_owned(),
            number: None,
        }
    }

    /// `text` says `number`, by which it is sorted.
    pub(super) fn number(text: String, number: Option<f64>) -> Self {
        Self { text, number }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (None, None) => self.text.cmp(&other.text),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

impl Table {
    /// Leaves the rows that have this text in them, whatever its case.
    pub(super) fn filter(&mut self, text: &str) {
        let text = text.to_lowercase();
        let has = |cell: &Cell| cell.text.to_lowercase().contains(&text);
        self.rows.retain(|row| row.cells.iter().any(has));
    }

    /// Sorts by a column; rows that are alike stay as they were.
    pub(super) fn sort(&mut self, column: usize, falling: bool) {
        self.rows.sort_by(|a, b| {
            let order = match (a.cells.get(column), b.cells.get(column)) {
                (Some(a), Some(b)) => a.order(b),
                _ => Ordering::Equal,
            };
            if falling { order.reverse() } else { order }
        });
    }

    /// The head, and each row with its mood, no wider than `width`; none: as wide as it takes. `sorted`: the column that it is
    /// sorted by, and whether that falls.
    pub(super) fn lines(
        &self,
        width: Option<usize>,
        sorted: Option<(usize, bool)>,
    ) -> (String, Vec<(String, Mood)>) {
        let heads: Vec<String> = (self.columns.iter().enumerate())
            .map(|(index, column)| match sorted {
                Some((by, falling)) if by == index => {
                    format!("{}{}", column.name, if falling { 'v' } else { '^' })
                }
                _ => column.name.to_owned(),
            })
            .collect();
        let mut widths = self.widths(&heads, width);
        widths.truncate(fitting(&widths, width));
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let rows = self.rows.iter().map(|row| {
            let cells: Vec<&str> = row.cells.iter().map(|cell| &*cell.text).collect();
            (self.line(&cells, &widths, width), row.mood)
        });
        (self.line(&heads, &widths, width), rows.collect())
    }

    fn widths(&self, heads: &[String], width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = heads.iter().map(|head| wide(head)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(wide(&cell.text));
            }
        }
        let taken = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut over = width.map_or(0, |width| taken.saturating_sub(width));
        for (column, width) in self.columns.iter().zip(&mut widths) {
            if column.yields {
                let less = over.min(width.saturating_sub(YIELDING_LEAST));
                *width -= less;
                over -= less;
            }
        }
        widths
    }

    fn line(&self, cells: &[&str], widths: &[usize], width: Option<usize>) -> String {
        let mut line = String::new();
        for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
            let cell = cut(cell, *width);
            let room = " ".repeat(width.saturating_sub(wide(&cell)));
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            match column.right {
                true => line.extend([room.as_str(), &cell]),
                false => line.extend([&*cell, room.as_str()]),
            }
        }
        match width {
            Some(width) => cut(line.trim_end(), width),
            None => line.trim_end().to_owned(),
        }
    }
}

/// How many columns have room; the first one always.
fn fitting(widths: &[usize], width: Option<usize>) -> usize {
    let Some(width) = width else {
        return widths.len();
    };
    let mut taken = 0;
    let fits = widths.iter().take_while(|one| {
        taken += **one + GAP;
        taken - GAP <= width
    });
    fits.count().max(1)
}

/// How many places of a terminal a text takes.
pub(super) fn wide(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => Span::raw(text).width(),
    }
}

/// No wider than `width`; what is cut off is told by a `~`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if wide(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for sign in text.chars() {
        taken += wide(sign.encode_utf8(&mut [0; 4]));
        if taken + 1 > width {
            break;
        }
        out.push(sign);
    }
    if width > 0 {
        out.push('~');
    }
    out
}

const GAP: usize = 2;

/// Enough to tell hosts apart.
const YIELDING_LEAST: usize = 12;
