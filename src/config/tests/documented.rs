//! `docs/configuration.md` is true: it names every key and no other, with the default that is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::keys;
use super::{config, handler, whole};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// What a cell of the column "Default" says where there is no value to write.
const NO_VALUE: [&str; 4] = ["must be named", "none", "as `[tls]`", "as `[limits]`"];

/// Section → its rows of key and default, in the order of the document.
fn document() -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut section = String::new();
    for line in DOCUMENT.lines() {
        if line.starts_with("##") {
            section = line
                .trim_start_matches(['#', ' '])
                .replace('`', "")
                .to_lowercase();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", key, default, _, _, _, ""] = cells[..]
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            let rows = sections.entry(section.clone()).or_default();
            rows.push((key.to_owned(), default.to_owned()));
        }
    }
    sections
}

/// The documented defaults of a section as lines of TOML.
fn defaults(section: &str) -> String {
    let lines = document()[section]
        .clone()
        .into_iter()
        .filter_map(|(key, default)| {
            let value = default.strip_prefix('`')?.strip_suffix('`')?;
            Some(format!("{key} = {value}\n"))
        });
    lines.collect()
}

#[test]
fn the_document_has_every_key_and_no_other() {
    let document = document();
    let names: BTreeSet<_> = keys::ALL.iter().map(|section| section.name).collect();
    let documented: BTreeSet<_> = document.keys().map(String::as_str).collect();
    assert_eq!(documented, names);
    for section in keys::ALL {
        let keys: Vec<_> = document[section.name]
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(keys, section.keys, "in {}", section.name);
    }
}

#[test]
fn every_default_is_a_value_or_says_why_there_is_none() {
    for (section, rows) in document() {
        for (key, default) in rows {
            let value = default.len() > 2 && default.starts_with('`') && default.ends_with('`');
            assert!(
                value || NO_VALUE.contains(&default.as_str()),
                "{section} {key}: {default}"
            );
        }
    }
}

#[test]
fn writing_every_default_out_changes_nothing() {
    let tables: String = ["server", "limits", "log", "traces", "tls"]
        .iter()
        .map(|name| format!("[{name}]\n{}", defaults(&format!("[{name}]"))))
        .collect();
    let written = format!(
        "{tables}[[binding]]\nhostname = \"a.test\"\nsite = \"a\"\n{}\
         [[site]]\nname = \"a\"\n{}[site.hsts]\n{}[[site.route]]\npool = \"a\"\n{}\
         [[pool]]\nname = \"a\"\nhandler = {{ type = \"library\" }}\n{}",
        defaults("[[binding]]"),
        defaults("[[site]]"),
        defaults("hsts"),
        defaults("[[site.route]]"),
        defaults("[[pool]]"),
    );
    let silent = "[[binding]]\nhostname = \"a.test\"\nsite = \"a\"\n[[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n\
                  [[pool]]\nname = \"a\"\nhandler = { type = \"library\" }\n";
    assert_eq!(config(&written), config(silent));
    assert!(
        written.contains("header_wait = \"15s\""),
        "the defaults are found"
    );
}

#[test]
fn writing_every_default_of_failed_requests_out_changes_nothing() {
    let rule = "[[failed_requests.rule]]\nstatus = [500]\n";
    let written = defaults("[failed_requests]");
    assert!(written.contains("max_files = 100"), "{written}");
    let text = format!("[failed_requests]\n{written}{rule}");
    assert_eq!(config(&whole(&text)), config(&whole(rule)));
}

#[test]
fn writing_every_default_of_acme_out_changes_nothing() {
    let text = |defaults: &str| {
        format!(
            "[acme]\nterms_agreed = true\n{defaults}[[binding]]\nhostname = \"a.test\"\nsite = \"a\"\ncertificate = \"acme\"\n\
             [[site]]\nname = \"a\"\n[[site.route]]\npool = \"a\"\n\
             [[pool]]\nname = \"a\"\nhandler = {{ type = \"library\" }}\n"
        )
    };
    let written = defaults("[acme]").replace("terms_agreed = false\n", "");
    assert!(written.contains("dns_wait = \"30s\""), "{written}");
    assert_eq!(config(&text(&written)), config(&text("")));
}

#[test]
fn writing_every_default_of_a_handler_out_changes_nothing() {
    for (section, must) in [
        ("a respond handler", "type = \"respond\""),
        ("a files handler", "type = \"files\", root = \"www\""),
        ("a redirect handler", "type = \"redirect\", to = \"/\""),
        (
            "a proxy handler",
            "type = \"proxy\", upstreams = [\"http://a.test\"]",
        ),
        (
            "a fastcgi handler",
            "type = \"fastcgi\", root = \"www\", address = \"unix:/a.sock\"",
        ),
        (
            "a process handler",
            "type = \"process\", command = [\"app\"]",
        ),
    ] {
        // An empty table is one whose own defaults are compared below.
        let defaults = defaults(section)
            .replace("fastcgi = {}\n", "")
            .trim()
            .replace('\n', ", ");
        assert!(!defaults.is_empty());
        assert_eq!(
            handler(&format!("{{ {must}, {defaults} }}")),
            handler(&format!("{{ {must} }}")),
            "{section}"
        );
    }
}

#[test]
fn writing_every_default_of_a_workers_tables_out_changes_nothing() {
    let with = |rest: &str| {
        handler(&format!(
            "{{ type = \"process\", command = [\"app\"], protocol = \"fastcgi\"{rest} }}"
        ))
    };
    for section in ["rapid_fail", "recycle"] {
        let defaults = defaults(section).trim().replace('\n', ", ");
        assert!(!defaults.is_empty());
        assert_eq!(with(&format!(", {section} = {{ {defaults} }}")), with(""));
    }
    let root = "root = \"www\"";
    let written = defaults("fastcgi").trim().replace('\n', ", ");
    assert!(written.contains("index = "));
    assert_eq!(
        with(&format!(", fastcgi = {{ {root}, {written} }}")),
        with(&format!(", fastcgi = {{ {root} }}"))
    );
    assert_eq!(with(", fastcgi = {}"), with(""));
    let limits = "memory = \"1GiB\", cpu = \"50%\"";
    let rest: Vec<_> = document()["a worker's limits"]
        .iter()
        .filter(|(key, _)| !["memory", "cpu"].contains(&key.as_str()))
        .map(|(key, default)| format!("{key} = {}", default.trim_matches('`')))
        .collect();
    let written = format!(", limits = {{ {limits}, {} }}", rest.join(", "));
    assert_eq!(with(&written), with(&format!(", limits = {{ {limits} }}")));
}

#[test]
fn every_code_that_the_golden_files_show_is_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let folders = ["snapshots", "tests/snapshots"].map(|of| folder.join(of));
    let mut codes = BTreeSet::new();
    for entry in folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
    {
        let path = entry.unwrap().path();
        // Made up by a test, to stand for what other parts add.
        if path.to_string_lossy().contains("others_add_findings") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let severity = ["error[", "warning["]
                .iter()
                .find_map(|s| line.strip_prefix(s));
            if let Some((code, _)) = severity.and_then(|rest| rest.split_once(']')) {
                codes.insert(code.to_owned());
            }
        }
    }
    assert!(codes.len() > 20);
    for code in codes {
        assert!(
            DOCUMENT.contains(&format!("`{code}`")),
            "{code} is not documented"
        );
    }
}
