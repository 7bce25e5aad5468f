//! What a route says of the requests that it carries: fields, what they are called upstream, and how long they may take.

use std::time::Duration;

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Rewrite;
use super::template::{Template, Values};

/// What a route says to whoever carries its requests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRules {
    /// What becomes of the fields of requests.
    pub request_fields: FieldChanges,
    /// What requests are called upstream; none: as the client called them.
    pub rewrite: Option<Rewrite>,
    /// Until the response's head; none: as the handler says.
    pub response_timeout: Option<Duration>,
    /// The longest gap between two pieces of the response's body; none: as the handler says.
    pub body_timeout: Option<Duration>,
}

/// What becomes of a message's fields: some are taken out, then some set, then some added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldChanges {
    /// Taken out.
    pub remove: Vec<HeaderName>,
    /// Put in the place of any of that name. Several of a name stand side by side.
    pub set: Vec<(HeaderName, FieldText)>,
    /// Put beside those of that name.
    pub add: Vec<(HeaderName, FieldText)>,
}

/// The value of a field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldText {
    /// Always the same.
    Fixed(HeaderValue),
    /// With placeholders. One that comes out empty is not sent.
    Filled(Template),
}

impl FieldChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes the fields of a message.
    pub fn apply(&self, fields: &mut HeaderMap, values: &impl Values) {
        for name in self
            .remove
            .iter()
            .chain(self.set.iter().map(|(name, _)| name))
        {
            if let Entry::Occupied(known) = fields.entry(name) {
                known.remove_entry_mult();
            }
        }
        for (name, text) in self.set.iter().chain(&self.add) {
            if let Some(value) = text.value(values) {
                fields.append(name, value);
            }
        }
    }
}

impl FieldText {
    /// The value; none where it says nothing.
    fn value(&self, values: &impl Values) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Filled(template) => {
                let text = template.fill(values);
                let text = text.trim();
                // What is filled in is visible ASCII; should it not be, the field is not sent.
                (!text.is_empty())
                    .then(|| HeaderValue::from_str(text).ok())
                    .flatten()
            }
        }
    }
}

#[cfg(test)]
mod tests;
