//! A reader of tables that goes on after a mistake: everything wrong with a file is reported at once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Section};
use super::wrong::{self, Wrong};
use super::{Diagnostic, Place, Severity, Source};

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// What was found so far in one file.
pub(super) struct Reader<'t> {
    pub(super) source: &'t Source,
    found: RefCell<Vec<Diagnostic>>,
    /// Lines with a mistake in their syntax: what else is found on them is guesswork of the recovery.
    broken: HashSet<usize>,
}

/// A table that is read key by key. Keys that its section does not have were reported when it was opened.
#[derive(Clone)]
pub(super) struct Table<'t> {
    pub(super) reader: &'t Reader<'t>,
    entries: &'t DeTable<'t>,
    section: &'static Section,
    /// The header, or the inline table.
    pub(super) span: Range<usize>,
}

type Value<'t> = &'t Spanned<DeValue<'t>>;

impl<'t> Reader<'t> {
    /// Begins with the mistakes in the syntax.
    pub(super) fn new(source: &'t Source, syntax: Vec<Diagnostic>) -> Self {
        Self {
            source,
            broken: syntax.iter().map(|diagnostic| diagnostic.line).collect(),
            found: RefCell::new(syntax),
        }
    }

    /// Whether the syntax is sound: otherwise parts of the file are missing from the tree, and nothing may be called absent.
    pub(super) fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether an error was reported so far.
    pub(super) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(Diagnostic::is_error)
    }

    /// Everything found, in the order of the file.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        found
    }

    pub(super) fn report(&self, diagnostic: Diagnostic) {
        if !self.broken.contains(&diagnostic.line) {
            self.found.borrow_mut().push(diagnostic);
        }
    }

    pub(super) fn error(
        &self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.mark(Diagnostic::error(code, message), span)
    }

    pub(super) fn warning(
        &self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.mark(Diagnostic::warning(code, message), span)
    }

    fn mark(&self, mut diagnostic: Diagnostic, span: &Range<usize>) -> Diagnostic {
        diagnostic.underline = span.len();
        diagnostic.at(self.place(span))
    }

    /// Reports what is wrong with a value.
    pub(super) fn wrong(&self, span: &Range<usize>, wrong: Wrong) {
        let mut diagnostic = self.error(wrong.code, span, wrong.message);
        diagnostic.help = wrong.help;
        diagnostic.severity = Severity::Error;
        self.report(diagnostic);
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.start)
    }
}

impl<'t> Table<'t> {
    /// Opens a table and reports the keys that it may not hold.
    pub(super) fn open(
        reader: &'t Reader<'t>,
        entries: &'t DeTable<'t>,
        section: &'static Section,
        span: Range<usize>,
    ) -> Self {
        let table = Self {
            reader,
            entries,
            section,
            span,
        };
        for key in entries.keys() {
            let name: &str = key.get_ref();
            if !section.keys.contains(&name) {
                let message = format!("`{name}` is no key of {}", section.name);
                let found = reader.error("unknown-key", &key.span(), message);
                reader.report(found.help(keys::remedy(section, name)));
            }
        }
        table
    }

    /// The place of the table.
    pub(super) fn place(&self) -> Place {
        self.reader.place(&self.span)
    }

    pub(super) fn value(&self, key: &str) -> Option<Value<'t>> {
        debug_assert!(self.section.keys.contains(&key), "{key} is in no key list");
        self.entries.get(key)
    }

    /// Reads a key with `read`; what is wrong with its value is reported, and then there is none.
    pub(super) fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let span = value.span();
        match read(value.get_ref()) {
            Ok(value) => Some(At { value, span }),
            Err(wrong) => {
                self.reader.wrong(&span, wrong);
                None
            }
        }
    }

    /// Reports a key that must be there and is not; `example` is what it could say.
    pub(super) fn require(&self, key: &str, example: &str) {
        if self.value(key).is_none() && self.reader.is_whole() {
            let message = format!("{} has no `{key}`", self.section.name);
            let found = self.reader.error("missing-key", &self.span, message);
            self.reader
                .report(found.help(format!("write `{key} = {example}`")));
        }
    }

    pub(super) fn string(&self, key: &str) -> Option<At<&'t str>> {
        self.read(key, |value| wrong::string(key, value))
    }

    /// A string that must say something.
    pub(super) fn text(&self, key: &str) -> Option<At<&'t str>> {
        self.read(key, |value| wrong::text(key, value))
    }

    /// A string that must be there and say something.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<At<&'t str>> {
        self.require(key, example);
        self.text(key)
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        self.read(key, |value| wrong::boolean(key, value))
            .map_or(default, |at| at.value)
    }

    pub(super) fn integer(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<At<u64>> {
        self.read(key, |value| wrong::integer(key, value, &bounds))
    }

    /// A count that fits the machine's word, as its bounds promise.
    pub(super) fn count(&self, key: &str, bounds: RangeInclusive<u64>, default: u64) -> usize {
        let count = self
            .integer(key, bounds)
            .map_or(default, |count| count.value);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(
        &self,
        key: &str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.read(key, |value| wrong::duration(key, value, &bounds))
            .map_or(default, |at| at.value)
    }

    pub(super) fn size(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<At<u64>> {
        self.read(key, |value| wrong::size(key, value, &bounds))
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Option<At<T>> {
        self.read(key, |value| wrong::one_of(key, value, words))
    }

    /// An array of strings, each with its place; a member that is no string is reported and left out.
    pub(super) fn strings(&self, key: &str) -> Option<At<Vec<At<&'t str>>>> {
        let array = self.read(key, |value| {
            value
                .as_array()
                .ok_or_else(|| wrong::kind(key, "an array of strings", value))
        })?;
        let mut strings = Vec::with_capacity(array.value.len());
        for member in array.value.iter() {
            let span = member.span();
            match wrong::text(key, member.get_ref()) {
                Ok(value) => strings.push(At { value, span }),
                Err(wrong) => self.reader.wrong(&span, wrong),
            }
        }
        Some(At {
            value: strings,
            span: array.span,
        })
    }

    /// The entries of an inner table whose keys are not opened yet.
    pub(super) fn entries(&self, key: &str) -> Option<At<&'t DeTable<'t>>> {
        self.read(key, |value| {
            value.as_table().ok_or_else(|| match value {
                DeValue::Array(_) => {
                    wrong::kind(key, "one table", value).help(format!("write `[{key}]` once"))
                }
                _ => wrong::kind(key, "a table", value),
            })
        })
    }

    /// An inner table.
    pub(super) fn table(&self, key: &str, section: &'static Section) -> Option<Table<'t>> {
        let inner = self.entries(key)?;
        Some(Table::open(self.reader, inner.value, section, inner.span))
    }

    /// The tables of an array of tables; none where the key is absent.
    pub(super) fn tables(&self, key: &str, section: &'static Section) -> Vec<Table<'t>> {
        let array = self.read(key, |value| {
            value.as_array().ok_or_else(|| {
                wrong::kind(key, "an array of tables", value)
                    .help(format!("write `{}` before each", section.name))
            })
        });
        let mut tables = Vec::new();
        for member in array.iter().flat_map(|array| array.value.iter()) {
            match member.get_ref().as_table() {
                Some(entries) => {
                    tables.push(Table::open(self.reader, entries, section, member.span()));
                }
                None => self.reader.wrong(
                    &member.span(),
                    wrong::kind(key, "a table", member.get_ref()),
                ),
            }
        }
        tables
    }
}
