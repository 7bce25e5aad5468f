//! Whose word is believed of a request, and what upstreams are told.

use super::super::*;
use super::{handler, rendered_handlers, rendered_with};
use crate::model::HopField;

fn telling(keys: &str) -> Telling {
    let text = format!("{{ type = \"proxy\", upstreams = [\"http://a.test\"], {keys} }}");
    match handler(&text) {
        Handler::Proxy(proxy) => proxy.telling,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_upstreams_are_told_is_what_is_named() {
    assert_eq!(telling(""), Telling::default());
    let none = telling("forwarded = []").forwarded;
    assert_eq!(none, ForwardedFields::default());
    let some = telling("forwarded = [\"x-real-ip\", \"forwarded\"]").forwarded;
    assert!(some.x_real_ip && some.forwarded && !some.x_forwarded);
    let version = telling("proxy_protocol = \"v2\"").proxy_protocol;
    assert_eq!(version, Some(ProxyProtocol::V2));
}

#[test]
fn a_binding_believes_as_the_server_does_unless_it_says_otherwise() {
    let trusted = |server: &str, binding: &str| {
        let text = format!(
            "[server]\n{server}\n[[binding]]\nhostname = \"a.test\"\nsite = \"a\"\n{binding}\n[[site]]\nname = \"a\"\n\
             [[site.route]]\npool = \"a\"\n[[pool]]\nname = \"a\"\nhandler = {{ type = \"library\" }}\n"
        );
        super::config(&text).bindings[0].trusted_proxies.clone()
    };
    let server = "trusted_proxies = [\"10.0.0.0/8\"]";
    assert_eq!(trusted("", ""), None);
    let of_server = trusted(server, "").expect("somebody");
    assert_eq!(of_server.field, HopField::XForwardedFor);
    assert_eq!(trusted(server, "trusted_proxies = []"), None);
    let own = trusted(
        server,
        "trusted_proxies = { from = [\"::1\"], field = \"forwarded\" }",
    );
    let own = own.expect("somebody");
    assert_eq!((own.field, own.from.len()), (HopField::Forwarded, 1));
    assert!(own.trusts("::1".parse().expect("an address")));
}

#[test]
fn mistakes_in_who_is_believed_and_what_is_told() {
    insta::assert_snapshot!(rendered_with(&[
        "[server]\ntrusted_proxies = \"10.0.0.0/8\"",
        "[server]\ntrusted_proxies = [\"10.0.0.1/8\", \"0.0.0.0/0\", \"balancer\"]",
        "[server]\ntrusted_proxies = { field = \"x-real-ip\" }",
        "[server]\nrequest_id = true\ntraceparent = \"on\"",
    ]));
    insta::assert_snapshot!(rendered_handlers(&[
        "{ type = \"proxy\", upstreams = [\"http://a.test\"], forwarded = [\"x-forward\", \"via\"], proxy_protocol = \"v3\" }",
        "{ type = \"proxy\", upstreams = [\"srv+http://app.test\", \"srv+ftp://_a._tcp.b\", \"srv+http://_a._tcp.b:80\"] }",
    ]));
}
