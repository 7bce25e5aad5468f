//! What is compressed here is read by whoever reads brotli.

use rustls::compress::BROTLI_DECOMPRESSOR;

use super::*;

#[test]
fn whatever_is_compressed_is_read_again() {
    for length in [0, 1, 2_000, 6_000, 100_000] {
        let original: Vec<u8> = (0..length).map(|at| (at * at / 7) as u8).collect();
        let compressed = Brotli
            .compress(original.clone(), CompressionLevel::Amortized)
            .expect("compressed");
        let mut read = vec![0; length];
        BROTLI_DECOMPRESSOR
            .decompress(&compressed, &mut read)
            .expect("decompressed");
        assert!(read == original, "{length}");
    }
}
