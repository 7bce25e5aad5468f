//! What a handshake may agree on, and what is wrong with it.

use super::*;

#[test]
fn mistakes_in_the_names_of_suites_and_groups() {
    insta::assert_snapshot!(rendered_bindings(&[
        "cipher_suites = [\"TLS_AES_128_GCM_SHA265\"]",
        "cipher_suites = [\"ECDHE-RSA-AES128-GCM-SHA256\", \"TLS_RSA_WITH_AES_128_CBC_SHA\"]",
        "cipher_suites = [\"TLS_AES_128_GCM_SHA256\", \"TLS_AES_128_GCM_SHA256\"]",
        "cipher_suites = []",
        "cipher_suites = \"HIGH:!aNULL\"",
        "groups = [\"X25519\", \"P-256\", \"ffdhe2048\"]",
    ]));
}

#[test]
fn policies_that_leave_nothing_to_agree_on() {
    let only_1_2 = "cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]";
    insta::assert_snapshot!(rendered_bindings(&[
        only_1_2,
        &format!("{only_1_2}\nprotocols = [\"h2\"]\nmin_version = \"1.3\""),
        "cipher_suites = [\"TLS_AES_128_GCM_SHA256\"]",
        "groups = [\"X25519MLKEM768\"]",
    ]));
}

#[test]
fn what_tls_says_is_told_of_once_whichever_bindings_take_it_over() {
    let binding = |host: &str, keys: &str| {
        format!("[[binding]]\nhostname = \"{host}\"\nsite = \"www\"\n{keys}\n")
    };
    let loaded = read(&format!(
        "[tls]\ngroups = [\"MLKEM768\"]\n{}{}{}{SITE}{POOL}",
        binding("a.test", ""),
        binding("b.test", ""),
        binding("c.test", "min_version = \"1.3\""),
    ));
    let codes: Vec<_> = loaded.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["tls-nothing-in-common"]);
    assert_eq!(loaded.diagnostics[0].line, 2);
}

#[test]
fn suites_of_one_version_are_enough_where_only_that_is_spoken() {
    for keys in [
        "cipher_suites = [\"TLS_AES_128_GCM_SHA256\"]\nmin_version = \"1.3\"",
        "cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]\nprotocols = [\"h2\", \"http/1.1\"]",
        "groups = [\"MLKEM1024\"]\nmin_version = \"1.3\"",
    ] {
        config(&format!("{BINDING}{keys}\n{SITE}{POOL}"));
    }
}

#[test]
fn mistakes_in_tickets() {
    let many: Vec<_> = (0..9).map(|number| format!("\"{number}.key\"")).collect();
    insta::assert_snapshot!(rendered_bindings(&[
        "ticket_rotation = \"8d\"",
        "ticket_rotation = \"500ms\"",
        "ticket_keys = \"a.key\"",
        "ticket_keys = [\"a.key\", \"a.key\"]",
        &format!("ticket_keys = [{}]", many.join(", ")),
    ]));
}

#[test]
fn keys_that_are_not_there_on_purpose_say_what_to_do_instead() {
    insta::assert_snapshot!(rendered_sites(&["early_data = true"]));
    insta::assert_snapshot!(rendered_bindings(&["max_version = \"1.2\""]));
}

#[test]
fn an_http_binding_has_none_of_it() {
    for key in [
        "cipher_suites = [\"TLS_AES_128_GCM_SHA256\"]",
        "groups = [\"x25519\"]",
        "ticket_rotation = \"1h\"",
        "ticket_keys = [\"a.key\"]",
    ] {
        let loaded = read(&format!(
            "{BINDING}protocol = \"http\"\n{key}\n{SITE}{POOL}"
        ));
        let codes: Vec<_> = loaded.diagnostics.iter().map(|found| found.code).collect();
        assert_eq!(codes, ["http-with-tls"], "{key}");
    }
}
