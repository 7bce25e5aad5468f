//! Whatever a name server sends, it is read within bounds; and a reply that is taken is one to the question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portunus::handler::proxy::dns::{Kind, Reply, question, reply};

fuzz_target!(|bytes: &[u8]| {
    services(bytes);
    let asked = question(0x1234, "app.test", Kind::Aaaa).expect("a name that can be asked for");
    // Most of what is made up is no reply to the question: given its beginning, all that follows is read.
    let mut begun = asked.clone();
    begun[2] = 0x81;
    if let Some((count, records)) = bytes.split_first() {
        begun[7] = *count;
        begun.extend(records);
    }
    for message in [bytes, &begun] {
        if let Ok(read) = reply(&asked, message) {
            assert_eq!(message[..2], asked[..2]);
            if let Reply::Addresses(addresses, ttl) = read {
                assert!(addresses.iter().all(|address| address.is_ipv6()));
                assert!(addresses.len() * 16 <= message.len());
                assert!(ttl >> 31 == 0 || addresses.is_empty());
            }
        }
    }
});

/// The same of where a service is: every target is a name that can be asked for, or none.
fn services(bytes: &[u8]) {
    let asked = question(0x1234, "_a._tcp.test", Kind::Srv).expect("a name that can be asked for");
    let mut begun = asked.clone();
    begun[2] = 0x81;
    if let Some((count, records)) = bytes.split_first() {
        begun[7] = *count;
        begun.extend(records);
    }
    if let Ok(Reply::Services(services, _)) = reply(&asked, &begun) {
        for service in services {
            let target = service.target;
            assert!(
                target.is_empty() || question(1, &target, Kind::A).is_some(),
                "{target:?}"
            );
        }
    }
}
