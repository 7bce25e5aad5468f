//! `client_certificates`: what it may say, and what is said of the rest.

use super::*;

fn asked(binding: &str) -> Option<ClientCertificates> {
    let text = format!("{BINDING}client_certificates = {binding}\n{SITE}{POOL}");
    config(&text).bindings[0].tls.clone()?.client_certificates
}

#[test]
fn what_is_not_written_has_its_default() {
    let written = asked(
        "{ mode = \"require\", ca = \"../clients.pem\", depth = 3, crl_missing = \"refuse\", crl_expired = \"refuse\" }",
    );
    let short = asked("{ mode = \"require\", ca = \"../clients.pem\" }");
    assert_eq!(written, short);
    let asked = short.expect("clients are asked");
    assert_eq!(asked.mode, ClientMode::Require);
    assert_eq!(asked.ca, PathBuf::from("/etc/portunus/../clients.pem"));
    assert_eq!((asked.depth, asked.crl), (3, Vec::<PathBuf>::new()));
}

#[test]
fn lists_are_one_file_or_several() {
    let crl = |crl: &str| {
        let text = format!("{{ mode = \"request\", ca = \"/ca.pem\", crl = {crl} }}");
        asked(&text).expect("clients are asked").crl
    };
    assert_eq!(crl("\"/a.crl\""), [PathBuf::from("/a.crl")]);
    assert_eq!(
        crl("[\"/a.crl\", \"b.crl\"]"),
        [PathBuf::from("/a.crl"), "/etc/portunus/b.crl".into()]
    );
}

#[test]
fn a_binding_may_ask_for_nothing_where_tls_asks() {
    let all = "[tls]\nclient_certificates = { mode = \"require\", ca = \"/ca.pem\" }\n";
    let of = |keys: &str| {
        let text = format!("{all}{BINDING}{keys}\n{SITE}{POOL}");
        let tls = config(&text).bindings[0].tls.clone();
        tls.expect("https").client_certificates
    };
    assert!(of("").is_some());
    assert_eq!(of("client_certificates = { mode = \"off\" }"), None);
    assert_eq!(asked("{ mode = \"off\", ca = \"/ca.pem\" }"), None);
}

#[test]
fn two_that_ask_for_anything_else_do_not_read_alike() {
    let texts = [
        "{ mode = \"require\", ca = \"/ca.pem\" }",
        "{ mode = \"request\", ca = \"/ca.pem\" }",
        "{ mode = \"require\", ca = \"/other.pem\" }",
        "{ mode = \"require\", ca = \"/ca.pem\", depth = 1 }",
        "{ mode = \"require\", ca = \"/ca.pem\", crl = \"/a.crl\" }",
        "{ mode = \"require\", ca = \"/ca.pem\", crl = [\"/a.crl\", \"/b.crl\"] }",
        "{ mode = \"require\", ca = \"/ca.pem\", crl = \"/a.crl\", crl_missing = \"accept\" }",
        "{ mode = \"require\", ca = \"/ca.pem\", crl = \"/a.crl\", crl_expired = \"accept\" }",
    ];
    let said: std::collections::BTreeSet<_> = texts
        .iter()
        .map(|text| asked(text).expect("clients are asked").to_string())
        .collect();
    assert_eq!(said.len(), texts.len(), "{said:#?}");
}
