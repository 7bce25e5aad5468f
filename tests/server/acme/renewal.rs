//! Renewal: when the CA says so, when somebody asks for it, and under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Shop, body, wait_issued, wait_shown};
use crate::support::wait_for;

#[test]
fn a_renewal_under_load_fails_no_request() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let mut server = shop.start(&pebble.acme("challenge = \"tls-alpn-01\""), &["www.a.test"]);
    let root = wait_issued(&mut server, &pebble);
    let leaf = || {
        std::fs::read(
            pebble
                .state(&shop.state_dir())
                .join("certificates/www.a.test.pem"),
        )
    };
    let before = leaf().expect("a certificate");
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for renewals in 1..=3 {
            let (done, said) = shop.renew(&server, &["www.a.test"]);
            assert!(done && said.contains("was issued"), "{said}");
            wait_shown(&mut server, 1 + renewals);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_ne!(leaf().expect("a certificate"), before);
    assert!(asked.load(Ordering::Relaxed) > 10);
    assert!(server.errors().is_empty(), "{:?}", server.errors());
}

#[test]
fn a_rehearsal_puts_nothing_in_service() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let other = shop.pebble();
    let staging = format!(
        "challenge = \"http-01\"\nstaging = \"{}\"",
        other.directory()
    );
    let mut server = shop.start(&pebble.acme(&staging), &["www.a.test"]);
    let root = wait_issued(&mut server, &pebble);
    // The other Pebble's own https is of another CA than the one that is trusted.
    let (done, said) = shop.renew(&server, &["www.a.test", "--staging"]);
    assert!(!done && said.contains("invalid peer certificate"), "{said}");

    let staging = format!(
        "challenge = \"http-01\"\nstaging = \"{}\"",
        pebble.directory()
    );
    let config = shop.config(&pebble.acme(&staging), &["www.a.test"]);
    assert!(server.reload(&config).contains("reloaded"));
    let file = pebble
        .state(&shop.state_dir())
        .join("certificates/www.a.test.pem");
    let before = std::fs::read(&file).expect("a certificate");
    let (done, said) = shop.renew(&server, &["www.a.test", "--staging"]);
    assert!(done && said.contains("it was thrown away"), "{said}");
    assert_eq!(std::fs::read(&file).expect("a certificate"), before);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");

    let config = shop.config(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    assert!(server.reload(&config).contains("reloaded"));
    let (done, said) = shop.renew(&server, &["www.a.test", "--staging"]);
    assert!(!done && said.contains("set `staging` in [acme]"), "{said}");
    let config = config.replace("admin@a.test", "other@a.test");
    assert!(server.reload(&config).contains("reloaded"));
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(done, "{said}");
    let account = pebble.state(&shop.state_dir()).join("account.json");
    let account = std::fs::read_to_string(account).expect("an account");
    assert!(account.contains("mailto:other@a.test"), "the CA is told");
    let orders = pebble.orders();
    let config = config.replace("terms_agreed", "profile = \"short\"\nterms_agreed");
    assert!(server.reload(&config).contains("reloaded"));
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(
        !done && said.contains("the CA offers no profiles"),
        "{said}"
    );
    assert_eq!(pebble.orders(), orders);
    let (done, said) = shop.renew(&server, &["b.test"]);
    assert!(!done && said.contains("there are www.a.test"), "{said}");
    server.signal("TERM");
    server.wait_exit();
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(
        !done && said.contains("no server runs that orders certificates"),
        "{said}"
    );
}

#[test]
fn the_ca_says_when_a_certificate_is_renewed_and_is_told_what_it_replaces() {
    let shop = Shop::new();
    let mut pebble = shop.pebble();
    pebble.tell_renewals();
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    // Another at once.
    wait_shown(&mut server, 2);
    // The second is to be renewed in a month.
    let told = wait_for("the CA to be asked of both", || {
        let told = pebble.renewals();
        (told.iter().filter(|line| line.starts_with("asked")).count() == 2).then_some(told)
    });
    let first = told[0].strip_prefix("asked ").expect("the first");
    assert_eq!(told[1], format!("replaces {first}"));
    assert!(!told[2].contains(first), "{told:?}");
    // Whatever the scheduler did, it would do within its next look.
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(done, "{said}");
    assert_eq!(pebble.orders(), 3);
    let log = server.log();
    assert!(!log.contains("no certificate could be had"), "{log}");
}
