//! Host and `:authority`: what is taken has one normal form, and that form means itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::model::{HostName, split_authority};

fuzz_target!(|text: &str| {
    if let Ok((host, _)) = split_authority(text) {
        let again = HostName::parse(host.as_str());
        assert_eq!(
            again,
            Ok(host),
            "the normal form of a normal form is itself"
        );
    }
});
