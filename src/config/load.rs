//! From a file to a checked configuration, or to everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use super::reader::{Reader, Table};
use super::{Config, Diagnostic, Server, Source, check, keys, raw, render, settings};

/// The longest file that is read. A binding takes some 150 bytes, so that this is room for 100,000 of them.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What came of reading a configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; none where there is an error.
    pub config: Option<Config>,
    /// Everything found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The text that it was read from.
    pub source: Source,
}

impl Loaded {
    /// Every finding as a person reads it; empty where there is none.
    pub fn render(&self, color: bool) -> String {
        render::render(&self.diagnostics, &self.source, color)
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// The first error in one line, its place before it; none where there is no error.
    pub fn first_error(&self) -> Option<String> {
        let found = self.diagnostics.iter().find(|found| found.is_error())?;
        let message = &found.message;
        Some(match found.line {
            0 => message.clone(),
            line => format!("{}:{line}:{}: {message}", found.file, found.column),
        })
    }

    /// Adds what others found out about this configuration: certificates that cannot be used, say. An error among it takes
    /// the configuration away.
    pub fn add(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        let file = self.source.file().to_string_lossy();
        for mut finding in findings {
            if finding.file.is_empty() {
                finding.file = file.clone().into_owned();
            }
            self.diagnostics.push(finding);
        }
        self.diagnostics
            .sort_by_key(|finding| (finding.line, finding.column));
        if self.has_errors() {
            self.config = None;
        }
    }
}

/// Reads a configuration file. That it cannot be read is a finding too.
pub fn load(path: &Path) -> Loaded {
    match read(path) {
        Ok(text) => parse(&text, path),
        Err(finding) => finish(None, vec![*finding], Source::new(path, "")),
    }
}

/// Reads the text of a configuration file. Relative paths in it are relative to the folder of `file`; nothing is opened.
pub fn parse(text: &str, file: &Path) -> Loaded {
    let source = Source::new(file, text);
    let (tree, errors) = DeTable::parse_recoverable(source.text());
    let syntax = errors
        .iter()
        .map(|error| syntax_error(error, &source))
        .collect();
    let reader = Reader::new(&source, syntax);
    let root = Table::open(&reader, tree.get_ref(), &keys::FILE, 0..0);
    let raw = raw::read(&root);
    let config = check::check(raw, &reader);
    let findings = reader.finish();
    finish(Some(config), findings, source)
}

/// What a file says in `[server]` as far as it can be read, whatever else is wrong with the file; defaults for the rest. This is
/// nothing to serve with: it tells where a server is asked that runs with what the file said before.
pub fn server_of(path: &Path) -> Server {
    let source = Source::new(path, read(path).unwrap_or_default());
    let (tree, _) = DeTable::parse_recoverable(source.text());
    let reader = Reader::new(&source, Vec::new());
    settings::server(&Table::open(&reader, tree.get_ref(), &keys::FILE, 0..0))
}

fn finish(config: Option<Config>, findings: Vec<Diagnostic>, source: Source) -> Loaded {
    let mut loaded = Loaded {
        config,
        diagnostics: Vec::new(),
        source,
    };
    loaded.add(findings);
    loaded
}

/// A mistake in the TOML. The parser says what it saw; what people mostly meant is added here.
fn syntax_error(error: &toml::de::Error, source: &Source) -> Diagnostic {
    let end = source.text().len();
    let span = error.span().unwrap_or(end..end);
    let place = source.place(span.start);
    let line = source
        .line(place.line)
        .map_or("", |line| &source.text()[line]);
    let seen = error.message();
    let (message, help) = if seen == "duplicate key" {
        let key = source.text().get(span).unwrap_or_default().trim();
        (
            format!("`{key}` is written twice in one table"),
            Some(
                "remove one of the two; a table that there may be several of has its name in [[ ]]",
            ),
        )
    } else if line.trim_end().ends_with('=') {
        let message = "there is no value behind the =".to_owned();
        (message, Some("write a value, or remove the line"))
    } else {
        let help = if seen.starts_with("string values must be quoted") {
            Some("write text in quotes, as in \"text\"")
        } else if seen.starts_with("unclosed array table") {
            Some("close the header with ]]")
        } else if seen.starts_with("unclosed table") {
            Some("close the header with ]")
        } else if seen.starts_with("invalid basic string") {
            Some("close the string with \" on its line, and write \\\\ for a backslash")
        } else if seen.starts_with("key with no value") {
            Some("write `key = value`, or # before a comment")
        } else {
            None
        };
        (format!("this is not TOML: {seen}"), help)
    };
    let found = Diagnostic::error("syntax", message).at(place);
    match help {
        Some(help) => found.help(help),
        None => found,
    }
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| Box::new(unreadable(path, &error)))?;
    if read as u64 > MAX_FILE_BYTES {
        let message = format!("{} is longer than 16 MiB", path.display());
        return Err(Box::new(
            Diagnostic::error("file-too-long", message).help("name a configuration file"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = memchr::memchr_iter(b'\n', &error.as_bytes()[..valid]).count() + 1;
        let message = format!("{} is not UTF-8 on line {line}", path.display());
        Box::new(Diagnostic::error("not-utf8", message).help("save the file as UTF-8"))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let looked = match std::path::absolute(path) {
                Ok(absolute) if absolute != path => format!(" (looked for {})", absolute.display()),
                _ => String::new(),
            };
            Diagnostic::error("file-missing", format!("there is no file {shown}{looked}"))
                .help("name the configuration with --config FILE or in $PORTUNUS_CONFIG")
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("{shown} may not be read by this user");
            Diagnostic::error("file-permission", message)
                .help("give the user that Portunus runs as permission to read the file and to enter its folders")
        }
        io::ErrorKind::IsADirectory => {
            Diagnostic::error("file-is-folder", format!("{shown} is a folder"))
                .help("name the file in it")
        }
        _ => Diagnostic::error(
            "file-unreadable",
            format!("{shown} cannot be read: {error}"),
        ),
    }
}
