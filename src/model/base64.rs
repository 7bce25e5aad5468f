//! Base64 as RFC 4648 section 4 has it, with padding: the one thing that is needed of it is to write it.

/// Appends `bytes` to `text`.
pub(crate) fn encode(bytes: &[u8], text: &mut String) {
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // One byte makes two symbols, two make three.
            text.push(if place > group.len() {
                '='
            } else {
                let sextet = bits >> (18 - 6 * place) & 0x3f;
                char::from(ALPHABET[sextet as usize])
            });
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
