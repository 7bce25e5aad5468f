use proptest::prelude::*;

use super::*;

fn host(text: &str) -> HostName {
    HostName::parse(text).expect(text)
}

#[test]
fn an_honest_authority_is_read_into_host_and_port() {
    let label = "a".repeat(63);
    let long = format!("{0}.{0}.{0}.{1}", label, "b".repeat(61));
    let cases: &[(&str, &str, Option<u16>)] = &[
        ("shop.test", "shop.test", None),
        ("Shop.TEST:8080", "shop.test", Some(8080)),
        ("shop.test.", "shop.test", None),
        ("shop.test.:80", "shop.test", Some(80)),
        ("shop.test:", "shop.test", None),
        ("shop.test:0", "shop.test", Some(0)),
        ("shop.test:0080", "shop.test", Some(80)),
        ("shop.test:65535", "shop.test", Some(65535)),
        ("localhost", "localhost", None),
        ("_dmarc.a-b.test", "_dmarc.a-b.test", None),
        ("xn--bcher-kva.test", "xn--bcher-kva.test", None),
        ("192.0.2.1:80", "192.0.2.1", Some(80)),
        ("[::1]", "::1", None),
        ("[::1]:443", "::1", Some(443)),
        ("[::1]:", "::1", None),
        ("[2001:DB8:0:0::0:1]", "2001:db8::1", None),
        ("[::ffff:192.0.2.1]", "::ffff:192.0.2.1", None),
        ("[::FFFF:c000:201]", "::ffff:192.0.2.1", None),
        (&label, &label, None),
        (&long, &long, None),
    ];
    for (text, name, port) in cases {
        assert_eq!(split_authority(text), Ok((host(name), *port)), "{text}");
        assert_eq!(host(name).as_str(), *name);
    }
}

#[test]
fn an_authority_that_could_be_read_in_two_ways_is_refused() {
    use HostError::*;
    let label = "a".repeat(64);
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    let cases: &[(&str, HostError)] = &[
        ("", Empty),
        (".", Empty),
        (":80", Empty),
        ("..", Label),
        (".test", Label),
        ("a..test", Label),
        ("a.test..", Label),
        (&label, Label),
        (&long, Length),
        ("user@shop.test", UserInfo),
        ("user:pass@shop.test:80", UserInfo),
        ("shop.test:80@evil.test", UserInfo),
        ("@", UserInfo),
        ("shop.test evil.test", Byte(' ')),
        (" shop.test", Byte(' ')),
        ("shop.test,evil.test", Byte(',')),
        ("shop.test/evil", Byte('/')),
        ("shop.test\\evil", Byte('\\')),
        ("shop.test?x", Byte('?')),
        ("shop.test#x", Byte('#')),
        ("sh%6fp.test", Byte('%')),
        ("shop.test\0", Byte('\0')),
        ("shop.test\r\nX: y", Byte('\r')),
        ("shop\ttest", Byte('\t')),
        ("bücher.test", Byte('ü')),
        ("shop。test", Byte('。')),
        ("*.shop.test", Byte('*')),
        ("*", Byte('*')),
        ("+", Byte('+')),
        ("shop.test:80:80", Byte(':')),
        ("::1", Byte(':')),
        ("2001:db8::1", Byte(':')),
        ("shop.test:http", Port),
        ("shop.test:+80", Port),
        ("shop.test:-1", Port),
        ("shop.test: 80", Port),
        ("shop.test:80 ", Port),
        ("shop.test:65536", Port),
        ("shop.test:99999999999999999999", Port),
        ("shop.test:٨٠", Port),
        ("[]", Address),
        ("[", Address),
        ("[::1", Address),
        ("[::1%eth0]", Address),
        ("[::1%25eth0]", Address),
        ("[fe80::1%1]:80", Address),
        ("[v1.x]", Address),
        ("[192.0.2.1]", Address),
        ("[shop.test]", Address),
        ("[:::1]", Address),
        ("[::1]80", Byte('8')),
        ("[::1].", Byte('.')),
        ("[::1]]", Byte(']')),
        ("[::1]:x", Port),
        ("x[::1]", Byte(':')),
        ("]", Byte(']')),
    ];
    for (text, error) in cases {
        assert_eq!(split_authority(text), Err(error.clone()), "{text:?}");
    }
}

#[test]
fn an_ipv6_host_may_be_written_without_brackets_where_no_port_can_follow() {
    assert_eq!(host("2001:DB8::1"), host("[2001:db8::1]"));
    assert_eq!(
        HostName::parse("shop.test:80"),
        Err(HostError::Byte(':')),
        "a port is not part of a host"
    );
}

#[test]
fn a_uri_has_an_ipv6_host_in_brackets() {
    assert_eq!(host("::1").as_uri_host().to_string(), "[::1]");
    assert_eq!(host("192.0.2.1").as_uri_host().to_string(), "192.0.2.1");
    assert_eq!(host("shop.test").as_uri_host().to_string(), "shop.test");
}

#[test]
fn only_a_name_of_several_labels_has_a_parent() {
    assert_eq!(host("www.shop.test").parent(), Some("shop.test"));
    assert_eq!(host("shop.test.").parent(), Some("test"));
    assert_eq!(host("localhost").parent(), None);
    assert_eq!(host("192.0.2.1").parent(), None);
    assert_eq!(host("192.0.2.1.").parent(), None);
    assert_eq!(host("[::ffff:192.0.2.1]").parent(), None);
    assert_eq!(host("192.0.2.1.test").parent(), Some("0.2.1.test"));
}

#[test]
fn patterns_are_read_as_they_are_written() {
    for text in ["+", "*", "shop.test", "*.shop.test", "192.0.2.1", "::1"] {
        assert_eq!(HostPattern::parse(text).expect(text).to_string(), text);
    }
    assert_eq!(
        HostPattern::parse("*.Shop.Test."),
        Ok(HostPattern::Wildcard(host("shop.test")))
    );
    assert_eq!(
        HostPattern::parse("[::1]"),
        Ok(HostPattern::Exact(host("::1")))
    );
}

#[test]
fn a_wildcard_is_only_ever_the_whole_first_label_of_a_name() {
    use HostError::*;
    let cases = [
        ("", Empty),
        ("*.", Empty),
        ("w*.shop.test", Wildcard),
        ("*w.shop.test", Wildcard),
        ("www.*.test", Wildcard),
        ("www.*", Wildcard),
        ("*.*.test", Wildcard),
        ("**", Wildcard),
        ("*shop.test", Wildcard),
        ("*.192.0.2.1", WildcardAddress),
        ("*.[::1]", WildcardAddress),
        ("*.::1", WildcardAddress),
        ("+.shop.test", Byte('+')),
        ("*:80", Wildcard),
        ("*.shop.test:80", Byte(':')),
    ];
    for (text, error) in cases {
        assert_eq!(HostPattern::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_wildcard_takes_exactly_one_label() {
    let pattern = HostPattern::parse("*.shop.test").expect("well-formed");
    assert!(pattern.matches(&host("www.shop.test")));
    assert!(pattern.matches(&host("WWW.SHOP.TEST.")));
    assert!(!pattern.matches(&host("shop.test")));
    assert!(!pattern.matches(&host("a.www.shop.test")));
    assert!(!pattern.matches(&host("wwwshop.test")));
}

#[test]
fn a_certificate_covers_what_it_names_and_one_label_under_a_wildcard() {
    let cases = [
        ("shop.test", "shop.test", true),
        ("SHOP.test", "shop.test", true),
        ("shop.test", "www.shop.test", false),
        ("*.shop.test", "www.shop.test", true),
        ("*.Shop.Test", "www.shop.test", true),
        ("*.shop.test", "shop.test", false),
        ("*.shop.test", "a.b.shop.test", false),
        ("*.shop.test", "evilshop.test", false),
        ("w*.shop.test", "www.shop.test", false),
        ("*", "shop.test", false),
        ("*", "localhost", false),
        ("*.", "localhost", false),
        ("", "localhost", false),
        ("192.0.2.1", "192.0.2.1", true),
        ("*.0.2.1", "192.0.2.1", false),
        ("2001:DB8:0::1", "2001:db8::1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", false),
    ];
    for (pattern, name, covers) in cases {
        assert_eq!(
            certificate_name_covers(pattern, &host(name)),
            covers,
            "{pattern} {name}"
        );
    }
}

proptest! {
    #[test]
    fn reading_an_authority_never_panics(text in any::<String>()) {
        let _ = split_authority(&text);
        let _ = HostPattern::parse(&text);
    }

    #[test]
    fn what_was_read_is_normal_and_reads_the_same_again(
        text in r"\[?[a-zA-Z0-9_.:\-\[\]@%*+ ]{0,24}(:[0-9+]{0,6})?"
    ) {
        if let Ok((host, port)) = split_authority(&text) {
            let name = host.as_str();
            prop_assert!(!name.is_empty() && name.len() <= NAME_MAX && !name.ends_with('.'));
            prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':')));
            prop_assert_eq!(HostName::parse(name), Ok(host.clone()));
            let again = match port {
                Some(port) => format!("{}:{port}", host.as_uri_host()),
                None => host.as_uri_host().to_string(),
            };
            prop_assert_eq!(split_authority(&again), Ok((host, port)));
        }
    }

    #[test]
    fn every_ipv6_address_is_kept_canonical(address in any::<[u16; 8]>(), sparse in any::<u8>()) {
        let mut words = address;
        for (at, word) in words.iter_mut().enumerate() {
            if sparse >> at & 1 == 1 {
                *word = 0;
            }
        }
        let address = Ipv6Addr::from(words);
        let (host, _) = split_authority(&format!("[{address}]:1")).expect("an address in brackets");
        prop_assert_eq!(host.as_str(), address.to_string());
        prop_assert_eq!(host.ip(), Some(IpAddr::V6(address)));
    }
}
