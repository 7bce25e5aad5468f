//! The page that shows what is in a folder.

use std::ffi::CStr;
use std::fmt::Write as _;

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use nix::dir::Dir;
use percent_encoding::utf8_percent_encode;
use time::OffsetDateTime;

use super::SEGMENT;
use super::folder::{Folder, OpenError, Stamp};

/// An entry that can be asked for.
struct Entry {
    name: String,
    is_folder: bool,
    stamp: Stamp,
}

/// The page for the folder `relative`, which ends with a slash or is empty. Reads the disk: for the blocking pool.
pub(super) fn render(folder: &Folder, relative: &str) -> Result<String, OpenError> {
    let (mut entries, is_cut) = read(folder, relative)?;
    entries.sort_by(|a, b| (!a.is_folder, &a.name).cmp(&(!b.is_folder, &b.name)));
    let title = escape(&format!("/{relative}"));
    let mut page = format!("{HEAD}<title>{title}</title>\n{STYLE}<h1>{title}</h1>\n<table>\n");
    page.push_str("<tr><th>Name<th>Size<th>Modified (UTC)\n");
    if !relative.is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    for entry in &entries {
        row(&mut page, entry);
    }
    page.push_str("</table>\n");
    if is_cut {
        page.push_str("<p>This folder has more entries than a page can show.</p>\n");
    }
    Ok(page)
}

/// The fields that a page of these is served with.
pub(super) fn describe(headers: &mut HeaderMap) {
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // The page needs nothing but its own style; should a name ever get past the escaping, it can run nothing.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
}

/// The entries that can be asked for, and whether there are more than are read.
fn read(folder: &Folder, relative: &str) -> Result<(Vec<Entry>, bool), OpenError> {
    let mut handle = Dir::from_fd(folder.open_folder(relative)?)?;
    let mut entries = Vec::new();
    for (index, entry) in handle.iter().enumerate() {
        let entry = entry?;
        // Those that are not shown count too: they cost as much to read.
        if index >= ENTRIES_MAX {
            return Ok((entries, true));
        }
        let Some(name) = shown_name(entry.file_name(), relative) else {
            continue;
        };
        // Looked at from the root, so that a link counts as what it leads to, and one that leads outside is not shown.
        let Ok(metadata) = folder.look(&format!("{relative}{name}")) else {
            continue;
        };
        if !metadata.is_dir() && !metadata.is_file() {
            continue;
        }
        entries.push(Entry {
            name,
            is_folder: metadata.is_dir(),
            stamp: Stamp::of(&metadata),
        });
    }
    Ok((entries, false))
}

/// A name that a request can have: text without a separator of any system, without control characters, not hidden.
fn shown_name(name: &CStr, relative: &str) -> Option<String> {
    let name = name.to_str().ok()?;
    let is_hidden = name.starts_with('.') && !(relative.is_empty() && name == ".well-known");
    let can_be_asked_for = !name.contains(|c: char| c == '\\' || c.is_control());
    (!is_hidden && can_be_asked_for).then(|| name.to_owned())
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.is_folder { "/" } else { "" };
    let link = utf8_percent_encode(&entry.name, SEGMENT);
    let text = escape(&entry.name);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<tr><td><a href=\"{link}{slash}\">{text}{slash}</a><td>"
    );
    if !entry.is_folder {
        page.push_str(&size(entry.stamp.size));
    }
    page.push_str("<td>");
    page.push_str(&date(entry.stamp.modified_secs));
    page.push('\n');
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024.0 is one of the next unit.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

fn date(seconds: i64) -> String {
    let Ok(date) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return String::new();
    };
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, _) = date.to_hms();
    format!(
        "{year:04}-{:02}-{day:02} {hour:02}:{minute:02}",
        u8::from(month)
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Entries of one page. A folder of more is for programs, not for people; its page would be larger than a megabyte.
const ENTRIES_MAX: usize = 5_000;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n";

const STYLE: &str = "<style>\n\
    :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }\n\
    body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }\n\
    h1 { font-size: 1.25rem; overflow-wrap: anywhere }\n\
    table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }\n\
    th, td { padding: .25rem .5rem; text-align: left; border-bottom: 1px solid #8884 }\n\
    td:first-child { overflow-wrap: anywhere }\n\
    th + th, td + td { text-align: right; white-space: nowrap }\n\
    </style>\n";
