//! What passes for a head has no byte that another reader could take for a line end, and hyper's own parser takes it too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::http::h1::head::{HeadLimits, Reading, read};

fuzz_target!(|bytes: &[u8]| {
    let limits = HeadLimits {
        bytes: 32 * 1024,
        fields: 100,
        target: 16 * 1024,
    };
    if let Reading::Whole(head) = read(bytes, &limits) {
        let text = &bytes[..head.length];
        assert!(head.length <= bytes.len());
        assert!(!text.contains(&0), "a NUL passed");
        let bare_cr = text
            .windows(2)
            .any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
        assert!(!bare_cr, "a bare CR passed");
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        assert!(
            matches!(request.parse(text), Ok(httparse::Status::Complete(length)) if length == head.length)
        );
        // hyper reads the target once more, and answers by itself where it cannot.
        let target = request.path.unwrap_or_default();
        assert!(
            http::Uri::try_from(target).is_ok(),
            "a target passed that is none: {target:?}"
        );
    }
});
