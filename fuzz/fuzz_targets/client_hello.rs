//! Any bytes are a ClientHello, the beginning of one, or neither; what was read can be fingerprinted and logged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::tls::hello::{Reading, read};
use portunus::tls::ja4::ja4;

fuzz_target!(|bytes: &[u8]| {
    if let Reading::Hello(hello) = read(bytes) {
        assert_eq!(
            ja4(&hello).len(),
            "t13d1516h2_8daaf6152771_02713d6af862".len()
        );
        assert!(!hello.offered_alpn().contains(|c: char| c.is_control()));
        assert!(
            hello.offered_versions().len() < 300,
            "a line of a log is bounded"
        );
    }
});
