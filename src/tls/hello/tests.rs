use proptest::prelude::*;

use super::*;

/// `openssl s_client -servername www.shop.test -alpn h2,http/1.1`, OpenSSL 3.0, as it came over the wire.
pub(crate) const OPENSSL_TLS13: &str = "160301014c0100014803034eff7e790c832ffbea9e945f89d21d44529d229738c404ba9f43269c3bcc411e208d4dd2093768ad81316af91c6564 \
     14b3ec4ac48d97b6f12522f9f1fe93cc79f7003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00a \
     c0140039c009c0130033009d009c003d003c0035002f00ff010000c100000012001000000d7777772e73686f702e74657374000b000403000102 \
     000a00160014001d0017001e0019001801000101010201030104002300000010000e000c02683208687474702f312e310016000000170000000d \
     002a0028040305030603080708080809080a080b080408050806040105010601030303010302040205020602002b000908030403030302030100 \
     2d00020101003300260024001d0020281ac2268abfd28011c0da1e8f23fe3bc54c508c6bc6a4bbb098b569e0c14925";

/// `openssl s_client -noservername -tls1_2 -cipher ECDHE+AESGCM`, OpenSSL 3.0, as it came over the wire.
pub(crate) const OPENSSL_TLS12: &str = "1603010089010000850303bb683790739d4ffb279a2f32f259b0cf81c34e687e5baa1adde3fb3902103dce00000ac02cc030c02bc02f00ff0100 \
     0052000b000403000102000a000c000a001d0017001e00190018002300000016000000170000000d002a0028040305030603080708080809080a \
     080b080408050806040105010601030303010302040205020602";

pub(crate) fn wire(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn hello(wire: &[u8]) -> ClientHello {
    match read(wire) {
        Reading::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// The same handshake message in records of `size` bytes.
fn split(wire: &[u8], size: usize) -> Vec<u8> {
    records(&wire[RECORD_HEADER..], size)
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(size) {
        out.extend_from_slice(&[HANDSHAKE, 3, 1]);
        out.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A ClientHello with these extensions and nothing else of interest.
fn with_extensions(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, content) in extensions {
        block.extend_from_slice(&kind.to_be_bytes());
        block.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        block.extend_from_slice(content);
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend_from_slice(&u16::try_from(block.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&block);
    let mut message = vec![CLIENT_HELLO, 0];
    message.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&body);
    records(&message, RECORD_BYTES_MAX)
}

fn with_name(name: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let mut content = vec![0, length + 3, HOST_NAME, 0, length];
    content.extend_from_slice(name);
    with_extensions(&[(SERVER_NAME, &content)])
}

#[test]
fn what_a_real_client_offers_is_read() {
    let hello = hello(&wire(OPENSSL_TLS13));
    assert_eq!(hello.legacy_version, 0x0303);
    assert_eq!(hello.server_name.as_deref(), Some("www.shop.test"));
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(hello.supported_versions, [0x0304, 0x0303, 0x0302, 0x0301]);
    assert_eq!(hello.cipher_suites[..3], [0x1302, 0x1303, 0x1301]);
    assert_eq!(hello.cipher_suites.len(), 31);
    assert_eq!(
        hello.extensions,
        [0, 11, 10, 35, 16, 22, 23, 13, 43, 45, 51]
    );
    assert_eq!(hello.groups[..2], [0x001d, 0x0017]);
    assert_eq!(hello.signature_algorithms[..2], [0x0403, 0x0503]);
    assert_eq!(hello.offered_versions(), "TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3");
    assert_eq!(hello.offered_alpn(), "h2 http/1.1");
}

#[test]
fn a_client_of_the_older_kind_is_read() {
    let hello = hello(&wire(OPENSSL_TLS12));
    assert_eq!(hello.server_name, None);
    assert_eq!(hello.supported_versions, [0; 0]);
    assert_eq!(hello.offered_versions(), "TLSv1.2");
    assert_eq!(hello.offered_alpn(), "");
    assert_eq!(
        hello.cipher_suites,
        [0xc02c, 0xc030, 0xc02b, 0xc02f, 0x00ff]
    );
}

#[test]
fn every_beginning_of_a_hello_asks_for_more() {
    for text in [OPENSSL_TLS13, OPENSSL_TLS12] {
        let whole = wire(text);
        for wire in [whole.clone(), split(&whole, 50)] {
            for end in 0..wire.len() {
                assert_eq!(read(&wire[..end]), Reading::Incomplete, "{end}");
            }
            hello(&wire);
        }
    }
}

#[test]
fn a_hello_may_come_in_several_records_and_something_may_follow_it() {
    let whole = wire(OPENSSL_TLS13);
    let expected = hello(&whole);
    for size in [12, 13, 100, whole.len()] {
        let mut wire = split(&whole, size);
        assert_eq!(hello(&wire), expected, "{size}");
        wire.extend_from_slice(b"early data, say");
        assert_eq!(hello(&wire), expected, "{size}");
    }
}

#[test]
fn nobody_can_have_more_kept_than_the_bound() {
    let records_of_one = split(&wire(OPENSSL_TLS13), 1);
    assert_eq!(
        read(&records_of_one),
        Reading::Malformed(Malformed::Records)
    );

    let over = u32::try_from(HELLO_BYTES_MAX + 1).unwrap().to_be_bytes();
    let over = [&[CLIENT_HELLO], &over[1..]].concat();
    assert_eq!(
        read(&records(&over, 100)),
        Reading::Malformed(Malformed::Length)
    );

    // The longest there is, in as many records as may be: one byte less than the bound still asks for more.
    let mut longest = vec![0; HANDSHAKE_HEADER + HELLO_BYTES_MAX];
    let length = u32::try_from(HELLO_BYTES_MAX).unwrap().to_be_bytes();
    longest[..4].copy_from_slice(&[CLIENT_HELLO, length[1], length[2], length[3]]);
    let wire = records(&longest, longest.len().div_ceil(RECORDS_MAX));
    assert_eq!(wire.len(), WIRE_BYTES_MAX);
    assert_eq!(read(&wire[..wire.len() - 1]), Reading::Incomplete);
    assert_ne!(read(&wire), Reading::Incomplete);
}

#[test]
fn http_on_a_tls_port_is_recognised() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "M-SEARCH * HTTP/1.1",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET ",
    ] {
        assert_eq!(
            read(text.as_bytes()),
            Reading::NotTls(NotTls::Http),
            "{text}"
        );
    }
    for text in ["", "G", "GET", "PROPPATCH"] {
        assert_eq!(read(text.as_bytes()), Reading::Incomplete, "{text}");
    }
    for text in [
        " GET",
        "get / HTTP/1.1",
        "SSH-2.0-OpenSSH",
        "\r\n",
        "\0",
        "GET\r\n",
        "\u{80}",
        "\x15\x03\x01\0\x02\x02\x28",
    ] {
        assert_eq!(
            read(text.as_bytes()),
            Reading::NotTls(NotTls::Other),
            "{text}"
        );
    }
    let endless = [b'A'; METHOD_BYTES_MAX + 1];
    assert_eq!(read(&endless), Reading::NotTls(NotTls::Other));
    assert_eq!(read(&[HANDSHAKE, 2]), Reading::NotTls(NotTls::Other));
}

#[test]
fn what_cannot_be_a_hello_is_refused_as_soon_as_it_shows() {
    for (bytes, expected) in [
        (&[22, 3, 1, 0, 0][..], Malformed::Record),
        (&[22, 3, 1, 0x40, 1], Malformed::Record),
        (&[22, 3, 1, 0, 9, 2], Malformed::Message),
        (&[22, 3, 1, 0, 1, 1, 23], Malformed::Record),
        (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3], Malformed::Inside),
        (&[22, 3, 1, 0, 4, 1, 0, 0, 0], Malformed::Inside),
    ] {
        assert_eq!(read(bytes), Reading::Malformed(expected), "{bytes:?}");
    }
}

#[test]
fn lengths_inside_must_fit_exactly() {
    let sound: &[(u16, &[u8])] = &[
        (SERVER_NAME, &[0, 4, 0, 0, 1, b'a']),
        (GROUPS, &[0, 2, 0, 29]),
        (SIGNATURE_ALGORITHMS, &[0, 2, 4, 3]),
        (ALPN, &[0, 3, 2, b'h', b'2']),
        (SUPPORTED_VERSIONS, &[2, 3, 4]),
    ];
    hello(&with_extensions(sound));
    for &(kind, content) in sound {
        let longer = [content, &[0]].concat();
        let shorter = &content[..content.len() - 1];
        for content in [&longer[..], shorter, &[]] {
            assert_eq!(
                read(&with_extensions(&[(kind, content)])),
                Reading::Malformed(Malformed::Inside),
                "{kind} {content:?}"
            );
        }
    }
    assert_eq!(
        read(&with_extensions(&[(9, &[]), (7, &[]), (9, &[])])),
        Reading::Malformed(Malformed::Twice)
    );
}

#[test]
fn a_server_name_has_the_characters_of_a_host_name() {
    for name in [
        "a",
        "WWW.Shop.Test",
        "xn--bcher-kva.test",
        "a_b.test",
        "a.test.",
    ] {
        let hello = hello(&with_name(name.as_bytes()));
        assert_eq!(hello.server_name.as_deref(), Some(name));
    }
    for name in [
        &b""[..],
        b"a b",
        b"a\n",
        b"a\0",
        b"\xff",
        "ü.test".as_bytes(),
        b"a/b",
        b"a\"b",
    ] {
        assert_eq!(
            read(&with_name(name)),
            Reading::Malformed(Malformed::ServerName),
            "{name:?}"
        );
    }
}

#[test]
fn offers_are_told_without_grease_and_without_a_way_to_forge_them() {
    let hello = ClientHello {
        supported_versions: vec![0x4a4a, 0x0304, 0x0303, 0x0302, 0x7f1c],
        alpn: vec![
            vec![0x8a, 0x8a],
            b"h2".to_vec(),
            b"a b\\\n\xff".to_vec(),
            b"http/1.1".to_vec(),
        ],
        ..ClientHello::default()
    };
    assert_eq!(hello.offered_versions(), "TLSv1.1 TLSv1.2 TLSv1.3 0x7f1c");
    assert_eq!(hello.offered_alpn(), r"h2 a\x20b\x5C\x0A\xFF http/1.1");
    let many = ClientHello {
        supported_versions: (0..1000).collect(),
        alpn: vec![b"x".to_vec(); 1000],
        ..ClientHello::default()
    };
    assert_eq!(many.offered_versions().split(' ').count(), TOLD_MAX);
    assert_eq!(many.offered_alpn().split(' ').count(), TOLD_MAX);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_mutation_of_a_hello_makes_it_panic(
        text in prop_oneof![Just(OPENSSL_TLS13), Just(OPENSSL_TLS12)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
        size in 20_usize..400,
    ) {
        let mut wire = split(&wire(text), size);
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        for wire in [&wire[..], &wire[..end.index(wire.len())]] {
            if let Reading::Hello(hello) = read(wire) {
                prop_assert_eq!(crate::tls::ja4::ja4(&hello).len(), 36);
                prop_assert!(hello.offered_alpn().is_ascii());
                let _ = hello.offered_versions();
            }
        }
    }

    /// More bytes never take an answer back.
    #[test]
    fn an_answer_stands(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ends in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut wire = split(&wire(OPENSSL_TLS12), 60);
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let (a, b) = (ends.0.index(wire.len()), ends.1.index(wire.len()));
        let early = read(&wire[..a.min(b)]);
        if early != Reading::Incomplete {
            prop_assert_eq!(early, read(&wire[..a.max(b)]));
        }
    }
}
