//! Each kind of challenge, and what is kept of an order.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Shop, body, root_of, wait_issued, wait_said, wait_shown};
use crate::support::{Server, raw};

#[test]
fn a_certificate_is_issued_by_http_01_and_served_without_a_reload() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    let root = wait_issued(&mut server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");

    let state = pebble.state(&shop.state_dir());
    let mode = |file: &str| {
        let about = fs::metadata(state.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        about.permissions().mode() & 0o777
    };
    for folder in ["", "orders", "certificates", "renew"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    for file in ["account.json", "ledger.json", "certificates/www.a.test.pem"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert!(!state.join("orders/www.a.test.key").exists());
    assert!(!server.log().contains("PRIVATE KEY"));
    // The challenge is over, and its path is as every other.
    let after = raw::exchange(
        shop.http,
        "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: www.a.test\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&after), 400);
    drop(server);

    // What is there is served from the first moment, and nothing is ordered.
    let mut server = shop.start(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    let root = root_of(&server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
    assert!(!server.log().contains("ordering"), "{}", server.log());
}

/// What `openssl s_client` says to a handshake for a name with this ALPN.
fn handshake(shop: &Shop, name: &str, alpn: &str) -> String {
    let out = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", shop.https)])
        .args(["-servername", name, "-alpn", alpn])
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let said = [out.stdout, out.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_certificate_is_issued_by_tls_alpn_01_and_such_handshakes_are_answered_for_orders_alone() {
    let shop = Shop::new();
    let mut settings = shop.settings();
    settings.nonces_refused = 40;
    let pebble = crate::support::pebble::Pebble::start(settings);
    let acme = pebble.acme("challenge = \"tls-alpn-01\"\nkey_type = \"p384\"");
    let mut server = shop.start(&acme, &["www.a.test"]);
    let root = wait_issued(&mut server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
    assert_eq!(pebble.orders(), 1, "nonces that are refused cost no order");

    for name in ["www.a.test", "b.test"] {
        let said = handshake(&shop, name, "acme-tls/1");
        assert!(said.contains("alert"), "{said}");
        assert!(!said.contains("BEGIN CERTIFICATE"), "{said}");
    }
    assert!(handshake(&shop, "www.a.test", "h2").contains("ALPN protocol: h2"));
    server.wait_error("Tls_NoCommonProtocol");
}

/// A hook that tells Pebble's DNS; it waits for a file `go` beside itself first, and notes how it was called.
pub(super) fn write_hook(file: &Path, api: &str) {
    let script = format!(
        "#!/bin/sh\nset -eu\ncd \"$(dirname \"$0\")\"\necho \"$@ $CERTBOT_DOMAIN\" >>calls\n\
         while [ ! -e go ]; do sleep 0.05; done\n\
         case $1 in\n\
         present) curl -sS --fail -d \"{{\\\"host\\\":\\\"$2\\\",\\\"value\\\":\\\"$3\\\"}}\" {api}/set-txt ;;\n\
         cleanup) curl -sS --fail -d \"{{\\\"host\\\":\\\"$2\\\"}}\" {api}/clear-txt ;;\n\
         esac\n"
    );
    fs::write(file, script).expect("the hook");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[test]
fn a_wildcard_is_issued_by_dns_01_through_a_hook() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let hook = shop.kept.path().join("hook");
    write_hook(&hook, &pebble.dns_api());
    fs::write(shop.kept.path().join("go"), "").expect("go");
    let acme = pebble.acme(&format!("dns_hook = [{hook:?}]\ndns_wait = \"0s\""));
    let mut server = shop.start(&acme, &["*.a.test", "a.test"]);
    wait_shown(&mut server, 2);
    let root = root_of(&server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
    assert_eq!(body(&shop.ask("a.test", &root)), "hello");
    let calls = fs::read_to_string(shop.kept.path().join("calls")).expect("calls");
    for action in ["present", "cleanup"] {
        let of = calls.lines().filter(|call| {
            call.starts_with(&format!("{action} _acme-challenge.a.test. "))
                && call.ends_with(" a.test")
        });
        assert_eq!(of.count(), 2, "{calls}");
    }
}

#[test]
fn an_order_goes_on_where_a_killed_server_left_it() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let hook = shop.kept.path().join("hook");
    write_hook(&hook, &pebble.dns_api());
    let acme = pebble.acme(&format!("dns_hook = [{hook:?}]\ndns_wait = \"0s\""));
    let mut server = shop.start(&acme, &["www.a.test"]);
    crate::support::wait_for("the hook to be called", || {
        let calls = fs::read_to_string(shop.kept.path().join("calls")).ok()?;
        calls.contains("present").then_some(())
    });
    server.signal("KILL");
    server.wait_exit();
    fs::write(shop.kept.path().join("go"), "").expect("go");

    let mut server: Server = shop.start(&acme, &["www.a.test"]);
    let line = wait_said(&mut server, "ordering a certificate");
    assert!(line.contains("resumed=true"), "{line}");
    let root = wait_issued(&mut server, &pebble);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");
    assert_eq!(pebble.orders(), 1);
}
