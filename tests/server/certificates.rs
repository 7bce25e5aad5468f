//! Certificates: what is found wrong with them before a client finds it, and how they are replaced while others are shown.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, CustomExtension};
use serde_json::Value;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::support::{Authority, folder, secret};

mod chains;
mod preflight;
mod rehearsal;

/// One binding of this host whose certificate comes from the folder, or from where `keys` says.
fn config(hostname: &str, keys: &str) -> String {
    format!(
        "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"{hostname}\"\nsite = \"main\"\n{keys}\n\
         [[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
         [[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\nbody = \"Hello, World!\"\n"
    )
}

const NAMED: &str = "certificate = \"own\"\n[[certificate]]\nname = \"own\"\nchain = \"../own/own.pem\"\nkey = \"../own/own.key\"";

fn portunus(folder: &Path, config: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let file = folder.join("config/bindings.toml");
    fs::write(&file, config).expect("the bindings file");
    let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(file)
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the portunus binary");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// What `check --json` finds: the status, and each finding as `severity code`.
fn findings(folder: &TempDir, config: &str) -> (Option<i32>, Vec<String>, Value) {
    let (code, stdout, stderr) = portunus(folder.path(), config, &["check", "--json"]);
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"));
    let found = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|finding| {
            assert!(
                finding["line"].is_u64(),
                "a finding has its place: {finding}"
            );
            format!(
                "{} {}",
                finding["severity"].as_str().expect("a severity"),
                finding["code"].as_str().expect("a code")
            )
        });
    (code, found.collect(), report.clone())
}

/// Asserts that a folder prepared like this has exactly these findings, and that `run` starts only where none is an error.
fn assert_found(
    hostname: &str,
    keys: &str,
    prepare: impl FnOnce(&Path, &Authority),
    expected: &[&str],
) -> Value {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.crt"));
    prepare(folder.path(), &ca);
    let text = format!("[tls]\ntrust = \"../ca.crt\"\n{}", config(hostname, keys));
    let (code, found, report) = findings(&folder, &text);
    assert_eq!(found, expected, "{report:#}");
    let errors = expected.iter().any(|finding| finding.starts_with("error"));
    assert_eq!(code, Some(if errors { 64 } else { 0 }));
    if errors {
        let (code, _, stderr) = portunus(folder.path(), &text, &["run"]);
        assert_eq!(code, Some(64), "{stderr}");
        let message = report["findings"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(stderr.contains(message), "{stderr}");
        assert!(!stderr.contains("PRIVATE KEY-----"), "{stderr}");
    }
    report
}

#[test]
fn a_certificate_that_is_as_it_should_be_is_not_spoken_of() {
    assert_found(
        "a.test",
        "",
        |folder, ca| drop(ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test")),
        &[],
    );
    assert_found(
        "a.test",
        NAMED,
        |folder, ca| drop(ca.issue(&["a.test"]).write(&folder.join("own"), "own")),
        &[],
    );
    let wildcard = |folder: &Path, ca: &Authority| {
        drop(
            ca.issue(&["*.a.test"])
                .write(&folder.join("certs"), "_.a.test"),
        )
    };
    assert_found("*.a.test", "", wildcard, &[]);
    assert_found("www.a.test", "", wildcard, &[]);
}

#[test]
fn the_key_may_stand_in_the_chains_own_file() {
    let together = |folder: &Path, ca: &Authority| {
        let issued = ca.issue(&["a.test"]);
        fs::create_dir_all(folder.join("certs")).expect("certs/");
        secret(
            &folder.join("certs/a.test.pem"),
            &(issued.chain + &issued.key),
        );
    };
    assert_found("a.test", "", together, &[]);
}

#[test]
fn what_is_not_there() {
    let report = assert_found("a.test", "", |_, _| {}, &["error certificate-missing"]);
    let help = report["findings"][0]["help"].as_str().expect("help");
    assert!(
        help.contains("a.test.pem") && help.contains("portunus cert dev a.test"),
        "{help}"
    );
    assert_found("a.test", NAMED, |_, _| {}, &["error certificate-missing"]);
    assert_found("*", "", |_, _| {}, &["error certificate-missing"]);
    // What a first start makes by itself is no error.
    assert_found(
        "localhost",
        "",
        |_, _| {},
        &["warning certificate-development"],
    );
    // The wildcard of another name, however alike, is not there for this one.
    let other = |folder: &Path, ca: &Authority| {
        ca.issue(&["*.nota.test"])
            .write(&folder.join("certs"), "_.nota.test");
        ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test");
    };
    assert_found("*.a.test", "", other, &["error certificate-missing"]);
}

#[test]
fn what_cannot_be_read() {
    let in_the_way = |folder: &Path, _: &Authority| {
        fs::create_dir_all(folder.join("certs/a.test.pem")).expect("a folder")
    };
    assert_found("a.test", "", in_the_way, &["error certificate-unreadable"]);
    let file = |folder: &Path, _: &Authority| fs::write(folder.join("certs"), "").expect("a file");
    assert_found("a.test", "", file, &["error certificate-unreadable"]);
    let key = |folder: &Path, ca: &Authority| {
        ca.issue(&["a.test"]).write(&folder.join("own"), "own");
        fs::remove_file(folder.join("own/own.key")).expect("the key");
        fs::create_dir(folder.join("own/own.key")).expect("a folder");
    };
    assert_found("a.test", NAMED, key, &["error certificate-unreadable"]);
}

/// A certificate of which one file holds something else.
fn with_file(file: &'static str, content: &'static str) -> impl FnOnce(&Path, &Authority) {
    move |folder, ca| {
        ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test");
        fs::write(folder.join("certs").join(file), content).expect("a file");
    }
}

#[test]
fn what_is_broken() {
    let broken = &["error certificate-broken"];
    assert_found("a.test", "", with_file("a.test.pem", ""), broken);
    assert_found(
        "a.test",
        "",
        with_file("a.test.pem", "a certificate, honestly"),
        broken,
    );
    assert_found(
        "a.test",
        "",
        with_file(
            "a.test.pem",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        ),
        broken,
    );
    assert_found(
        "a.test",
        "",
        with_file(
            "a.test.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        broken,
    );
    assert_found(
        "a.test",
        "",
        with_file(
            "a.test.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        broken,
    );
}

#[test]
fn what_has_no_key_or_the_key_of_another() {
    assert_found(
        "a.test",
        "",
        with_file("a.test.key", "no key"),
        &["error certificate-no-key"],
    );
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_found(
        "a.test",
        "",
        with_file("a.test.key", encrypted),
        &["error certificate-password"],
    );
    let none = |folder: &Path, ca: &Authority| {
        ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test");
        fs::remove_file(folder.join("certs/a.test.key")).expect("the key");
    };
    assert_found("a.test", "", none, &["error certificate-no-key"]);
    let mixed = |folder: &Path, ca: &Authority| {
        let mut issued = ca.issue(&["a.test"]);
        issued.key = ca.issue(&["a.test"]).key;
        issued.write(&folder.join("certs"), "a.test");
    };
    assert_found("a.test", "", mixed, &["error certificate-key-mismatch"]);
}

fn valid(from: Duration, to: Duration) -> impl FnOnce(&Path, &Authority) {
    move |folder, ca| {
        let change = |params: &mut CertificateParams| {
            params.not_before = OffsetDateTime::now_utc() + from;
            params.not_after = OffsetDateTime::now_utc() + to;
        };
        ca.issue_with(&["a.test"], change)
            .write(&folder.join("certs"), "a.test");
    }
}

#[test]
fn what_is_not_valid_today_or_soon_no_longer() {
    let days = Duration::days;
    assert_found(
        "a.test",
        "",
        valid(days(-90), days(-2)),
        &["warning certificate-expired"],
    );
    assert_found(
        "a.test",
        "",
        valid(days(-90), days(2)),
        &["warning certificate-expiring"],
    );
    assert_found("a.test", "", valid(days(-1), days(5)), &[]);
    assert_found(
        "a.test",
        "",
        valid(Duration::hours(-137), Duration::hours(7)),
        &["warning certificate-expiring"],
    );
    assert_found(
        "a.test",
        "",
        valid(days(2), days(90)),
        &["warning certificate-not-yet-valid"],
    );
    assert_found("a.test", "", valid(days(-2), days(90)), &[]);
}

#[test]
fn what_names_another_host() {
    let of = |hosts: &'static [&'static str]| {
        move |folder: &Path, ca: &Authority| drop(ca.issue(hosts).write(&folder.join("own"), "own"))
    };
    let found = &["warning certificate-name"];
    assert_found("a.test", NAMED, of(&["b.test"]), found);
    assert_found("a.test", NAMED, of(&["*.a.test"]), found);
    assert_found("a.b.test", NAMED, of(&["*.test"]), found);
    assert_found(
        "*.a.test",
        NAMED,
        of(&["a.test", "*.nota.test", "b.c.a.test"]),
        found,
    );
    assert_found("*.a.test", NAMED, of(&["b.a.test"]), &[]);
    assert_found("*", NAMED, of(&["b.test"]), &[]);
    let report = assert_found("a.test", NAMED, of(&[]), &["warning certificate-no-san"]);
    assert!(
        report["findings"][0]["message"]
            .as_str()
            .is_some_and(|m| m.contains("no name at all"))
    );
}

/// Where a leaf's issuer is fetched (RFC 5280 section 4.2.2.1): SEQUENCE { SEQUENCE { id-ad-caIssuers, [6] "http://ca.test/" } }
fn fetched_from() -> CustomExtension {
    let place = b"http://ca.test/";
    let issuers = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let description = [&issuers[..], &[0x86, 15], place].concat();
    let inner = [&[0x30, 27][..], &description].concat();
    let content = [&[0x30, 29][..], &inner].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

#[test]
fn what_comes_without_its_issuers_or_with_them_in_disorder() {
    let chain = |order: fn(&str, &str, &str) -> String| {
        move |folder: &Path, ca: &Authority| {
            let intermediate = ca.intermediate("an intermediate");
            let change =
                |params: &mut CertificateParams| params.custom_extensions.push(fetched_from());
            let mut issued = intermediate.issue_with(&["a.test"], change);
            issued.chain = order(&issued.chain, &intermediate.pem, &ca.pem);
            issued.write(&folder.join("certs"), "a.test");
        }
    };
    assert_found(
        "a.test",
        "",
        chain(|leaf, _, _| leaf.into()),
        &["warning certificate-chain-incomplete"],
    );
    assert_found(
        "a.test",
        "",
        chain(|leaf, middle, _| format!("{leaf}{middle}")),
        &[],
    );
    assert_found(
        "a.test",
        "",
        chain(|leaf, middle, root| format!("{leaf}{middle}{root}")),
        &["note certificate-chain-root"],
    );
    assert_found(
        "a.test",
        "",
        chain(|leaf, middle, root| format!("{leaf}{root}{middle}")),
        &[
            "warning certificate-chain-order",
            "note certificate-chain-root",
        ],
    );
}

#[test]
fn faults_of_a_folder_are_told_of_the_names_that_are_served_and_of_no_others() {
    let with_broken = |name: &'static str| {
        move |folder: &Path, ca: &Authority| {
            ca.issue(&["www.a.test"])
                .write(&folder.join("certs"), "www.a.test");
            fs::write(folder.join("certs").join(name), "broken").expect("a file");
        }
    };
    assert_found("www.a.test", "", with_broken("b.test.pem"), &[]);
    assert_found("www.a.test", "", with_broken("readme.txt"), &[]);
    // It has a certificate of its own, and does not need the wildcard's.
    assert_found("www.a.test", "", with_broken("_.a.test.pem"), &[]);
    assert_found(
        "*.a.test",
        "",
        with_broken("_.a.test.pem"),
        &["error certificate-broken"],
    );
    assert_found(
        "*",
        "",
        with_broken("b.test.pem"),
        &["warning certificate-broken"],
    );
    // A client without SNI would be shown it, whichever binding it is for.
    assert_found(
        "www.a.test",
        "",
        with_broken("_default.pem"),
        &["warning certificate-broken"],
    );
}
