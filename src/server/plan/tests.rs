//! What differs between two configurations.

use std::path::Path;

use super::{Change, Fate, compare};
use crate::config::{self, Config};

const SITES: &str = "[[site]]\nname = \"one\"\n[[site.route]]\npath = \"/\"\npool = \"one\"\n\
                     [[site.route]]\npath = \"/two\"\nmethods = [\"GET\"]\npool = \"two\"\n";
const OTHER_SITE: &str =
    "[[site]]\nname = \"other\"\n[[site.route]]\npath = \"/\"\npool = \"two\"\n";
const POOLS: &str =
    "[[pool]]\nname = \"one\"\n[pool.handler]\ntype = \"respond\"\nbody = \"one\"\n";
const OTHER_POOL: &str = "[[pool]]\nname = \"two\"\n[pool.handler]\ntype = \"process\"\n\
                          command = [\"app\"]\nenv = { SECRET = \"hunter2\" }\n";

fn binding(port: u16, site: &str) -> String {
    format!(
        "[[binding]]\nprotocol = \"http\"\nport = {port}\nhostname = \"*\"\nsite = \"{site}\"\n"
    )
}

fn text(head: &str) -> String {
    let (one, other) = (binding(80, "one"), binding(81, "other"));
    format!("{head}{one}{other}{SITES}{OTHER_SITE}{POOLS}{OTHER_POOL}")
}

fn read(text: &str) -> Config {
    let loaded = config::parse(text, Path::new("/etc/bindings.toml"));
    loaded
        .config
        .clone()
        .unwrap_or_else(|| panic!("{}", loaded.render(false)))
}

/// The changes, one as `kind name change: keys`.
fn changes(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (read(old), read(new));
    let fate = |pool: &config::Pool| {
        let index = old.pools.iter().position(|old| old.name == pool.name);
        index.map_or(Fate::New, |at| Fate::LivesOn {
            old: at,
            same: old.pools[at].handler == pool.handler,
        })
    };
    let fates: Vec<Fate> = new.pools.iter().map(fate).collect();
    let line = |change: &Change| {
        let (kind, how, keys) = (change.kind, change.change, change.keys.join(", "));
        format!("{kind:?} {} {how:?}: {keys}", change.name)
    };
    compare::all(&old, &new, &fates).iter().map(line).collect()
}

#[test]
fn a_configuration_that_only_moves_its_tables_changes_nothing() {
    let (one, other) = (binding(80, "one"), binding(81, "other"));
    let moved = format!("\n\n{other}{OTHER_POOL}{OTHER_SITE}{one}{SITES}{POOLS}");
    assert_eq!(changes(&text(""), &moved), Vec::<String>::new());
}

#[test]
fn each_change_is_named_by_its_table_and_keys_and_never_by_a_value() {
    let base = text("");
    let swap = |old: &str, new: &str| {
        assert!(base.contains(old), "{old}");
        base.replacen(old, new, 1)
    };
    for (new, told) in [
        (
            text("[limits]\nheader_wait = \"3s\"\n"),
            "Limits  Changed: header_wait",
        ),
        (text("[tls]\ntrust = \"/ca.pem\"\n"), "Tls  Changed: trust"),
        (text("[log]\naudit = \"off\"\n"), "Log  Changed: audit"),
        (
            text("[server]\nrequest_id = \"upstream\"\n"),
            "Server  Changed: request_id",
        ),
        (
            swap("port = 80\n", "port = 82\n"),
            "Binding http://*:80 * Removed: ",
        ),
        (
            swap("site = \"one\"", "site = \"other\""),
            "Binding http://*:80 * Changed: site",
        ),
        (
            swap("pool = \"one\"", "pool = \"two\""),
            "Route one / Changed: pool",
        ),
        (
            swap("[\"GET\"]", "[\"GET\"]\nmax_body_bytes = 7"),
            "Route one /two (GET) Changed: max_body_bytes",
        ),
        (
            swap("[\"GET\"]", "[\"PUT\"]"),
            "Route one /two (PUT) Added: ",
        ),
        (
            swap(
                "name = \"one\"\n[pool",
                "name = \"one\"\nconcurrency = 3\n[pool",
            ),
            "Pool one Changed: concurrency",
        ),
        (
            swap("body = \"one\"", "body = \"1\""),
            "Pool one Changed: handler.body",
        ),
        (swap("hunter2", "hunter3"), "Pool two Changed: handler.env"),
        (
            swap(
                "type = \"respond\"\nbody = \"one\"",
                "type = \"redirect\"\nto = \"/one\"",
            ),
            "Pool one Changed: handler.type",
        ),
    ] {
        let changes = changes(&base, &new);
        assert!(
            changes.iter().any(|change| change == told),
            "{told:?} in {changes:#?}"
        );
        assert!(!format!("{changes:?}").contains("hunter"), "{changes:#?}");
    }
}
