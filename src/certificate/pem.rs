//! Where in a PEM file something is wrong. Only asked when something is: the file is read by `rustls-pemfile`.

use std::fmt;

/// What is wrong with a PEM file, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1.
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The first fault of a text that is to hold PEM sections (RFC 7468); none where its form is right.
pub(super) fn fault(text: &[u8]) -> Option<Fault> {
    let mut open: Option<(usize, String)> = None;
    for (line, text) in lines(text) {
        if let Some(label) = label(text, BEGIN) {
            if let Some((begun, label)) = open {
                return Some(unended(begun, &label));
            }
            open = Some((line, label));
        } else if let Some(label) = label(text, END) {
            match open.take() {
                Some((_, begun)) if begun == label => {}
                Some((at, begun)) => {
                    let what = format!("END {label} ends what line {at} begins with BEGIN {begun}");
                    return Some(Fault { line, what });
                }
                None => {
                    let what = format!("END {label} has no BEGIN");
                    return Some(Fault { line, what });
                }
            }
        } else if text.starts_with(b"-----") {
            let what = "this is neither -----BEGIN …----- nor -----END …-----".to_owned();
            return Some(Fault { line, what });
        } else if let Some(odd) = odd(text).filter(|_| open.is_some()) {
            let what = format!("{odd:?} does not belong into base64");
            return Some(Fault { line, what });
        }
    }
    open.map(|(begun, label)| unended(begun, &label))
}

/// The line on which the certificate of this number begins, counted from 0.
pub(super) fn line_of_certificate(text: &[u8], number: usize) -> Option<usize> {
    let mut begins = lines(text)
        .filter(|(_, text)| label(text, BEGIN).is_some_and(|label| label == "CERTIFICATE"));
    begins.nth(number).map(|(line, _)| line)
}

/// What a file holds in the place of a certificate: the labels of its sections, each once.
pub(super) fn labels(text: &[u8]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for (_, text) in lines(text) {
        if let Some(label) = label(text, BEGIN)
            && !labels.contains(&label)
            && labels.len() < LABELS_MAX
        {
            labels.push(label);
        }
    }
    labels
}

fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .map(<[u8]>::trim_ascii)
        .enumerate()
        .map(|(at, text)| (at + 1, text))
}

fn label(line: &[u8], begins: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begins)?.strip_suffix(b"-----")?;
    // Nothing of a file is repeated that may not be a label: it may be a key.
    let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let fits = label.len() <= LABEL_BYTES_MAX && label.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(label).into_owned())
}

/// A character that base64 has not; the header lines of old encrypted keys (RFC 1421) have a colon and are none of ours.
fn odd(line: &[u8]) -> Option<char> {
    if line.contains(&b':') {
        return None;
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=,-".contains(byte);
    let at = line.iter().position(|byte| !fits(byte))?;
    String::from_utf8_lossy(&line[at..]).chars().next()
}

fn unended(line: usize, label: &str) -> Fault {
    let what = format!("BEGIN {label} has no END");
    Fault { line, what }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The longest label in use, `X509 CRL` and its like aside, is `ENCRYPTED PRIVATE KEY`.
const LABEL_BYTES_MAX: usize = 64;
const LABELS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Option<String> {
        fault(text.as_bytes()).map(|fault| fault.to_string())
    }

    #[test]
    fn the_line_of_a_fault_is_named() {
        let good = "words\n-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\n";
        assert_eq!(said(good), None);
        assert_eq!(said(""), None);
        for (text, expected) in [
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "line 1: BEGIN CERTIFICATE has no END",
            ),
            (
                "\n-----END CERTIFICATE-----\n",
                "line 2: END CERTIFICATE has no BEGIN",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAA!A\n-----END CERTIFICATE-----\n",
                "line 2: '!' does not belong into base64",
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----END B-----\n",
                "line 3: END B ends what line 1 begins with BEGIN A",
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----BEGIN A-----\n",
                "line 1: BEGIN A has no END",
            ),
            (
                "----- BEGIN A -----\n",
                "line 1: this is neither -----BEGIN …----- nor -----END …-----",
            ),
        ] {
            assert_eq!(said(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn certificates_are_found_by_their_number() {
        let text = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\nx\n-----BEGIN CERTIFICATE-----\n";
        assert_eq!(line_of_certificate(text.as_bytes(), 0), Some(1));
        assert_eq!(line_of_certificate(text.as_bytes(), 1), Some(4));
        assert_eq!(line_of_certificate(text.as_bytes(), 2), None);
        assert_eq!(labels(text.as_bytes()), ["CERTIFICATE"]);
    }

    proptest! {
        /// What is said of a file is short, whatever is in it: it may be a key.
        #[test]
        fn no_line_of_a_file_is_repeated(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            if let Some(fault) = fault(&bytes) {
                prop_assert!(fault.to_string().len() < 300);
            }
            prop_assert!(labels(&bytes).len() <= LABELS_MAX);
            let _ = line_of_certificate(&bytes, 3);
        }
    }
}
