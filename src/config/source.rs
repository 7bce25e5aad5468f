//! The text of a configuration file, and where in it things stand.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Place;

/// A configuration file's text with its name. Offsets are bytes; a [`Place`] counts characters, as editors do.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
    /// The offset that each line begins at.
    lines: Vec<usize>,
}

impl Source {
    /// Takes the text of `file`.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        let lines = std::iter::once(0).chain(ends.map(|end| end + 1)).collect();
        Self {
            file: file.into(),
            text,
            lines,
        }
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A path of the file: a relative one is relative to the folder that the file stands in.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        match self.file.parent() {
            Some(folder) => folder.join(path),
            None => path.as_ref().to_path_buf(),
        }
    }

    /// Where an offset is.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        // The first line begins at 0, so that a line is always found.
        let start = self.lines[line - 1];
        Place {
            line,
            column: self.text[start..offset].chars().count() + 1,
        }
    }

    /// The offset of a place; none where the file has no such line. A column behind the line's end is the line's end.
    pub fn offset(&self, place: Place) -> Option<usize> {
        let line = self.line(place.line)?;
        let before = place.column.saturating_sub(1);
        let inside = self.text[line.clone()].char_indices().nth(before);
        Some(inside.map_or(line.end, |(offset, _)| line.start + offset))
    }

    /// A line without its end, counted from 1.
    pub fn line(&self, number: usize) -> Option<Range<usize>> {
        let start = *self.lines.get(number.checked_sub(1)?)?;
        let end = self.lines.get(number).map_or(self.text.len(), |s| s - 1);
        let text = &self.text[start..end];
        Some(start..start + text.strip_suffix('\r').unwrap_or(text).len())
    }

    /// What begins at an offset: a string, a table's header, or a word; at a line's end nothing.
    pub fn token(&self, offset: usize) -> Range<usize> {
        let line = self
            .line(self.place(offset).line)
            .unwrap_or(self.text.len()..self.text.len());
        let offset = self.text.floor_char_boundary(offset).min(line.end);
        let rest = &self.text[offset..line.end];
        let length = match rest.as_bytes().first() {
            Some(quote @ (b'"' | b'\'')) => string_length(rest, *quote),
            Some(b'[') => rest.rfind(']').map(|end| end + 1),
            _ => rest.find(|c: char| c.is_whitespace() || ",]}#=".contains(c)),
        };
        offset..offset + length.unwrap_or(rest.len())
    }
}

/// The length of a string of one line with its quotes; none where it is not closed.
fn string_length(text: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            _ if byte == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}
