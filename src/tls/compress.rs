//! Compressing certificates (RFC 8879) with brotli, which browsers take.

use std::io::Write;

use rustls::CertificateCompressionAlgorithm;
use rustls::compress::{CertCompressor, CompressionFailed, CompressionLevel, ZLIB_COMPRESSOR};

/// What certificates are compressed with, the better one first.
pub(super) fn compressors() -> Vec<&'static dyn CertCompressor> {
    vec![&Brotli, ZLIB_COMPRESSOR]
}

/// brotli with a window that a chain fits into: 1 MiB of memory for some milliseconds of the first handshake with each
/// certificate, on a data thread. rustls' own, with a window of 4 MiB, takes 33 MiB for the same bytes.
#[derive(Debug)]
struct Brotli;

impl CertCompressor for Brotli {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let mut compressor = brotli::CompressorWriter::new(
            Vec::with_capacity(input.len()),
            BUFFER_BYTES,
            QUALITY,
            WINDOW_BITS,
        );
        compressor
            .write_all(&input)
            .map_err(|_| CompressionFailed)?;
        Ok(compressor.into_inner())
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

/// A chain is 2 to 6 kB long.
const BUFFER_BYTES: usize = 4096;
/// 32 KiB.
const WINDOW_BITS: u32 = 15;
/// A chain of 4.9 kB comes to 4352 bytes with 4, 4216 with 5 to 7, 4130 with 9, 4032 with 10 and 11; and 5 to 9 take 32 MiB
/// whatever the window.
const QUALITY: u32 = 10;

#[cfg(test)]
mod tests;
