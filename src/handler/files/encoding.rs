//! Accept-Encoding (RFC 9110 §12.5.3): which compressed siblings of a file a client takes.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding that a sibling may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Zstd,
    Brotli,
    Gzip,
}

impl Encoding {
    /// In our own order of preference, which decides where the client has none: zstd is the quickest to decode.
    const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];

    /// What the sibling's name has behind the file's.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Encoding::Zstd => ".zst",
            Encoding::Brotli => ".br",
            Encoding::Gzip => ".gz",
        }
    }

    /// As Content-Encoding names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }
}

/// The weights that a client gives, in thousandths; none where it says nothing.
#[derive(Default)]
struct Weights {
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    others: Option<u16>,
}

/// The codings that the client takes and likes no less than the file as it is, best first.
///
/// A client that says nothing gets the file as it is: to take anything is not to ask for compression. So does one that
/// refuses everything, `identity` included: RFC 9110 §12.5.3 leaves that to the server, and a file that can be read is more
/// use than a 406.
pub(super) fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Encoding> + use<> {
    let mut weights = Weights::default();
    for field in headers.get_all(ACCEPT_ENCODING) {
        for member in field.as_bytes().split(|byte| *byte == b',') {
            weights.take(member.trim_ascii());
        }
    }
    let least = weights.identity.unwrap_or(0).max(1);
    let mut ranked: [(u16, Encoding); 3] = std::array::from_fn(|index| {
        let weight = weights.codings[index].or(weights.others).unwrap_or(0);
        (weight, Encoding::ALL[index])
    });
    // Stable: our own order stands where the weights are alike.
    ranked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranked
        .into_iter()
        .take_while(move |(weight, _)| *weight >= least)
        .map(|(_, encoding)| encoding)
}

impl Weights {
    fn take(&mut self, member: &[u8]) {
        let mut parts = member.split(|byte| *byte == b';');
        let coding = parts.next().unwrap_or_default().trim_ascii();
        let weight = Some(parts.next().map_or(1000, weight));
        if coding == b"*" {
            self.others = weight;
        } else if coding.eq_ignore_ascii_case(b"identity") {
            self.identity = weight;
        } else if let Some(index) = Encoding::ALL
            .iter()
            .position(|encoding| coding.eq_ignore_ascii_case(encoding.name().as_bytes()))
        {
            self.codings[index] = weight;
        } else if coding.eq_ignore_ascii_case(b"x-gzip") {
            // RFC 9110 §8.4.1.3: the same as gzip.
            self.codings[2] = weight;
        }
    }
}

/// `q=0.5` in thousandths. What is malformed is taken for a refusal: the file as it is is never wrong.
fn weight(parameter: &[u8]) -> u16 {
    let parameter = parameter.trim_ascii();
    let [b'q' | b'Q', b'=', value @ ..] = parameter else {
        return 0;
    };
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return 0,
    };
    let mut thousandths = u16::from(whole - b'0') * 1000;
    let mut place = 100;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return 0;
        }
        thousandths += u16::from(digit - b'0') * place;
        place /= 10;
    }
    thousandths.min(1000)
}

#[cfg(test)]
mod tests;
