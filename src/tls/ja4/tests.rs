use super::*;
use crate::tls::hello::tests::{OPENSSL_TLS12, OPENSSL_TLS13, hello, wire};

/// The example of the technical details, with GREASE where Chrome has it.
fn chrome() -> ClientHello {
    ClientHello {
        legacy_version: 0x0303,
        supported_versions: vec![0x5a5a, 0x0304, 0x0303],
        cipher_suites: vec![
            0xfafa, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
            0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ],
        extensions: vec![
            0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
            0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x9a9a,
        ],
        server_name: Some("www.shop.test".to_owned()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        signature_algorithms: vec![
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ],
        groups: vec![0x2a2a, 0x001d, 0x0017, 0x0018],
    }
}

#[test]
fn the_published_example_comes_out_as_published() {
    assert_eq!(ja4(&chrome()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let unsigned = ClientHello {
        signature_algorithms: Vec::new(),
        ..chrome()
    };
    assert_eq!(ja4(&unsigned), "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

#[test]
fn a_client_keeps_its_fingerprint_when_it_shuffles_its_extensions() {
    let mut shuffled = chrome();
    shuffled.extensions.reverse();
    shuffled.cipher_suites.rotate_left(3);
    assert_eq!(ja4(&shuffled), ja4(&chrome()));
}

/// The expected values were computed from the same bytes by an independent program.
#[test]
fn real_clients_have_their_fingerprint() {
    let ja4_of = |text| ja4(&hello(&wire(text)));
    assert_eq!(
        ja4_of(OPENSSL_TLS13),
        "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4"
    );
    assert_eq!(
        ja4_of(OPENSSL_TLS12),
        "t12i050600_9fb2f9c2e5cc_e7e480e5a997"
    );
}

#[test]
fn empty_lists_are_zeros() {
    let empty = ClientHello {
        legacy_version: 0x0301,
        ..ClientHello::default()
    };
    assert_eq!(ja4(&empty), "t10i000000_000000000000_000000000000");
    let only_grease = ClientHello {
        legacy_version: 0x0303,
        cipher_suites: vec![0x0a0a],
        extensions: vec![0x1a1a, 0x0000, 0x0010],
        ..ClientHello::default()
    };
    assert_eq!(ja4(&only_grease), "t12d000200_000000000000_000000000000");
}

#[test]
fn counts_stop_at_99() {
    let many = ClientHello {
        legacy_version: 0x0303,
        cipher_suites: (1..=150).collect(),
        extensions: (100..=250).collect(),
        ..ClientHello::default()
    };
    assert!(ja4(&many).starts_with("t12i999900_"));
}

#[test]
fn each_version_has_its_two_characters() {
    for (version, text) in [
        (0x0304, "13"),
        (0x0303, "12"),
        (0x0302, "11"),
        (0x0301, "10"),
        (0x0300, "s3"),
        (0x0002, "s2"),
        (0x0305, "00"),
    ] {
        let hello = ClientHello {
            legacy_version: version,
            ..ClientHello::default()
        };
        assert_eq!(&ja4(&hello)[1..3], text);
    }
}

#[test]
fn alpn_that_is_no_text_is_shown_in_hexadecimal() {
    // The table of the technical details.
    for (value, text) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"", "00"),
        (b"\xAB", "ab"),
        (b"\x20", "20"),
        (b"\xAB\xCD", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xAB", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xAB\xCD", "3d"),
        (b"\x30\xAB\xCD\x31", "01"),
    ] {
        assert_eq!(String::from_iter(alpn(value)), text, "{value:x?}");
    }
}
