//! Any bytes are a header of the PROXY protocol or are refused; a client that a first version names is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::listener::proxied::{Proxied, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Proxied::Client(client)) = parse(bytes)
        && let Some(line) = bytes.strip_prefix(b"PROXY ")
    {
        let port = format!(" {} ", client.port());
        assert!(
            line.ends_with(b"\r\n") && line.len() <= 101,
            "a line that does not end was read"
        );
        // Leading zeros aside, the port stands there as it was understood.
        let text = String::from_utf8_lossy(line).replace(" 0", " ");
        assert!(text.contains(port.trim()), "{client} is not in {text:?}");
    }
});
