//! Each rule catches its fault and lets its neighbours pass.

use crate::rules::faults;
use crate::source::Source;

/// The faults of one file, as `line: text`.
fn in_file(path: &str, text: &str) -> Vec<String> {
    let prefix = format!("{path}:");
    faults(&Source::new(path, text))
        .into_iter()
        .map(|fault| {
            let rest = fault.strip_prefix(&prefix);
            rest.expect("a fault begins with its path").to_owned()
        })
        .collect()
}

#[track_caller]
fn caught(path: &str, text: &str, expected: &[&str]) {
    let found = in_file(path, text);
    assert_eq!(found.len(), expected.len(), "{text}\nfound: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected: {expected}");
    }
}

#[test]
fn an_import_may_go_down_the_ranks() {
    caught(
        "tls/hello.rs",
        "use crate::model::HostName;\nuse crate::{binding, report::ErrorLog};",
        &[],
    );
    caught(
        "tls/hello.rs",
        "use super::Policy;\nuse super::server::Name;",
        &[],
    );
    caught("cli/run.rs", "fn go() { crate::server::start() }", &[]);
    caught("lib.rs", "pub use crate::server::Server;", &[]);
    caught("main.rs", "use portunus::cli;", &[]);
}

#[test]
fn an_import_up_the_ranks_is_caught() {
    caught(
        "pool/queue.rs",
        "\nuse crate::http::h1;",
        &["2: `pool` imports `http`"],
    );
    caught(
        "config/raw.rs",
        "use crate::report::Log;",
        &["1: `config` imports `report`"],
    );
    caught(
        "model/addr.rs",
        "pub(crate) use crate::config;",
        &["1: `model` imports `config`"],
    );
    caught(
        "site/mod.rs",
        "fn f() -> crate::tls::Policy {}",
        &["1: `site` imports `tls`"],
    );
    caught(
        "http/h1.rs",
        "use crate::{\n    model::{Body, server},\n    listener::Accepted,\n    tls,\n};",
        &["3: `http` imports `listener`", "4: `http` imports `tls`"],
    );
}

#[test]
fn an_import_up_the_ranks_through_super_is_caught() {
    caught(
        "pool/mod.rs",
        "use super::server::Running;",
        &["1: `pool` imports `server`"],
    );
    caught(
        "pool/queue.rs",
        "use super::super::http;",
        &["1: `pool` imports `http`"],
    );
    caught("pool/queue.rs", "use super::super::model;", &[]);
    caught("handler/files/range.rs", "use super::super::http;", &[]);
}

#[test]
fn the_binary_knows_only_the_commands() {
    caught(
        "main.rs",
        "use portunus::{cli, server};",
        &["1: main.rs imports `server`"],
    );
}

#[test]
fn a_room_without_a_rank_is_caught() {
    caught(
        "attic/mod.rs",
        "use crate::model::Body;",
        &["1: the room `attic` has no rank"],
    );
}

#[test]
fn the_binding_table_stays_pure() {
    caught(
        "binding/table.rs",
        "use tokio::time;",
        &["1: `tokio` brings a runtime"],
    );
    caught(
        "binding/table.rs",
        "fn f() { Instant::now(); }",
        &["1: `Instant::now` brings a clock"],
    );
    caught(
        "binding/table.rs",
        "use std::time::SystemTime;",
        &["1: `SystemTime` brings a clock"],
    );
    caught(
        "binding/table.rs",
        "use std::time::Instant;\nuse std::net::IpAddr;",
        &[],
    );
    caught("binding/tests.rs", "use tokio::time;", &[]);
    caught("listener/accept.rs", "use tokio::time;", &[]);
}

#[test]
fn a_long_file_is_caught() {
    caught("tls/a.rs", &"\n".repeat(500), &[]);
    caught(
        "tls/a.rs",
        &"\n".repeat(501),
        &["501: the file has 501 lines"],
    );
    caught("tls/a/tests.rs", &"\n".repeat(501), &[]);
    caught(
        "main.rs",
        &"\n".repeat(151),
        &["151: the file has 151 lines, 150 are allowed"],
    );
}

#[test]
fn a_long_function_is_caught() {
    let function = |inner: usize| {
        format!(
            "\nfn long<T>(a: [u8; 2])\nwhere T: Copy {{\n{}}}\n",
            "x();\n".repeat(inner)
        )
    };
    caught("tls/a.rs", &function(67), &[]);
    caught("tls/a.rs", &function(68), &["2: `fn long` has 71 lines"]);
    caught(
        "tls/a.rs",
        &format!("#[cfg(test)]\nmod tests {{{}}}", function(68)),
        &[],
    );
    caught(
        "tls/a.rs",
        &format!(
            "type F = fn(u8) -> u8;\ntrait T {{ fn short(); }}{}",
            "\n".repeat(99)
        ),
        &[],
    );
}

#[test]
fn a_brace_in_a_literal_or_comment_ends_nothing() {
    let text = format!(
        "fn long() {{\n'}}'; '\\''; \"}}\\\"}}\"; r#\"}}\"}}\"#; // }}\n/* }} /* }} */ }} */{}}}",
        "\n".repeat(70)
    );
    caught("tls/a.rs", &text, &["1: `fn long` has 73 lines"]);
}

#[test]
fn a_panic_without_its_reason_is_caught() {
    caught(
        "tls/a.rs",
        "fn f() { x.unwrap(); }",
        &["1: `unwrap` without its reason"],
    );
    caught(
        "tls/a.rs",
        "fn f() {\n    x\n        .unwrap();\n}",
        &["3: `unwrap` without its reason"],
    );
    caught(
        "tls/a.rs",
        "fn f() { x.map(Option::unwrap); }",
        &["1: `unwrap` without its reason"],
    );
    caught(
        "tls/a.rs",
        "fn f() { x.expect(\"cannot fail\"); }",
        &["1: `expect` without its reason"],
    );
    caught(
        "tls/a.rs",
        "fn f() { x.expect(MESSAGE); }",
        &["1: `expect` without its reason"],
    );
    caught(
        "tls/a.rs",
        "fn f() { x.unwrap_err(); }",
        &["1: `unwrap_err` without its reason"],
    );
}

#[test]
fn a_panic_with_its_reason_passes() {
    caught(
        "tls/a.rs",
        "fn f() { x.expect(\"the list is never empty\"); }",
        &[],
    );
    caught(
        "tls/a.rs",
        "fn f() { x.expect(\n        \"the list is never empty\",\n    ); }",
        &[],
    );
    caught("tls/a.rs", "// Filled by the line above.\nx.unwrap();", &[]);
    caught("tls/a.rs", "x.unwrap(); // Filled by the line above.", &[]);
    caught(
        "tls/a.rs",
        "x.unwrap_or_default(); \"y.unwrap()\"; fn expect() {} #[expect(unused)]",
        &[],
    );
}

#[test]
fn tests_may_panic() {
    caught("tls/tests.rs", "x.unwrap();", &[]);
    caught("tls/tests/resume.rs", "x.unwrap();", &[]);
    caught(
        "tls/a.rs",
        "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); }\n}\n",
        &[],
    );
    caught(
        "tls/a.rs",
        "#[cfg(test)]\nmod tests;\nfn f() { x.unwrap(); }",
        &["3: `unwrap` without"],
    );
}

#[test]
fn what_is_unfinished_is_caught() {
    caught("tls/a.rs", "// TODO: later", &["1: `TODO` is left behind"]);
    caught(
        "tls/tests.rs",
        "/* FIXME */\n/// XXX\n",
        &["1: `FIXME`", "2: `XXX`"],
    );
    caught(
        "tls/a.rs",
        "fn f() { todo!() }\nfn g() { unimplemented!(\"no\") }",
        &["1: `todo!`", "2: `unimplemented!`"],
    );
    caught("tls/a.rs", "// mastodon, TODOS\nlet mark = \"TODO\";", &[]);
}

#[test]
fn unsafe_outside_its_room_is_caught() {
    caught(
        "tls/a.rs",
        "fn f() { unsafe { g() } }",
        &["1: `unsafe` outside src/listener/sys.rs"],
    );
    caught(
        "tls/a.rs",
        "#![allow(unsafe_code, reason = \"quick\")]",
        &["1: `unsafe_code` outside"],
    );
    caught(
        "listener/sys.rs",
        "#![allow(unsafe_code, reason = \"calls\")]\nfn f() { unsafe { g() } }",
        &[],
    );
    caught("tls/a.rs", "// unsafe\nlet a = \"unsafe\";", &[]);
}
