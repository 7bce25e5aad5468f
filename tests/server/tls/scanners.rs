//! What scanners say of the default configuration: no finding that is worse than low.

use std::fs;

use serde_json::Value;

use crate::support::{Server, Site, Tool};

/// What testssl finds of a server of the tests whatever the server does, and why.
const INHERENT: [(&str, &str); 4] = [
    (
        "cert_revocation",
        "the development CA has no responder, and no list",
    ),
    ("DNS_CAArecord", "`localhost` has no DNS"),
    (
        "HSTS",
        "a browser cannot be told otherwise for as long as it says: it must be asked for",
    ),
    (
        "security_headers",
        "what a site's pages may do is its owner's to say, and nothing of TLS",
    ),
];

fn server() -> Server {
    Site::default().start()
}

/// The findings of testssl's parts that are worse than low, or that could not be made.
fn findings(server: &Server, parts: &[&str]) -> Vec<String> {
    let file = server.path().join("testssl.json");
    let mut tool = Tool::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "off"])
        .args(["--ip", "127.0.0.1", "--add-ca"])
        .arg(server.ca())
        .arg("--jsonfile")
        .arg(&file);
    for part in parts {
        tool = tool.arg(part);
    }
    // It ends with the number of what it found.
    let output = tool
        .arg(format!("https://localhost:{}", server.https))
        .output();
    let said = String::from_utf8_lossy(&output.stdout);
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {said}"));
    let all: Vec<Value> =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(all.len() >= 10, "testssl looked at nothing: {said}");
    let told = |finding: &&Value| {
        let fine = ["OK", "INFO", "LOW"].map(|severity| finding["severity"] == severity);
        !fine.contains(&true) && !INHERENT.iter().any(|(id, _)| finding["id"] == *id)
    };
    let told = all.iter().filter(told);
    told.map(|finding| {
        format!(
            "{} {}: {}",
            finding["severity"], finding["id"], finding["finding"]
        )
    })
    .collect()
}

/// What testssl knows of the parts that are ours: what is spoken, who prefers what, how the first bytes are read, tickets.
#[test]
fn testssl_finds_nothing_in_what_is_agreed_on_and_in_what_is_ours() {
    let server = server();
    let parts = [
        "--protocols",
        "--server-preference",
        "--heartbleed",
        "--ccs-injection",
        "--ticketbleed",
        "--renegotiation",
    ];
    assert_eq!(findings(&server, &parts), [""; 0]);
}

#[test]
#[ignore = "it takes most of a minute: `just testssl` runs it"]
fn testssl_finds_nothing_in_all_that_it_knows() {
    let server = server();
    assert_eq!(findings(&server, &[]), [""; 0]);
}

#[test]
fn sslscan_finds_nothing() {
    let server = server();
    let said = Tool::new("sslscan")
        // Groups take it ten seconds, and `a_post_quantum_group_is_agreed_first…` none.
        .arg("--no-groups")
        .arg(format!("localhost:{}", server.https))
        .stdout();
    for line in ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"] {
        assert!(
            plain(&said).contains(&format!("{line:<10}disabled")),
            "{said}"
        );
    }
    assert!(plain(&said).contains("Preferred TLSv1.3"), "{said}");
    // What it holds for bad it writes in red, and what is doubtful in yellow.
    let found = said
        .lines()
        .filter(|line| line.contains("\u{1b}[31m") || line.contains("\u{1b}[33m"));
    // Its own openssl was built without compression.
    let found: Vec<_> = found
        .map(plain)
        .filter(|line| !line.contains("OpenSSL version does not support compression"))
        .filter(|line| !line.contains("Rebuild with zlib1g-dev"))
        .collect();
    assert_eq!(found, [""; 0]);
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, colour)) = rest.split_once('\u{1b}') {
        plain += before;
        rest = colour.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}
