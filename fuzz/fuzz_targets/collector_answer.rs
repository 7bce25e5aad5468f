//! Whatever a collector answers, reading it ends, and what it says is short enough for a line of a log and has nothing in it that a
//! terminal would obey.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let partial = portunus::traces::partial_success(bytes);
    assert!(partial.message.chars().count() <= 200);
    assert!(!partial.message.contains(char::is_control));
});
