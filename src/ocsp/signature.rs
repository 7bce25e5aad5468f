//! Signatures: of a response, and of a certificate that may sign responses. The mathematics is aws-lc's, by way of rustls.

use rasn::types::{Any, BitString, SequenceOf};
use rasn::{AsnType, Decode, Decoder};

/// What is common to certificates and responses: what is signed, byte by byte as it came, and by what.
#[derive(AsnType, Clone, Debug, Decode)]
pub(super) struct Signed {
    /// What is signed.
    pub(super) content: Any,
    algorithm: Any,
    signature: BitString,
    /// In a response: certificates that help to verify it.
    #[rasn(tag(explicit(0)))]
    pub(super) certificates: Option<SequenceOf<Any>>,
}

/// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
#[derive(AsnType, Clone, Debug, Decode)]
struct PublicKey {
    algorithm: Any,
    key: BitString,
}

impl Signed {
    /// Whether this key has signed it, by an algorithm that clients take too.
    pub(super) fn is_signed_by(&self, public_key_info: &[u8]) -> bool {
        let Ok(PublicKey { algorithm, key }) = rasn::der::decode(public_key_info) else {
            return false;
        };
        let (Some(key), Some(signature)) = (whole_bytes(&key), whole_bytes(&self.signature)) else {
            return false;
        };
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all
            .iter()
            .filter(|known| {
                Some(known.public_key_alg_id().as_ref()) == inside(algorithm.as_bytes())
                    && Some(known.signature_alg_id().as_ref()) == inside(self.algorithm.as_bytes())
            })
            .any(|known| {
                known
                    .verify_signature(key, self.content.as_bytes(), signature)
                    .is_ok()
            })
    }
}

/// What is in a SEQUENCE whose length takes one byte, as that of every algorithm does.
fn inside(sequence: &[u8]) -> Option<&[u8]> {
    match sequence {
        [0x30, length @ ..0x80, content @ ..] if content.len() == usize::from(*length) => {
            Some(content)
        }
        _ => None,
    }
}

fn whole_bytes(bits: &BitString) -> Option<&[u8]> {
    bits.len().is_multiple_of(8).then(|| bits.as_raw_slice())
}
