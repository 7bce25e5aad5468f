//! Any bytes in the files of a certificate are one that can be shown, or an error that says in one line which file and why.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use portunus::certificate::{Certificate, Content, Files};

fuzz_target!(|bytes: &[u8]| {
    // What comes before the first 0xff is the chain, then the key, then the password: PEM and passwords hold none.
    let mut parts = bytes.splitn(3, |byte| *byte == 0xff);
    let (chain, key, password) = (parts.next(), parts.next(), parts.next());
    let content = Content::of(chain, key).with_password(password.unwrap_or_default());
    read("a.pem", &content);
    // PKCS#12 is binary, and its password short.
    let (password, chain) = bytes.split_at(bytes.len().min(4));
    let content = Content::of(Some(chain), None).with_password(password);
    read("a.pfx", &content);
});

fn read(chain: &str, content: &Content) {
    let files = Files {
        chain: chain.into(),
        key: "a.key".into(),
        passwords: vec!["a.password".into()],
    };
    match Certificate::read(&files, content) {
        Ok(certificate) => {
            assert_eq!(certificate.file, Path::new(chain));
            assert_eq!(certificate.fingerprint().len(), 64);
            assert!(certificate.key.keys_match().is_ok());
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                (text.contains("a.") || text.contains("password")) && text.chars().count() < 600,
                "{text}"
            );
            assert!(!text.contains(char::is_control), "{text}");
            assert!(!error.code().is_empty());
        }
    }
}
