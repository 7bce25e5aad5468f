//! The parts of looking names up: messages, files, and what becomes of an answer.

use std::time::Duration;

use proptest::prelude::*;

use super::message::{Kind, NotAReply, Reply, question, reply};
use super::system::{Servers, in_hosts};
use super::*;

const ID: u16 = 0x1234;

fn asked() -> Vec<u8> {
    question(ID, "App.Test", Kind::A).expect("a question")
}

/// A reply to [`asked`], with this many records in these bytes.
fn answer(flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
    let mut message = asked();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message.extend(records);
    message
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a length");
    [
        owner,
        &kind.to_be_bytes(),
        &1u16.to_be_bytes(),
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn spot(text: &str) -> Spot {
    Spot::new(SocketAddr::new(ip(text), 80))
}

/// The question's own name.
const OWN: &[u8] = &[0xc0, 12];

#[test]
fn a_question_is_as_it_stands_in_rfc_1035() {
    let expected =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03App\x04Test\x00\x00\x01\x00\x01";
    assert_eq!(asked(), expected);
    let long = "a".repeat(64);
    for bad in ["", ".", "a..b", &long, &"a.".repeat(128)] {
        assert_eq!(question(ID, bad, Kind::A), None, "{bad}");
    }
}

#[test]
fn addresses_are_read_with_the_least_time_that_they_are_good_for() {
    let records = [
        record(OWN, 1, 300, &[192, 0, 2, 1]),
        record(b"\x05other\x04test\x00", 1, 1, &[192, 0, 2, 9]),
        record(b"\x03aPP\x04tEsT\x00", 1, 60, &[192, 0, 2, 2]),
        record(OWN, 28, 1, &[0; 16]),
    ];
    let message = answer(0x8180, 4, &records.concat());
    let expected = Reply::Addresses(vec![ip("192.0.2.1"), ip("192.0.2.2")], 60);
    assert_eq!(reply(&asked(), &message), Ok(expected));
}

#[test]
fn aliases_are_followed_and_count_for_the_time() {
    let records = [
        record(b"\x04deep\x04test\x00", 1, 600, &[192, 0, 2, 1]),
        record(OWN, 5, 900, b"\x03two\xc0\x10"),
        record(b"\x03two\x04test\x00", 5, 30, b"\x04deep\xc0\x10"),
    ];
    let message = answer(0x8180, 3, &records.concat());
    let expected = Reply::Addresses(vec![ip("192.0.2.1")], 30);
    assert_eq!(reply(&asked(), &message), Ok(expected));
    // One that leads to itself leads nowhere.
    let circle = record(OWN, 5, 900, OWN);
    let message = answer(0x8180, 1, &circle);
    assert_eq!(
        reply(&asked(), &message),
        Ok(Reply::Addresses(Vec::new(), 900))
    );
}

#[test]
fn what_else_a_server_says_is_told_apart() {
    for (flags, expected) in [
        (0x8183, Reply::NoName),
        (0x8182, Reply::Failed(2)),
        (0x8185, Reply::Failed(5)),
        (0x8380, Reply::Truncated),
        (0x8180, Reply::Addresses(Vec::new(), u32::MAX)),
    ] {
        assert_eq!(reply(&asked(), &answer(flags, 0, &[])), Ok(expected));
    }
}

#[test]
fn what_is_no_reply_to_the_question_is_none() {
    let good = answer(0x8180, 1, &record(OWN, 1, 300, &[192, 0, 2, 1]));
    let mut other_id = good.clone();
    other_id[0] ^= 1;
    let mut other_name = good.clone();
    other_name[13] = b'x';
    let mut other_kind = good.clone();
    other_kind[23] = 28;
    let forward = answer(0x8180, 1, &record(&[0xc0, 200], 1, 300, &[192, 0, 2, 1]));
    let itself = answer(0x8180, 1, &record(&[0xc0, 26], 1, 300, &[192, 0, 2, 1]));
    let question = asked();
    for bad in [
        &other_id,
        &other_name,
        &other_kind,
        &forward,
        &itself,
        &question,
        &good[..good.len() - 1].to_vec(),
        &Vec::new(),
    ] {
        assert_eq!(reply(&question, bad), Err(NotAReply), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_is_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = reply(&asked(), &bytes);
        let _ = reply(&asked(), &answer(0x8180, 20, &bytes));
    }

    #[test]
    fn every_address_is_found(octets in proptest::collection::vec(any::<[u8; 16]>(), 1..20), ttl in 0u32..1 << 31) {
        let question = question(ID, "app.test", Kind::Aaaa).expect("a question");
        let mut message = question.clone();
        message[2] = 0x81;
        message[3] = 0x80;
        message[7] = octets.len() as u8;
        for octets in &octets {
            message.extend(record(OWN, 28, ttl, octets));
        }
        let addresses = octets.into_iter().map(IpAddr::from).collect();
        prop_assert_eq!(reply(&question, &message), Ok(Reply::Addresses(addresses, ttl)));
    }
}

#[test]
fn resolv_conf_is_read_as_everybody_reads_it() {
    let read = Servers::parse(
        "# a comment\nnameserver 192.0.2.53\nnameserver nonsense\nnameserver 2001:db8::53\n\
         search one.test two.test\noptions ndots:2 timeout:7 attempts:3 rotate ndots:x\n",
    );
    let expected = Servers {
        servers: vec![
            "192.0.2.53:53".parse().expect("an address"),
            "[2001:db8::53]:53".parse().expect("an address"),
        ],
        search: vec!["one.test".to_owned(), "two.test".to_owned()],
        dots: 2,
        timeout: Duration::from_secs(7),
        attempts: 3,
    };
    assert_eq!(read, expected);
    assert_eq!(
        read.meanings("app"),
        ["app.one.test", "app.two.test", "app"]
    );
    assert_eq!(
        read.meanings("a.b.c"),
        ["a.b.c", "a.b.c.one.test", "a.b.c.two.test"]
    );
    assert_eq!(read.meanings("app."), ["app"]);
    let none = Servers::parse("");
    assert_eq!(none.servers, ["127.0.0.1:53".parse().expect("an address")]);
    assert_eq!(none.meanings("app.test"), ["app.test"]);
}

#[test]
fn hosts_are_found_under_all_their_names() {
    let hosts = "127.0.0.1 localhost # loopback\n::1 localhost ip6-localhost\n192.0.2.1\tapp.test app\n#192.0.2.2 app\nx app\n";
    assert_eq!(in_hosts(hosts, "LOCALHOST"), [ip("127.0.0.1"), ip("::1")]);
    assert_eq!(in_hosts(hosts, "app"), [ip("192.0.2.1")]);
    assert_eq!(in_hosts(hosts, "app.test."), [ip("192.0.2.1")]);
    assert_eq!(in_hosts(hosts, "192.0.2.1"), [] as [IpAddr; 0]);
}

#[tokio::test]
async fn a_connection_stands_for_as_long_as_its_name_leads_to_it() {
    let names = Names::new("app.test".to_owned(), Some(80), Lookup::Servers(Vec::new()));
    names.take(vec![spot("192.0.2.1"), spot("192.0.2.2")]);
    let mut origin = names.origin("192.0.2.1:80".parse().expect("an address"));
    assert!(origin.stands());
    names.take(vec![spot("192.0.2.3"), spot("192.0.2.1")]);
    assert!(origin.stands(), "it leads there and elsewhere");
    names.miss("nobody answers".to_owned());
    assert!(origin.stands(), "it leads where it led last");
    names.take(vec![spot("192.0.2.3")]);
    assert!(!origin.stands());
}

#[test]
fn a_service_is_read_with_all_who_have_it() {
    let question = question(ID, "_http._tcp.app.test", Kind::Srv).expect("a question");
    let mut message = question.clone();
    message[2..4].copy_from_slice(&0x8180u16.to_be_bytes());
    message[7] = 4;
    let one = b"\x00\x0a\x00\x05\x1f\x90\x03One\xc0\x17";
    message.extend(record(OWN, 33, 300, one));
    message.extend(record(OWN, 33, 60, b"\x00\x14\x00\x00\x00\x50\x00"));
    // A name that nobody could ask for, and bytes behind the name.
    message.extend(record(OWN, 33, 60, b"\x00\x14\x00\x00\x00\x50\x02a b\x00"));
    message.extend(record(
        OWN,
        33,
        60,
        b"\x00\x14\x00\x00\x00\x50\x01a\x00\x00",
    ));
    let service = |priority, weight, port, target: &str| Service {
        priority,
        weight,
        port,
        target: target.to_owned(),
    };
    let expected = vec![service(10, 5, 8080, "one.app.test"), service(20, 0, 80, "")];
    assert_eq!(
        reply(&question, &message),
        Ok(Reply::Services(expected, 60))
    );
}

#[test]
fn the_addresses_of_one_target_share_its_weight() {
    let service = Service {
        priority: 1,
        weight: 10,
        port: 80,
        target: "one.test".to_owned(),
    };
    let weights = |addresses: &[IpAddr]| -> Vec<u32> {
        Spot::all(&service, addresses)
            .map(|spot| spot.weight)
            .collect()
    };
    assert_eq!(weights(&[ip("192.0.2.1")]), [640]);
    assert_eq!(weights(&[ip("192.0.2.1"), ip("2001:db8::1")]), [320, 320]);
}
