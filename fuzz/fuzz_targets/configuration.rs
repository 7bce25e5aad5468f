//! Any text is either a configuration or has a finding that says why not, and the findings can be written out.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use portunus::config::parse;

fuzz_target!(|text: &str| {
    let loaded = parse(text, Path::new("bindings.toml"));
    assert_eq!(loaded.config.is_none(), loaded.has_errors());
    assert_eq!(
        loaded.diagnostics.is_empty(),
        loaded.render(false).is_empty()
    );
});
