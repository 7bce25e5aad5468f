//! Text of others, made fit for a terminal: what a client sends could move the cursor, change colours or turn lines round.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` without anything that a terminal obeys: each such character is written as `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed, |out, sign| {
        // Writing to memory does not fail.
        let _ = write!(out, "\\u{{{:x}}}", u32::from(sign));
    })
}

/// The same for text of several lines, whose ends stay.
pub fn plain_lines(text: String) -> String {
    lines_escaped(text, |out, sign| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(sign));
    })
}

/// The same for JSON that is written already. Whoever writes JSON escapes what is below a space, and leaves the rest; as the rest
/// stands in strings alone, it can be escaped as strings are, and says the same.
pub fn plain_json(text: String) -> String {
    lines_escaped(text, |out, sign| {
        let _ = write!(out, "\\u{:04x}", u32::from(sign));
    })
}

fn lines_escaped(text: String, write: impl Fn(&mut String, char)) -> String {
    // Answers have megabytes, and mostly nothing else: looked at without a branch a byte.
    let of_print = |bytes: &[u8]| {
        let all = bytes.iter();
        all.fold(true, |so_far, it| {
            so_far & matches!(it, b'\n' | b' '..=b'~')
        })
    };
    if text.as_bytes().chunks(4096).all(of_print) {
        return text;
    }
    let obeyed = |sign| sign != '\n' && is_obeyed(sign);
    escaped(&text, obeyed, write).into_owned()
}

fn escaped(
    text: &str,
    obeyed: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.chars().any(&obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match obeyed(sign) {
            true => write(&mut out, sign),
            false => out.push(sign),
        }
    }
    Cow::Owned(out)
}

/// Control characters (a terminal takes U+009B for ESC and a bracket), what ends lines elsewhere, and what turns the direction
/// of writing: `moc.elpmaxe` reads as another host then. All of them are within 16 bits, as JSON escapes them.
fn is_obeyed(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(plain("/shop?a=ü"), "/shop?a=ü");
        assert_eq!(plain("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(
            plain("\u{9b}31m\u{7f}\u{202e}"),
            "\\u{9b}31m\\u{7f}\\u{202e}"
        );
        assert_eq!(plain_lines("a\r\n\x07".into()), "a\\u{d}\n\\u{7}");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>()) {
            prop_assert!(!plain(&text).chars().any(is_obeyed));
            prop_assert!(!plain_lines(text).chars().any(|it| it != '\n' && is_obeyed(it)));
        }

        #[test]
        fn json_says_the_same_as_before(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a string");
            let escaped = plain_json(json);
            prop_assert!(!escaped.chars().any(is_obeyed));
            let read: String = serde_json::from_str(&escaped).expect("a string");
            prop_assert_eq!(read, text);
        }
    }
}
