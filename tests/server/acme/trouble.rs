//! What goes wrong at a CA, and what is made of it.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use super::{ISSUED, REFUSED, SHOWN, Shop, body, wait_issued, wait_said};
use crate::support::free_ports;
use crate::support::pebble::Pebble;
use crate::support::{Authority, Server, Tool};

#[test]
fn a_failed_validation_is_quoted_whole_and_the_budget_holds_over_restarts() {
    let shop = Shop::new();
    let mut settings = shop.settings();
    [settings.http] = free_ports();
    settings.nonces_refused = 0;
    let nobody = settings.http;
    let pebble = Pebble::start(settings);
    let acme = pebble.acme("challenge = \"http-01\"");
    let mut server = shop.start(&acme, &["www.a.test"]);
    let line = wait_said(&mut server, REFUSED);
    for part in [
        "ERROR",
        "name=\"www.a.test\"",
        "http-01 for www.a.test: urn:ietf:params:acme:error:connection",
        &format!("127.0.0.1:{nobody}"),
        "the name's A and AAAA records must lead to this machine",
        "again_at=",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // It is served all the same, with what nobody trusts.
    assert_eq!(
        body(&shop.curl("www.a.test", |curl| curl.arg("-k"))),
        "hello"
    );

    for orders in 2..=5 {
        let (done, said) = shop.renew(&server, &["www.a.test"]);
        assert!(!done && said.contains("acme:error:connection"), "{said}");
        assert_eq!(pebble.orders(), orders);
    }
    for _ in 0..2 {
        let (done, said) = shop.renew(&server, &["www.a.test"]);
        let why = "5 orders of its registered domain failed within the hour";
        assert!(!done && said.contains(why), "{said}");
        drop(server);
        server = shop.start(&acme, &["www.a.test"]);
    }
    assert_eq!(pebble.orders(), 5);
    assert!(!server.log().contains("ordering"), "{}", server.log());

    // `check` knows why, without a server.
    let out = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(server.path().join("config/bindings.toml"))
        .arg("check")
        .output()
        .expect("the portunus binary");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(said.contains("warning[certificate-acme-pending]"), "{said}");
    assert!(
        said.contains("the last try failed: http-01 for www.a.test"),
        "{said}"
    );
}

#[test]
fn a_ca_that_is_down_keeps_nobody_waiting_and_is_asked_until_it_is_up() {
    let shop = Shop::new();
    let mut pebble = Pebble::down(shop.settings());
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    assert_eq!(
        body(&shop.curl("www.a.test", |curl| curl.arg("-k"))),
        "hello"
    );
    let line = wait_said(&mut server, REFUSED);
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    assert!(server.log().contains("a self-signed placeholder is shown"));
    pebble.up();
    let root = wait_issued(&mut server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");

    // Of a CA that has forgotten everything another account is asked for.
    pebble.end();
    pebble.up();
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(!done && said.contains("accountDoesNotExist"), "{said}");
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(done, "{said}");
}

#[test]
fn an_account_that_the_ca_knows_beforehand_is_bound_to() {
    let shop = Shop::new();
    let mut settings = shop.settings();
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    settings.eab = HashMap::from([("kid-1".to_owned(), key.to_owned())]);
    let pebble = Pebble::start(settings);
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    let line = wait_said(&mut server, REFUSED);
    assert!(line.contains("externalAccountRequired"), "{line}");
    assert!(line.contains("set `eab` in [acme]"), "{line}");

    let file = shop.kept.path().join("eab.key");
    fs::write(&file, format!("{key}\n")).expect("the key");
    let eab =
        format!("challenge = \"http-01\"\neab = {{ key_id = \"kid-1\", key_file = {file:?} }}");
    let config = shop.config(&pebble.acme(&eab), &["www.a.test"]);
    assert!(server.reload(&config).contains("reloaded"));
    let (done, said) = shop.renew(&server, &["www.a.test"]);
    assert!(done, "{said}");
    assert!(!server.log().contains(key));
}

#[test]
fn of_two_servers_with_one_folder_one_orders_and_the_other_takes_over() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let acme = pebble.acme("challenge = \"http-01\"");
    let mut first = shop.start(&acme, &["www.a.test"]);
    wait_said(&mut first, ISSUED);
    let other = Shop {
        kept: tempfile::tempdir().expect("a temporary folder"),
        ..Shop::new()
    };
    let config = other.config(&acme, &["www.a.test", "b.test"]).replace(
        &format!("{:?}", other.state_dir()),
        &format!("{:?}", shop.state_dir()),
    );
    let mut second = crate::support::Server::start_in(crate::support::folder(), &config, |_| {});
    wait_said(&mut second, "another server orders certificates here");
    drop(first);
    // b.test cannot be validated, as Pebble looks at the first server's port; that it is tried is what matters.
    wait_said(&mut second, "ordering a certificate");
    assert!(!second.log().contains(SHOWN));
}

#[test]
fn a_binding_that_is_turned_to_acme_shows_what_it_had_until_a_certificate_is_there() {
    let folder = crate::support::folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.pem"));
    ca.issue(&["www.a.test"])
        .write(&folder.path().join("certs"), "www.a.test");
    let text = |head: &str, keys: &str| {
        format!(
            "{head}[[binding]]\nip = \"127.0.0.1\"\nport = 0\nhostname = \"www.a.test\"\nsite = \"a\"\n{keys}\n\
             [[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n\
             [[pool]]\nname = \"a\"\nhandler = {{ type = \"respond\", body = \"hello\" }}\n"
        )
    };
    let mut server = Server::start_in(folder, &text("", ""), |_| {});
    // Nobody is there: nothing will come of the order.
    let head = "[acme]\nterms_agreed = true\ndirectory = \"https://127.0.0.1:9/directory\"\n";
    for _ in 0..2 {
        let said = server.reload(&text(head, "certificate = \"acme\""));
        assert!(said.contains("reloaded"), "{said}");
        let page = Tool::new("curl")
            .args(["-sS", "--cacert"])
            .arg(server.path().join("ca.pem"))
            .arg("--resolve")
            .arg(format!("www.a.test:{}:127.0.0.1", server.https))
            .arg(format!("https://www.a.test:{}/", server.https))
            .stdout();
        assert_eq!(page, "hello");
    }
}

#[test]
fn nonces_that_are_refused_while_an_order_is_waited_for_are_no_refusal_of_it() {
    let shop = Shop::new();
    let mut pebble = shop.pebble();
    // As often as the client asks by itself.
    pebble.refuse_polls(3);
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    let root = wait_issued(&mut server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
    assert_eq!(pebble.orders(), 1);
    let log = server.log();
    assert!(!log.contains(REFUSED), "{log}");
}
