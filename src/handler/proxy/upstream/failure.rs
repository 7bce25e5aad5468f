//! What a failure is told as: an error with everything that lies under it.

use std::error::Error;
use std::fmt::Write as _;

/// The sentence of an error and of its causes, each once: hyper says "connection error", and what is under it says why.
pub(super) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    text
}
