//! One source file, read closely enough to tell code from comments, strings and tests. Not a parser: it knows where things
//! end, not what they mean.

use std::ops::Range;

/// A source file with its comments and literals told apart from its code.
pub(crate) struct Source {
    /// The path from `src`, with `/` between the parts.
    pub(crate) path: String,
    /// The text as it was written.
    pub(crate) text: String,
    /// The text with comments and the content of literals blanked: the same length, the same lines.
    pub(crate) code: String,
    /// The text with all but comments blanked.
    pub(crate) comments: String,
    line_starts: Vec<usize>,
    tests: Vec<Range<usize>>,
}

/// What a byte of the text belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let parts = parts(text);
        let code = keep(text, &parts, Part::Code);
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            comments: keep(text, &parts, Part::Comment),
            tests: test_items(&code),
            line_starts,
            code,
        }
    }

    /// The line of a byte offset, counted from 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    /// How many lines the text has.
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the whole file is tests.
    pub(crate) fn is_tests(&self) -> bool {
        self.path.split('/').any(|part| part == "tests") || self.path.ends_with("tests.rs")
    }

    /// Whether this place is inside a `#[cfg(test)]` item.
    pub(crate) fn in_tests(&self, at: usize) -> bool {
        self.is_tests() || self.tests.iter().any(|tests| tests.contains(&at))
    }

    /// Whether the line of this place, or the one before it, carries a comment.
    pub(crate) fn has_comment_near(&self, at: usize) -> bool {
        let line = self.line_of(at);
        let first = self.line_starts[line.saturating_sub(2)];
        let end = self.line_starts.get(line).copied();
        let near = &self.comments[first..end.unwrap_or(self.comments.len())];
        near.contains("//") || near.contains("/*")
    }

    /// The content of the string literal that begins at or right after this place; none if something else stands there.
    pub(crate) fn literal_at(&self, at: usize) -> Option<&str> {
        let rest = &self.text[at..];
        let start = at + rest.len() - rest.trim_start().len();
        let rest = self.text[start..].strip_prefix('"')?;
        let content = &self.code[start + 1..];
        Some(&rest[..content.find('"')?])
    }

    /// Every place where `word` stands in the code as a whole word, outside tests.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word).filter(|&at| !self.in_tests(at))
    }
}

/// Every place where `word` stands in `text` with no letter, digit or underscore beside it.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !(before.is_some_and(is_word) || word.ends_with(is_word) && after.is_some_and(is_word))
        })
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The offset behind the bracket that closes the one at `open`.
pub(crate) fn close_of(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The first of `;` and `{` behind `from` that no bracket holds: where an item's head ends.
pub(crate) fn head_end(code: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'(' | b'[' => at = close_of(code, at),
            b'{' | b';' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The items that only tests are compiled with.
fn test_items(code: &str) -> Vec<Range<usize>> {
    ["#[cfg(test", "#[cfg(all(test", "#[test]"]
        .iter()
        .flat_map(|attribute| code.match_indices(attribute))
        .filter_map(|(start, _)| {
            // The head begins behind the attribute's own bracket.
            let end = head_end(code, close_of(code, start + 1))?;
            Some(match code.as_bytes()[end] {
                b'{' => start..close_of(code, end),
                _ => start..end,
            })
        })
        .collect()
}

/// The text with every byte of another part blanked; line ends stay, and so do the quotes round a literal.
fn keep(text: &str, parts: &[Part], part: Part) -> String {
    let kept = text.bytes().zip(parts).map(|(byte, of)| match byte {
        b'\n' => byte,
        _ if *of == part => byte,
        _ => b' ',
    });
    String::from_utf8(kept.collect()).expect("a part begins and ends at a character's border")
}

fn parts(text: &str) -> Vec<Part> {
    let bytes = text.as_bytes();
    let mut parts = vec![Part::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let (part, inner, end) = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            (Part::Comment, at, at + length)
        } else if rest.starts_with("/*") {
            (Part::Comment, at, at + block_comment(rest))
        } else if let Some(hashes) = raw_string(text, at) {
            let open = at + hashes + 2;
            let close = format!("\"{}", "#".repeat(hashes));
            let length = text[open..].find(&close).unwrap_or(text.len() - open);
            (Part::Literal, open, open + length)
        } else if bytes[at] == b'"' {
            (Part::Literal, at + 1, at + 1 + quoted(&rest[1..], b'"'))
        } else if bytes[at] == b'\'' && is_char(rest) {
            (Part::Literal, at + 1, at + 1 + quoted(&rest[1..], b'\''))
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        parts[inner..end].fill(part);
        // A literal's closing quote is code; stepping over it keeps it from opening another.
        at = end + usize::from(part == Part::Literal);
    }
    parts
}

/// The length of the block comment that `rest` begins with; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// How many hashes the raw string at `at` opens with; none if no raw string begins there.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].chars().next_back();
    let prefixed = before.is_some_and(|c| is_word(c) && c != 'b' && c != 'c');
    let rest = text[at..].strip_prefix('r').filter(|_| !prefixed)?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The offset of the quote that ends a literal, behind escapes.
fn quoted(content: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at,
            _ => {}
        }
    }
    content.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(rest: &str) -> bool {
    let mut inner = rest.chars().skip(1);
    matches!(
        (inner.next(), inner.next()),
        (Some('\\'), _) | (Some(_), Some('\''))
    )
}
