use http::HeaderName;
use proptest::prelude::*;

use super::*;

fn trusting(field: HopField) -> TrustedProxies {
    TrustedProxies {
        from: vec![
            "10.0.0.0/8".parse().expect("a network"),
            "2001:db8:1::/48".parse().expect("a network"),
        ],
        field,
    }
}

fn peer(ip: &str) -> ClientAddr {
    ClientAddr::new(SocketAddr::new(ip.parse().expect("an address"), 4711))
}

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a field");
        (HeaderName::from_static(name), value)
    });
    lines.fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

/// The chain that a trusted peer makes known, the client first.
fn chain(field: HopField, lines: &[&str]) -> Vec<String> {
    let name = match field {
        HopField::XForwardedFor => "x-forwarded-for",
        HopField::Forwarded => "forwarded",
    };
    let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
    let heard = trusting(field).hear(peer("10.0.0.1"), &fields(&lines));
    let chain = heard.map(|hops| hops.chain);
    chain.iter().flatten().map(ToString::to_string).collect()
}

fn x(lines: &[&str]) -> Vec<String> {
    chain(HopField::XForwardedFor, lines)
}

fn forwarded(lines: &[&str]) -> Vec<String> {
    chain(HopField::Forwarded, lines)
}

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    let all = fields(&[
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1;proto=https"),
    ]);
    for field in [HopField::XForwardedFor, HopField::Forwarded] {
        assert_eq!(trusting(field).hear(peer("198.51.100.1"), &all), None);
    }
}

#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    assert_eq!(x(&["203.0.113.7"]), ["203.0.113.7"]);
    assert_eq!(
        x(&["10.9.9.9, 203.0.113.7, 10.0.0.2"]),
        ["203.0.113.7", "10.0.0.2"]
    );
    assert_eq!(
        x(&["1.1.1.1", "203.0.113.7", "10.0.0.2"]),
        ["203.0.113.7", "10.0.0.2"]
    );
    assert_eq!(
        x(&["2001:db8:9::1, 2001:db8:1::5"]),
        ["2001:db8:9::1", "2001:db8:1::5"]
    );
    // An IPv4 address in IPv6 is what it is.
    assert_eq!(
        x(&["203.0.113.7,::ffff:10.0.0.2"]),
        ["203.0.113.7", "10.0.0.2"]
    );
}

#[test]
fn with_all_trusted_the_leftmost_is_the_client() {
    assert_eq!(x(&["10.0.0.3, 10.0.0.2"]), ["10.0.0.3", "10.0.0.2"]);
}

#[test]
fn what_stands_left_of_something_unreadable_is_not_believed() {
    assert_eq!(x(&["203.0.113.7, unknown, 10.0.0.2"]), ["10.0.0.2"]);
    assert_eq!(x(&["203.0.113.7, 10.0.0.256"]), [""; 0]);
    assert_eq!(x(&["203.0.113.7, \"10.0.0.2\""]), [""; 0]);
    assert_eq!(
        x(&["203.0.113.7, ,, 10.0.0.2,"]),
        ["203.0.113.7", "10.0.0.2"]
    );
    assert_eq!(
        forwarded(&["for=203.0.113.7, for=_hidden, for=10.0.0.2"]),
        ["10.0.0.2"]
    );
    assert_eq!(
        forwarded(&["for=203.0.113.7, for=10.0.0.2;for=10.0.0.3"]),
        [""; 0]
    );
}

#[test]
fn addresses_may_have_ports_and_brackets() {
    assert_eq!(x(&["203.0.113.7:4711"]), ["203.0.113.7:4711"]);
    assert_eq!(x(&["[2001:db8::7]"]), ["2001:db8::7"]);
    assert_eq!(x(&["[2001:db8::7]:80"]), ["[2001:db8::7]:80"]);
    for bad in [
        "203.0.113.7:",
        "203.0.113.7:65536",
        "203.0.113.7:+80",
        "203.0.113.07",
        "[203.0.113.7]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]80",
        "fe80::1%eth0",
        "a.test",
    ] {
        assert_eq!(x(&[bad]), [""; 0], "{bad}");
    }
}

#[test]
fn the_examples_of_rfc_7239_are_understood() {
    assert_eq!(
        forwarded(&["For=\"[2001:db8:cafe::17]:4711\""]),
        ["[2001:db8:cafe::17]:4711"]
    );
    assert_eq!(
        forwarded(&["for=192.0.2.60;proto=http;by=203.0.113.43"]),
        ["192.0.2.60"]
    );
    assert_eq!(
        forwarded(&["for=192.0.2.43, for=10.51.100.17"]),
        ["192.0.2.43", "10.51.100.17"]
    );
    assert_eq!(forwarded(&["for=\"_gazonk\""]), [""; 0]);
    assert_eq!(forwarded(&["for=\"192.0.2.43:_port\""]), ["192.0.2.43"]);
    assert_eq!(
        forwarded(&["for=192.0.2.43; by=\"a,b;c=\\\"d\""]),
        ["192.0.2.43"]
    );
    for bad in [
        "for=[2001:db8::7]",
        "for=\"2001:db8::7\"",
        "for=192.0.2.43:80",
        "for =192.0.2.43",
        "for",
        "=a",
    ] {
        assert_eq!(forwarded(&[bad]), [""; 0], "{bad}");
    }
}

#[test]
fn a_quote_that_a_client_leaves_open_hides_nothing() {
    let open = "for=\"10.0.0.9, for=203.0.113.7";
    assert_eq!(forwarded(&[open]), ["203.0.113.7"]);
    let open = "for=1.1.1.1;by=\"\\\", for=\"[2001:db8:9::7]\"";
    assert_eq!(forwarded(&[open]), ["2001:db8:9::7"]);
}

#[test]
fn how_the_client_spoke_is_the_word_of_the_hop_that_it_spoke_to() {
    let said = |lines: &[(&'static str, &str)]| {
        let hops = trusting(HopField::XForwardedFor).hear(peer("10.0.0.1"), &fields(lines));
        hops.map(|hops| (hops.scheme, hops.host, hops.port))
    };
    let host = |text| Some(HeaderValue::from_static(text));
    assert_eq!(
        said(&[
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "shop.test:8443"),
            ("x-forwarded-port", "8443"),
        ]),
        Some((Some(Scheme::Https), host("shop.test:8443"), Some(8443)))
    );
    // A client claims https; the hop that it spoke to says otherwise, and the next one says https of that hop.
    assert_eq!(
        said(&[
            ("x-forwarded-for", "203.0.113.7, 10.0.0.2"),
            ("x-forwarded-proto", "https, http, https"),
        ]),
        Some((Some(Scheme::Http), None, None))
    );
    // Without addresses it is the peer's own word.
    assert_eq!(
        said(&[
            ("x-forwarded-proto", "http, https"),
            ("x-forwarded-host", "a b")
        ]),
        Some((Some(Scheme::Https), None, None))
    );
    assert_eq!(said(&[("forwarded", "for=192.0.2.1")]), None);
    let lines = [(
        "forwarded",
        "for=192.0.2.9, for=203.0.113.7;proto=https;host=\"a.test:1\", for=10.0.0.2;proto=http",
    )];
    let heard = trusting(HopField::Forwarded).hear(peer("10.0.0.1"), &fields(&lines));
    let heard = heard.expect("something");
    assert_eq!(
        (heard.scheme, heard.host),
        (Some(Scheme::Https), host("a.test:1"))
    );
}

fn element() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| IpAddr::from(ip).to_string()),
        any::<[u8; 3]>().prop_map(|[b, c, d]| format!("10.{b}.{c}.{d}")),
        any::<[u8; 16]>().prop_map(|ip| format!("[{}]", IpAddr::from(ip))),
        "[ -~]{0,12}",
    ]
}

proptest! {
    #[test]
    fn whatever_a_client_writes_the_address_that_a_trusted_hop_appends_is_the_client(
        junk in proptest::collection::vec("[ -~]{0,40}", 0..4),
        hops in 0_usize..4,
    ) {
        let behind: String = (0..hops).map(|hop| format!(", 10.0.0.{hop}")).collect();
        let line = format!("{}, 203.0.113.7{behind}", junk.join(","));
        let heard = x(&[&line]);
        prop_assert_eq!(heard.len(), hops + 1);
        prop_assert_eq!(&heard[0], "203.0.113.7");
        let behind: String = (0..hops).map(|hop| format!(", for=10.0.0.{hop};by=\"x,\\\"\"")).collect();
        let line = format!("{},for=\"203.0.113.7:80\"{behind}", junk.join(","));
        let heard = forwarded(&[&line]);
        prop_assert_eq!(heard.len(), hops + 1);
        prop_assert_eq!(&heard[0], "203.0.113.7:80");
    }

    #[test]
    fn all_but_the_client_are_trusted(
        elements in proptest::collection::vec(element(), 0..8),
    ) {
        let trusted = trusting(HopField::XForwardedFor);
        let line = elements.join(", ");
        let heard = trusted.hear(peer("10.0.0.1"), &fields(&[("x-forwarded-for", &line)]));
        if let Some(hops) = heard {
            prop_assert!(hops.chain[1..].iter().all(|hop| trusted.trusts(hop.ip())));
            prop_assert!(hops.chain.len() <= line.split(',').count());
        }
    }
}
