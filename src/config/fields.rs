//! Fields of messages: names and values as they are written, and tables that set, add and remove them.

use std::ops::Range;

use http::HeaderName;
use toml::de::DeValue;

use super::keys;
use super::reader::Table;
use super::wrong::{self, Wrong};
use crate::model::template::{Placeholder, Template};
use crate::model::{FieldChanges, FieldText};

/// Reads a table of fields: each name with a string, or with an array of strings for a field that is sent several times. What
/// `name` or `take` find wrong is reported.
pub(super) fn each(
    table: &Table<'_>,
    key: &str,
    name: impl Fn(&str) -> Result<HeaderName, Wrong>,
    mut take: impl FnMut(HeaderName, &DeValue<'_>) -> Result<(), Wrong>,
) {
    let Some(entries) = table.entries(key) else {
        return;
    };
    // The map is sorted by name; a name in two spellings is reported at the one that stands later in the file.
    let mut fields: Vec<_> = entries.value.iter().collect();
    fields.sort_by_key(|(key, _)| key.span().start);
    let mut first: Vec<(HeaderName, Range<usize>)> = Vec::new();
    for (key, value) in fields {
        let name = match name(key.get_ref()) {
            Ok(name) => name,
            Err(wrong) => {
                table.reader.wrong(&key.span(), wrong);
                continue;
            }
        };
        if let Some((_, span)) = first.iter().find(|(other, _)| *other == name) {
            let message = format!("the field `{name}` is there twice, as case makes no difference");
            let found = table.reader.error("duplicate-key", &key.span(), message);
            let found = found.help(format!(
                "write all values in one array: {name} = [\"…\", \"…\"]"
            ));
            table
                .reader
                .report(found.related(table.reader.place(span), "here first"));
            continue;
        }
        first.push((name.clone(), key.span()));
        let mut one = |span: &Range<usize>, value: &DeValue<'_>| {
            if let Err(wrong) = take(name.clone(), value) {
                table.reader.wrong(span, wrong);
            }
        };
        match value.get_ref() {
            DeValue::Array(values) => {
                for value in values.iter() {
                    one(&value.span(), value.get_ref());
                }
            }
            only => one(&value.span(), only),
        }
    }
}

/// Fields that belong to the connection or say where a message ends (RFC 9110, 7.6.1 and 8.6) are set by whoever writes the
/// message; from a configuration they would only lie.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A field's name.
pub(super) fn name(text: &str) -> Result<HeaderName, Wrong> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new("bad-header", format!("{text:?} is no field name"))
            .help("a field name is letters, digits and hyphens, as in content-type")
    })?;
    if FRAMING.contains(&name.as_str()) {
        let message = format!("`{name}` is set by Portunus itself, as the connection needs it");
        return Err(Wrong::new("framing-header", message).help("remove the field"));
    }
    Ok(name)
}

/// Whose fields are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Requests,
    Responses,
}

/// `request_fields` or `response_fields`; none where nothing changes.
pub(super) fn changes(table: &Table<'_>, of: Of) -> Option<FieldChanges> {
    let key = match of {
        Of::Requests => "request_fields",
        Of::Responses => "response_fields",
    };
    let table = table.table(key, &keys::FIELDS)?;
    let mut changes = FieldChanges::default();
    each(
        &table,
        "set",
        |text| name_of(text, of),
        |name, value| {
            changes
                .set
                .push((name.clone(), text(name.as_str(), value)?));
            Ok(())
        },
    );
    each(
        &table,
        "add",
        |text| name_of(text, of),
        |name, value| {
            changes
                .add
                .push((name.clone(), text(name.as_str(), value)?));
            Ok(())
        },
    );
    for at in table.strings("remove").into_iter().flat_map(|at| at.value) {
        match name_of(at.value, of) {
            Ok(name) => changes.remove.push(name),
            Err(wrong) => table.reader.wrong(&at.span, wrong),
        }
    }
    Some(changes).filter(|changes| !changes.is_empty())
}

/// A name that may be set and removed. Some have keys of their own.
fn name_of(text: &str, of: Of) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    let instead = match (of, name.as_str()) {
        (Of::Requests, "host") => "write `rewrite = { host = \"…\" }`",
        (Of::Requests, "client-cert" | "client-cert-chain") => {
            "write `client_certificate_fields` in the proxy handler: upstreams believe these"
        }
        (Of::Requests, "expect") => "remove it: content is asked for when an upstream wants it",
        (Of::Responses, "date") => "remove it: every response carries the time that it was made",
        _ => return Ok(name),
    };
    let message = format!("`{name}` is not changed here");
    Err(Wrong::new("own-header", message).help(instead))
}

/// A field's value, with placeholders.
fn text(key: &str, value: &DeValue<'_>) -> Result<FieldText, Wrong> {
    let fixed = wrong::field_value(key, value)?;
    let text = wrong::string(key, value)?;
    if text.is_empty() {
        let message = format!("`{key}` is set to nothing");
        return Err(Wrong::new("empty-value", message)
            .help(format!("to have none, write `remove = [\"{key}\"]`")));
    }
    let known: Vec<_> = Placeholder::of_requests().collect();
    unknown_placeholder(text, &known)?;
    let template = Template::parse(text, &known);
    Ok(match template.is_fixed() {
        true => FieldText::Fixed(fixed),
        false => FieldText::Filled(template),
    })
}

/// Braces around a word are a placeholder, and one that is not known is a slip; other braces are text, as in JSON.
fn unknown_placeholder(text: &str, known: &[Placeholder]) -> Result<(), Wrong> {
    for (_, behind) in text.match_indices('{').map(|(at, _)| text.split_at(at + 1)) {
        let Some((name, _)) = behind.split_once('}') else {
            continue;
        };
        let is_word = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let names = || known.iter().map(|placeholder| placeholder.as_str());
        if !is_word(name) || names().any(|known| known == name) {
            continue;
        }
        let wrong = Wrong::new(
            "unknown-placeholder",
            format!("there is no placeholder {{{name}}}"),
        );
        return Err(wrong.help(match keys::nearest(name, names()) {
            Some(near) => format!("write {{{near}}}"),
            None => {
                let all: Vec<_> = names().map(|name| format!("{{{name}}}")).collect();
                format!("there are {}", all.join(", "))
            }
        }));
    }
    Ok(())
}
