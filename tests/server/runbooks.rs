//! The pages in docs/runbooks, rehearsed: a server that is broken in their way is mended by their own commands.

mod incidents;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};

use crate::support::pki::{GOOD, Pki, REVOKED, openssl, sign_request};
use crate::support::{Server, Site, Upstream, wait_for};

/// A page's blocks of commands, each under its heading.
struct Page {
    blocks: Vec<(String, String)>,
}

impl Page {
    fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/runbooks/{name}.md"));
        let text = fs::read_to_string(file).expect("the page");
        let mut blocks: Vec<(String, String)> = Vec::new();
        let (mut heading, mut is_inside) = (String::new(), false);
        for line in text.lines() {
            match (line, is_inside) {
                ("```sh", false) => {
                    blocks.push((heading.clone(), String::new()));
                    is_inside = true;
                }
                ("```", true) => is_inside = false,
                (line, true) => {
                    let (_, block) = blocks.last_mut().expect("a block has begun");
                    *block += line;
                    block.push('\n');
                }
                (line, false) => {
                    if let Some(named) = line.strip_prefix("## ") {
                        named.clone_into(&mut heading);
                    }
                }
            }
        }
        Self { blocks }
    }

    /// The commands under a heading, block by block.
    fn under(&self, heading: &str) -> Vec<&str> {
        let blocks = self.blocks.iter().filter(|(named, _)| named == heading);
        let found: Vec<_> = blocks.map(|(_, block)| block.as_str()).collect();
        assert!(!found.is_empty(), "nothing to do under {heading}");
        found
    }
}

/// A server that something is wrong with, and whoever was called in the night.
struct Night {
    page: Page,
    server: Server,
    work: PathBuf,
}

impl Night {
    fn begin(page: &str, pki: Pki) -> Self {
        Self::begin_with(page, pki, &Site::default().text())
    }

    /// The same with another bindings file.
    fn begin_with(page: &str, pki: Pki, bindings: &str) -> Self {
        let server = Server::start_in(pki.folder, bindings, |_| {});
        let work = server.path().join("work");
        fs::create_dir(&work).expect("a folder to work in");
        // The roots that everybody trusts.
        fs::copy(server.path().join("ca.pem"), work.join("roots")).expect("the roots");
        Self {
            page: Page::read(page),
            server,
            work,
        }
    }

    /// The CA that runs on beside the server, in its folder.
    fn sign_request(&self, ca: &str, serial: u32, extensions: &str) {
        let request = self.work.join("new.csr");
        let out = self.work.join("new.pem");
        sign_request(self.server.path(), ca, (&request, &out), serial, extensions);
        // The issuer behind it.
        let issuer = fs::read_to_string(self.server.path().join(format!("{ca}.pem")));
        let leaf = fs::read_to_string(self.work.join("new.pem")).expect("the answer");
        fs::write(self.work.join("new.pem"), leaf + &issuer.expect("the CA")).expect("the chain");
    }

    /// Runs commands of the page, with what stands under "First" replaced. Whether the last succeeded, and all that was said.
    fn run(&mut self, commands: &str) -> (bool, String) {
        let mut log = self.server.log();
        // The pages say to append it.
        let access = fs::read_to_string(self.server.path().join("access.log"));
        log.push('\n');
        log += &access.unwrap_or_default();
        fs::write(self.work.join("portunus.log"), log).expect("the log");
        let certs = self.server.path().join("certs");
        let program = Path::new(env!("CARGO_BIN_EXE_portunus"));
        let path = std::env::var("PATH").expect("a PATH");
        let folder = program.parent().expect("the program's folder");
        let output = Command::new("bash")
            .args(["-u", "-e", "-o", "pipefail", "-c", commands])
            .current_dir(&self.work)
            .env("HOST", "localhost")
            .env("PORT", self.server.https.to_string())
            .env("CERT", certs.join("localhost.pem"))
            .env("KEY", certs.join("localhost.key"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .env(
                "PORTUNUS_CONFIG",
                self.server.path().join("config/bindings.toml"),
            )
            .env("SSL_CERT_FILE", self.work.join("roots"))
            .env("CURL_CA_BUNDLE", self.work.join("roots"))
            .env("no_proxy", "*")
            .output()
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    }

    /// Looks, and is told all of this.
    fn look(&mut self, expected: &[&str]) {
        let blocks = self.page.under("Look").join("\n:\n");
        // One that finds nothing keeps nobody from looking further.
        let (_, said) = self.run(&format!("set +e\n{blocks}"));
        for expected in expected {
            assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
        }
    }

    /// Changes the bindings file, as whoever was called does with an editor.
    fn edit(&self, from: &str, to: &str) {
        let file = self.server.path().join("config/bindings.toml");
        let text = fs::read_to_string(&file).expect("the bindings file");
        assert!(text.contains(from), "{from:?} is not in:\n{text}");
        fs::write(file, text.replace(from, to)).expect("the bindings file");
    }

    /// Does what stands under "Mend" at this place.
    fn mend(&mut self, block: usize) {
        let commands = self.page.under("Mend")[block].to_owned();
        let (succeeded, said) = self.run(&commands);
        assert!(succeeded, "{commands}\n{said}");
    }

    fn is_proven(&mut self, block: usize) -> bool {
        let commands = self.page.under("Prove")[block].to_owned();
        self.run(&commands).0
    }

    /// Everything under "Prove" succeeds, at once or as soon as it has come to pass.
    fn prove(&mut self) {
        for block in 0..self.page.under("Prove").len() {
            wait_for("what is to be proven", || {
                self.is_proven(block).then_some(())
            });
        }
    }
}

const NAME: &str = "subjectAltName=DNS:localhost\n";

#[test]
fn every_page_begins_with_the_lines_that_are_to_be_edited_and_those_alone_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let contents = fs::read_to_string(folder.join("README.md")).expect("the contents");
    let mut pages = BTreeSet::new();
    let mut firsts = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the pages") {
        let name = entry.expect("a page").file_name();
        let name = name
            .to_str()
            .and_then(|name| name.strip_suffix(".md"))
            .expect("a page");
        if name == "README" {
            continue;
        }
        assert!(
            contents.contains(&format!("[{name}.md]({name}.md)")),
            "{name}"
        );
        pages.insert(name.to_owned());
        firsts.insert(Page::read(name).under("First").concat());
    }
    assert_eq!(
        pages.into_iter().collect::<Vec<_>>(),
        [
            "ca-outage",
            "certificate-warning",
            "client-cannot-connect",
            "expiry",
            "leaked-key",
            "site-503",
            "slow",
            "wrong-chain",
        ]
    );
    assert_eq!(firsts.len(), 1, "{firsts:?}");
    let first = firsts.first().expect("the first lines");
    for set in ["HOST=", "PORT=", "CERT=", "KEY=", ">portunus.log"] {
        assert!(first.contains(set), "{set}");
    }
}

#[test]
fn expiry() {
    let pki = Pki::new();
    let read = |file: &str| fs::read_to_string(pki.path().join(file)).expect("a file of the CA");
    let ca_key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let ca = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).expect("the CA");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
    params.not_before = OffsetDateTime::now_utc() - Duration::days(90);
    params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
    let expired = params.signed_by(&key, &ca).expect("a certificate");
    let certs = pki.path().join("certs");
    fs::write(certs.join("localhost.pem"), expired.pem() + &read("ca.pem")).expect("a file");
    fs::write(certs.join("localhost.key"), key.serialize_pem()).expect("a file");

    let mut night = Night::begin("expiry", pki);
    assert!(!night.is_proven(0));
    night.look(&["certificate-expired", "notAfter=", "sha256 Fingerprint="]);
    night.mend(0);
    night.sign_request("ca", 9, NAME);
    night.mend(1);
    night.prove();
}

#[test]
fn leaked_key() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, REVOKED), (8, GOOD)]);
    pki.issue(7, responder.port, "");
    let found = fs::read(pki.path().join("certs/localhost.key")).expect("the key");
    let mut night = Night::begin("leaked-key", pki);
    fs::write(night.work.join("found.key"), found).expect("the key");
    night.server.wait_lines("REVOKED", 1);
    assert!(!night.is_proven(0));
    night.look(&["keyCompromise", "localhost.pem"]);
    let (_, said) = night.run(night.page.under("Look")[1].to_owned().as_str());
    let hash = said
        .split_whitespace()
        .find(|word| word.len() == 64)
        .expect("a hash");
    assert_eq!(
        said.matches(hash).count(),
        2,
        "the key is that of one certificate: {said}"
    );
    night.mend(0);
    let extensions = format!(
        "{NAME}authorityInfoAccess=OCSP;URI:http://127.0.0.1:{}/\n",
        responder.port
    );
    night.sign_request("ca", 8, &extensions);
    night.mend(1);
    night.prove();
}

#[test]
fn ca_outage() {
    let pki = Pki::new();
    let responder = pki.responder("ca", &[(7, GOOD)]);
    pki.issue(7, responder.port, "tlsfeature=status_request\n");
    let own = "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -subj /CN=other -days 30";
    openssl(pki.path(), &own.split(' ').collect::<Vec<_>>());
    let mut night = Night::begin("ca-outage", pki);
    night.server.wait_lines(" stapled", 1);
    drop(responder);
    // Clients notice nothing yet, not even those that insist.
    night.look(&[
        "requires a staple",
        "Next Update",
        "notAfter=",
        "status_request",
    ]);
    let (served, said) = night.run("curl -sS --cert-status \"https://$HOST:$PORT/\"");
    assert!(served, "{said}");
    // The time is nearly over.
    let roots =
        ["ca.pem", "other.pem"].map(|ca| fs::read(night.server.path().join(ca)).expect("a CA"));
    fs::write(night.work.join("roots"), roots.concat()).expect("the roots");
    night.mend(0);
    night.sign_request("other", 1, NAME);
    night.mend(1);
    night.prove();
    let (served, _) =
        night.run("openssl x509 -in \"$CERT\" -noout -ext tlsfeature | grep status_request");
    assert!(!served, "it does without the CA now");
}

#[test]
fn wrong_chain() {
    let pki = Pki::new();
    pki.sign(
        "ca",
        "middle",
        5,
        "an intermediate",
        "basicConstraints=critical,CA:TRUE\n",
    );
    let middle = pki.path().join("middle.pem");
    let der = Command::new("openssl")
        .args(["x509", "-outform", "der", "-in"])
        .arg(middle)
        .output();
    let der = der.expect("openssl").stdout;
    let ca = Upstream::start(move |talk| {
        if talk.read_head().is_some() {
            talk.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                der.len()
            ));
            talk.send(&der);
        }
    });
    let place = format!(
        "authorityInfoAccess=caIssuers;URI:http://127.0.0.1:{}/middle.der\n",
        ca.port
    );
    pki.sign(
        "middle",
        "certs/localhost",
        7,
        "localhost",
        &format!("{NAME}{place}"),
    );
    let mut night = Night::begin("wrong-chain", pki);
    assert!(!night.is_proven(0));
    night.look(&[
        "certificate-chain-incomplete",
        "s:CN = localhost",
        "i:CN = an intermediate",
        "Verify return code: 2",
    ]);
    night.mend(0);
    night.mend(1);
    night.prove();
}
