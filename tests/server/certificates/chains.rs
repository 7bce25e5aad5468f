//! Chains: judged as they are sent, put in order, and completed from the folder; what comes of it is what openssl, curl and a
//! browser's rules accept.

use std::fs;
use std::path::Path;

use rcgen::CertificateParams;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::{assert_found, config, fetched_from, findings};
use crate::support::{Authority, Server, Tool, folder};

/// A root, an intermediate below it, and a leaf of that for `a.test` which says where its issuer is fetched.
struct Chain {
    root: Authority,
    middle: Authority,
    leaf: String,
    key: String,
}

impl Chain {
    fn new() -> Self {
        let root = Authority::new("a root");
        let middle = root.intermediate("an intermediate");
        let issued = middle.issue_with(&["a.test"], |params| {
            params.custom_extensions.push(fetched_from());
        });
        Self {
            root,
            middle,
            leaf: issued.chain,
            key: issued.key,
        }
    }

    /// A folder with the root in `ca.pem`, and the leaf's file with this content.
    fn folder(&self, content: &str) -> TempDir {
        let folder = folder();
        self.root.write(&folder.path().join("ca.pem"));
        let certs = folder.path().join("certs");
        fs::create_dir_all(&certs).expect("certs/");
        fs::write(certs.join("a.test.pem"), content).expect("the chain");
        crate::support::secret(&certs.join("a.test.key"), &self.key);
        folder
    }
}

fn trusting_config() -> String {
    format!("[tls]\ntrust = \"../ca.pem\"\n{}", config("a.test", ""))
}

/// What `openssl s_client` says of the server, and whether it accepts it.
fn s_client(server: &Server) -> (bool, String) {
    let output = Tool::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-showcerts",
            "-servername",
            "a.test",
        ])
        .args(["-verify_hostname", "a.test", "-CAfile"])
        .arg(server.path().join("ca.pem"))
        .arg("-connect")
        .arg(format!("127.0.0.1:{}", server.https))
        .output();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let accepted = text.contains("Verify return code: 0 (ok)");
    (accepted && output.status.success(), text.into_owned())
}

fn curl(server: &Server) -> bool {
    let output = Tool::new("curl")
        .args(["-sS", "--max-time", "100", "--noproxy", "*", "--cacert"])
        .arg(server.path().join("ca.pem"))
        .arg("--resolve")
        .arg(format!("a.test:{}:127.0.0.1", server.https))
        .arg(format!("https://a.test:{}/", server.https))
        .output();
    output.status.success() && output.stdout == b"Hello, World!"
}

#[test]
fn a_missing_intermediate_that_lies_in_the_folder_is_sent() {
    let chain = Chain::new();
    let folder = chain.folder(&chain.leaf);
    let text = trusting_config();
    assert_eq!(
        findings(&folder, &text).1,
        ["warning certificate-chain-incomplete"]
    );
    // That clients refuse it without is what makes it worth telling.
    let mut server = Server::start_in(folder, &text, |_| {});
    let (accepted, said) = s_client(&server);
    assert!(
        !accepted && said.contains("unable to get local issuer certificate"),
        "{said}"
    );
    assert!(!curl(&server));

    chain
        .middle
        .write(&server.path().join("certs/intermediate.crt"));
    assert!(server.reload(&text).contains("reloaded"));
    let (accepted, said) = s_client(&server);
    assert!(accepted, "{said}");
    assert!(curl(&server));
    let log = server.log();
    assert!(
        log.contains("warning[certificate-chain-completed]"),
        "{log}"
    );

    // What was completed stays so, whatever becomes of the file beside it.
    fs::remove_file(server.path().join("certs/intermediate.crt")).expect("the intermediate");
    assert!(server.reload(&text).contains("reloaded"));
    assert!(s_client(&server).0);
}

#[test]
fn a_chain_is_completed_over_several_steps_and_from_any_file_of_certificates() {
    let root = Authority::new("a root");
    let upper = root.intermediate("upper");
    let lower = upper.intermediate("lower");
    let issued = lower.issue(&["a.test"]);
    let folder = folder();
    root.write(&folder.path().join("ca.pem"));
    let certs = folder.path().join("certs");
    issued.write(&certs, "a.test");
    // One stands behind another site's leaf, one is alone, and a namesake with another key is in the way.
    let other = lower.issue(&["b.test"]);
    fs::write(certs.join("b.test.pem"), other.chain + &lower.pem).expect("a chain");
    fs::write(certs.join("b.test.key"), other.key).expect("a key");
    Authority::new("another root")
        .intermediate("upper")
        .write(&certs.join("a-namesake.crt"));
    upper.write(&certs.join("z-upper.cer"));
    let text = trusting_config();
    assert_eq!(
        findings(&folder, &text).1,
        ["warning certificate-chain-completed"; 2]
    );
    let server = Server::start_in(folder, &text, |_| {});
    let (accepted, said) = s_client(&server);
    assert!(accepted, "{said}");
    let sent = said.matches("-----BEGIN CERTIFICATE-----").count();
    assert_eq!(
        sent, 3,
        "the leaf, the lower, the upper, and no root: {said}"
    );
}

#[test]
fn a_chain_in_disorder_is_sent_in_order() {
    let chain = Chain::new();
    let (leaf, middle, root) = (&chain.leaf, &chain.middle.pem, &chain.root.pem);
    let folder = chain.folder(&format!("{leaf}{root}{middle}"));
    let text = trusting_config();
    assert_eq!(
        findings(&folder, &text).1,
        [
            "warning certificate-chain-order",
            "note certificate-chain-root"
        ]
    );
    let server = Server::start_in(folder, &text, |_| {});
    let (accepted, said) = s_client(&server);
    assert!(accepted, "{said}");
    let sent = said
        .find("s:CN = an intermediate")
        .zip(said.find("s:CN = a root"));
    assert!(sent.is_some_and(|(middle, root)| middle < root), "{said}");
}

#[test]
fn what_else_may_be_wrong_with_a_chain() {
    let with = |content: fn(&Chain) -> String| {
        let chain = Chain::new();
        let folder = chain.folder(&content(&chain));
        findings(&folder, &trusting_config()).1
    };
    let namesake = |chain: &Chain| {
        let other = chain.root.intermediate("an intermediate");
        format!("{}{}", chain.leaf, other.pem)
    };
    assert_eq!(
        with(namesake),
        [
            "warning certificate-chain-invalid",
            "note certificate-chain-extra"
        ]
    );
    let stranger = |chain: &Chain| {
        let stranger = Authority::new("another root").intermediate("a stranger");
        format!("{}{}{}", chain.leaf, chain.middle.pem, stranger.pem)
    };
    assert_eq!(with(stranger), ["note certificate-chain-extra"]);
    let upside_down = |chain: &Chain| format!("{}{}", chain.middle.pem, chain.leaf);
    assert_eq!(with(upside_down), ["error certificate-chain-order"]);
    let twice = |chain: &Chain| format!("{}{}{}", chain.leaf, chain.middle.pem, chain.middle.pem);
    assert_eq!(with(twice), ["note certificate-chain-extra"]);
}

#[test]
fn an_intermediate_that_has_expired() {
    let expired = |folder: &Path, ca: &Authority| {
        let past = |params: &mut CertificateParams| {
            params.not_before = OffsetDateTime::now_utc() - Duration::days(400);
            params.not_after = OffsetDateTime::now_utc() - Duration::days(3);
        };
        let middle = ca.intermediate_with("an intermediate", past);
        let mut issued = middle.issue(&["a.test"]);
        issued.chain += &middle.pem;
        issued.write(&folder.join("certs"), "a.test");
    };
    let found = &["warning certificate-chain-expired"];
    assert_found("a.test", "", expired, found);
}

#[test]
fn a_private_ca_is_no_alarm() {
    let chain = Chain::new();
    let whole = format!("{}{}", chain.leaf, chain.middle.pem);
    let in_system = |folder: &TempDir, text: &str| findings(folder, text).1;

    // Its root lies in the certificate folder.
    let folder = chain.folder(&whole);
    chain
        .root
        .write(&folder.path().join("certs/private-ca.crt"));
    assert!(in_system(&folder, &config("a.test", "")).is_empty());
    // Of one whose leaves come from its root nothing is known, and no more is said than that.
    let folder = chain.folder("");
    chain
        .root
        .issue(&["a.test"])
        .write(&folder.path().join("certs"), "a.test");
    assert_eq!(
        in_system(&folder, &config("a.test", "")),
        ["note certificate-issuer-unknown"]
    );
    let strict = super::portunus(folder.path(), &config("a.test", ""), &["check", "--strict"]);
    assert_eq!(strict.0, Some(0), "a note is no warning: {}", strict.2);
    assert!(in_system(&folder, &trusting_config()).is_empty());
}

#[test]
fn a_certificate_that_vouches_for_itself() {
    let own = |folder: &Path, host: &str| {
        fs::create_dir_all(folder.join("certs")).expect("certs/");
        let file = |kind: &str| folder.join(format!("certs/{host}.{kind}"));
        Tool::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "90", "-subj", "/CN=own", "-addext"])
            .arg(format!("subjectAltName=DNS:{host}"))
            .arg("-keyout")
            .arg(file("key"))
            .arg("-out")
            .arg(file("pem"))
            .stdout();
    };
    assert_found(
        "a.test",
        "",
        |folder, _| own(folder, "a.test"),
        &["warning certificate-self-signed"],
    );
    assert_found(
        "a.localhost",
        "",
        |folder, _| own(folder, "a.localhost"),
        &["note certificate-self-signed"],
    );
    // Known to every client, it is as good as any.
    let known = |folder: &Path, _: &Authority| {
        own(folder, "a.test");
        fs::copy(folder.join("certs/a.test.pem"), folder.join("ca.crt")).expect("a copy");
    };
    assert_found("a.test", "", known, &[]);
}
