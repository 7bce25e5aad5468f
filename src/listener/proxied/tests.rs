//! Headers of the PROXY protocol, right and wrong.

use super::*;

fn client(text: &str) -> Proxied {
    Proxied::Client(text.parse().expect("an address"))
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
    header.extend(rest);
    header
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xC8, 0x22, 1, 0xBB];

#[test]
fn version_1_names_the_client() {
    for (line, wanted) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n",
            client("192.0.2.1:51234"),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:db8::2 51234 443\r\n",
            client("[2001:db8::1]:51234"),
        ),
        ("PROXY UNKNOWN\r\n", Proxied::Itself),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            Proxied::Itself,
        ),
    ] {
        assert_eq!(parse(line.as_bytes()).expect(line), wanted);
    }
}

#[test]
fn version_2_names_the_client_whatever_follows() {
    assert_eq!(
        parse(&v2(0x21, 0x11, &V4)).expect("a header"),
        client("192.0.2.1:51234")
    );
    let mut with_tlv = V4.to_vec();
    with_tlv.extend([0x04, 0, 1, 0]);
    assert_eq!(
        parse(&v2(0x21, 0x11, &with_tlv)).expect("a header"),
        client("192.0.2.1:51234")
    );
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 1;
    v6[32..34].copy_from_slice(&51234u16.to_be_bytes());
    assert_eq!(
        parse(&v2(0x21, 0x21, &v6)).expect("a header"),
        client("[2001:db8::1]:51234")
    );
    for header in [
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &V4),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x31, &[0; 216]),
    ] {
        assert_eq!(parse(&header).expect("a header"), Proxied::Itself);
    }
}

#[test]
fn what_is_wrong_is_never_taken_for_a_client() {
    let headers: [Vec<u8>; 13] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 2001:db8::2 51234 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 +5 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 51234\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 51234 443 x\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.1 198.51.100.1 51234 443\r\n".to_vec(),
        v2(0x31, 0x11, &V4),
        v2(0x22, 0x11, &V4),
        v2(0x21, 0x12, &V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, &[0; 35]),
    ];
    for header in headers {
        assert!(parse(&header).is_err(), "{header:?}");
    }
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(V1_MAX, b'x');
    long.extend(b"\r\n");
    assert!(parse(&long).is_err());
    let mut cut = v2(0x21, 0x11, &V4);
    cut.pop();
    assert!(parse(&cut).is_err());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_header_or_not(bytes: Vec<u8>, rest: Vec<u8>) {
        let _ = parse(&bytes);
        let _ = parse(&[SIGNATURE, &bytes, &rest].concat());
        let _ = parse(&[V1_BEGIN, &bytes, b"\r\n"].concat());
    }

    #[test]
    fn whoever_a_balancer_names_is_the_client(ip: std::net::IpAddr, port: u16) {
        let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {ip} {ip} {port} 443\r\n");
        proptest::prop_assert_eq!(
            parse(line.as_bytes()).expect("a header"),
            Proxied::Client(SocketAddr::new(ip, port))
        );
    }
}
