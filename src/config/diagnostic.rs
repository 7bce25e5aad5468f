//! What is wrong with a configuration: a sentence, its place, and what would be right.

use std::borrow::Cow;

use serde::Serialize;

use super::Place;

/// One finding. Its code is stable; its sentences are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// What kind of finding it is, in words joined by hyphens.
    pub code: &'static str,
    /// The configuration file. Filled in when the finding joins a [`Loaded`](super::Loaded).
    pub file: String,
    /// Counted from 1; 0 where the finding is about the file as a whole.
    pub line: usize,
    /// In characters, counted from 1; 0 where the finding is about the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Further places that the finding is about.
    pub related: Vec<Related>,
    /// How many bytes are underlined; 0: to the end of what begins at the place.
    #[serde(skip)]
    pub(super) underline: usize,
}

/// Another place that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What stands there.
    pub message: String,
    /// How many bytes are underlined; 0: to the end of what begins at the place.
    #[serde(skip)]
    pub(super) underline: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong; somebody may want to know.
    Note,
    /// The configuration works, and likely not as it was meant.
    Warning,
    /// The configuration cannot be used.
    Error,
}

impl Diagnostic {
    /// An error about the file as a whole, until it is told its place with [`Diagnostic::at`].
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning about the file as a whole, until it is told its place with [`Diagnostic::at`].
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// A note about the file as a whole, until it is told its place with [`Diagnostic::at`].
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    /// A finding of this severity about the file as a whole, until it is told its place with [`Diagnostic::at`].
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            file: String::new(),
            line: 0,
            column: 0,
            message: message.into(),
            help: None,
            related: Vec::new(),
            underline: 0,
        }
    }

    /// Says where it is. What begins there is underlined.
    pub fn at(mut self, place: Place) -> Self {
        self.line = place.line;
        self.column = place.column;
        self
    }

    /// Says what would be right.
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = Some(help.into().into_owned());
        self
    }

    /// Names another place, with what stands there.
    pub fn related(mut self, place: Place, message: impl Into<String>) -> Self {
        self.related.push(Related {
            line: place.line,
            column: place.column,
            message: message.into(),
            underline: 0,
        });
        self
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            line: self.line,
            column: self.column,
        }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
