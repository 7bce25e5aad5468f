//! Every certificate that a configuration has: what it is, until when, who shows it, and what is wrong with it.
//!
//! The same for a person, as a table, and for a program, as JSON.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::error::CertificateError;
use super::findings::{self, Finding, file_of_error};
use super::pair::Certificate;
use super::set::Certificates;
use super::usage::Usage;
use crate::config::{Config, Severity};

/// Every certificate of a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// Those with a name first, in the order of the file; then those of folders, by their names.
    pub certificates: Vec<Entry>,
}

/// One certificate.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What it is called: the name of its `[[certificate]]`, or whom its file is named after.
    pub name: String,
    /// The file of its chain.
    pub file: PathBuf,
    /// What it is; none where its file cannot be used.
    #[serde(flatten)]
    pub shown: Option<Shown>,
    /// The bindings that show it, as in `https://*:443 www.example.com`.
    pub used_by: Vec<String>,
    /// What is wrong with it, the worst first.
    pub faults: Vec<Fault>,
}

/// A certificate that can be shown.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The names that it covers.
    pub covers: Vec<String>,
    /// Whom it is for, as it says itself.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its number at its issuer, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the leaf, in hexadecimal.
    pub fingerprint_sha256: String,
    /// Its key, as in `ECDSA P-256`.
    pub key: String,
    /// When it begins to be valid.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: SystemTime,
    /// When it ends to be valid.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: SystemTime,
    /// Whole days until then; negative when it has passed.
    pub days_left: i64,
    /// How many certificates are sent, with the leaf.
    pub chain_length: usize,
}

/// Something that is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// Stable; docs/certificates.md has them all.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
}

impl Inventory {
    /// What there is now.
    pub fn of(config: &Config, certificates: &Certificates) -> Self {
        let findings = findings::of(config, certificates);
        let findings = by_file(&findings);
        let usage = Usage::of(config, certificates);
        let names = |bindings: &[usize]| -> Vec<String> {
            let bindings = bindings.iter().map(|index| &config.bindings[*index]);
            bindings.map(|binding| binding.key().to_string()).collect()
        };
        let mut all = Vec::new();
        for (index, named) in config.certificates.iter().enumerate() {
            let used_by = names(usage.of_named(index));
            let name = named.name.clone();
            if let Err(error) = certificates.named(index) {
                all.push(unusable(name.clone(), error, used_by.clone()));
            }
            for certificate in certificates.kinds(index) {
                all.push(entry(name.clone(), certificate, used_by.clone(), &findings));
            }
        }
        let mut folders: Vec<_> = certificates.folders().collect();
        folders.sort_unstable_by_key(|folder| &folder.path);
        for folder in folders {
            for (name, certificate) in folder.iter() {
                let used_by = names(&usage.of_folder(&folder.path, name, certificate));
                all.push(entry(written(name), certificate, used_by, &findings));
            }
            for error in folder.faults() {
                let file = file_of_error(error);
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                all.push(unusable(written(&name), error, Vec::new()));
            }
        }
        Self { certificates: all }
    }
}

/// Findings by the file that they are about.
type Findings<'a> = HashMap<&'a Path, Vec<&'a Finding>>;

fn by_file(findings: &[Finding]) -> Findings<'_> {
    let mut of_files = Findings::new();
    for finding in findings {
        if let Some(file) = &finding.file {
            of_files.entry(file).or_default().push(finding);
        }
    }
    of_files
}

/// A certificate of a folder, as the configuration writes its name.
pub(super) fn written(name: &str) -> String {
    match name.strip_prefix("_.") {
        Some(parent) => format!("*.{parent}"),
        None => name.to_owned(),
    }
}

fn entry(
    name: String,
    certificate: &Certificate,
    used_by: Vec<String>,
    findings: &Findings<'_>,
) -> Entry {
    let mut faults: Vec<Fault> = Vec::new();
    let about = findings.get(&*certificate.file);
    for finding in about.into_iter().flatten() {
        let fault = Fault {
            severity: finding.severity,
            code: finding.code,
            message: finding.message.clone(),
            help: finding.help.clone(),
        };
        // Several bindings may have the same to say of it.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults.sort_by_key(|fault| std::cmp::Reverse(fault.severity));
    Entry {
        name,
        file: certificate.file.clone(),
        shown: shown(certificate),
        used_by,
        faults,
    }
}

fn shown(certificate: &Certificate) -> Option<Shown> {
    let chain = &certificate.arranged().cert;
    let leaf = certificate.leaf()?;
    Some(Shown {
        covers: certificate
            .covers
            .iter()
            .map(|name| name.to_string())
            .collect(),
        subject: leaf.subject.clone(),
        issuer: leaf.issuer.clone(),
        serial: leaf.serial.clone(),
        fingerprint_sha256: leaf.fingerprint.clone(),
        key: leaf.key.to_string(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        days_left: days_left(leaf.not_after),
        chain_length: chain.len(),
    })
}

fn unusable(name: String, error: &CertificateError, used_by: Vec<String>) -> Entry {
    Entry {
        name,
        file: file_of_error(error).into(),
        shown: None,
        used_by,
        faults: vec![Fault {
            severity: Severity::Error,
            code: error.code(),
            message: error.to_string(),
            help: Some(error.remedy().to_owned()),
        }],
    }
}

fn days_left(end: SystemTime) -> i64 {
    let days = |span: std::time::Duration| (span.as_secs() / 86_400).cast_signed();
    match end.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(past) => -1 - days(past.duration()),
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

/// A table; nothing where there is no certificate.
impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.certificates.iter().map(row).collect();
        let mut widths = HEAD.map(width);
        for row in &rows {
            for (longest, cell) in widths.iter_mut().zip(row) {
                *longest = (*longest).max(width(cell));
            }
        }
        let head = HEAD.map(str::to_owned);
        for row in std::iter::once(&head).chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn row(entry: &Entry) -> [String; 8] {
    let nothing = || "-".to_owned();
    let of = |read: fn(&Shown) -> String| entry.shown.as_ref().map_or_else(nothing, read);
    let codes: Vec<_> = entry
        .faults
        .iter()
        .map(|fault| fault.code.to_owned())
        .collect();
    [
        short(&entry.name),
        of(|shown| first(&shown.covers)),
        of(|shown| short(common_name(&shown.issuer))),
        of(|shown| shown.key.clone()),
        of(|shown| shown.days_left.to_string()),
        first(&entry.used_by),
        first(&codes),
        entry.file.display().to_string(),
    ]
}

/// The first of several, and how many more there are.
fn first(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        [one] => short(one),
        [one, more @ ..] => format!("{} +{}", short(one), more.len()),
    }
}

/// What people know an issuer by.
fn common_name(name: &str) -> &str {
    let parts = name.split(", ");
    let mut named = parts.filter_map(|part| part.strip_prefix("CN="));
    named.next().unwrap_or(name)
}

/// What is in a certificate may be of any length, and hold what moves a terminal's cursor.
fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { '�' } else { c });
    if text.chars().count() <= CELL_CHARS_MAX {
        return plain.collect();
    }
    plain.take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

const HEAD: [&str; 8] = [
    "CERTIFICATE",
    "COVERS",
    "ISSUER",
    "KEY",
    "DAYS",
    "USED BY",
    "FAULTS",
    "FILE",
];

const CELL_CHARS_MAX: usize = 40;
