//! Any bytes are a certificate's files, or what is wrong with them is said in a line that holds nothing of a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::certificate::{Certificate, Content, Files};

fuzz_target!(|both: (&[u8], &[u8])| {
    let files = Files {
        chain: "chain.pem".into(),
        key: "chain.key".into(),
    };
    let content = Content::of(Some(both.0), Some(both.1));
    if let Err(error) = Certificate::read(&files, &content) {
        let said = error.to_string();
        assert!(!said.contains("PRIVATE KEY-----"), "{said}");
        assert!(said.len() < 2000, "a finding is a line: {said}");
    }
});
