//! What an error says, whole.

use std::error::Error;

/// An error's words with those of its causes: much of what goes wrong is only said there.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
