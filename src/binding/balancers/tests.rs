//! Who speaks for whom, and where.

use super::*;
use crate::config;

fn balancers(bindings: &str) -> Balancers {
    let text = format!(
        "{bindings}[[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n[[pool]]\nname = \"a\"\nhandler = {{ type = \"respond\" }}\n"
    );
    let loaded = config::parse(&text, "/etc/portunus/bindings.toml".as_ref());
    Balancers::build(&loaded.config.expect("a configuration").bindings)
}

fn binding(ip: &str, from: &str) -> String {
    format!(
        "[[binding]]\nprotocol = \"http\"\nip = \"{ip}\"\nport = 80\nhostname = \"*\"\nsite = \"a\"\n{from}\n"
    )
}

fn trusts(balancers: &Balancers, local: &str, peer: &str) -> bool {
    let local = LocalAddr::new(local.parse().expect("an address"));
    balancers.trusts(local, peer.parse().expect("an address"))
}

#[test]
fn nobody_is_trusted_by_default() {
    let none = balancers(&binding("*", ""));
    assert!(!trusts(&none, "10.0.0.1:80", "127.0.0.1"));
}

#[test]
fn an_address_of_its_own_is_asked_before_every_address() {
    let from = "proxy_protocol = { from = [\"10.0.0.0/8\", \"2001:db8::1\"] }";
    let some = balancers(&(binding("*", from) + &binding("192.0.2.1", "")));
    assert!(trusts(&some, "192.0.2.9:80", "10.1.2.3"));
    assert!(trusts(&some, "192.0.2.9:80", "2001:db8::1"));
    assert!(trusts(&some, "[::ffff:192.0.2.9]:80", "10.1.2.3"));
    assert!(!trusts(&some, "192.0.2.9:80", "11.1.2.3"));
    assert!(!trusts(&some, "192.0.2.9:80", "2001:db8::2"));
    assert!(!trusts(&some, "192.0.2.1:80", "10.1.2.3"));
    assert!(!trusts(&some, "192.0.2.9:81", "10.1.2.3"));
}
