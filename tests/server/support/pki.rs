//! A certificate authority of OpenSSL's making, and OpenSSL's OCSP responder.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::folder;

/// A CA of OpenSSL's making in a server's folder, and what it says of its certificates.
pub struct Pki {
    /// The folder.
    pub folder: TempDir,
}

/// `openssl ocsp`, which ends with this value.
pub struct Responder {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Pki {
    /// A root with a key of RSA.
    pub fn new() -> Self {
        let pki = Self { folder: folder() };
        let path = pki.path();
        fs::create_dir(path.join("certs")).expect("certs/");
        let subject = ["-subj", "/CN=test CA", "-days", "30"];
        let own = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem";
        openssl(path, &[&words(own)[..], &subject].concat());
        pki
    }

    /// Where the CA keeps its files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Signs a certificate for a name by this CA, with these extensions: `FILE.pem` and `FILE.key`.
    pub fn sign(&self, ca: &str, file: &str, serial: u32, name: &str, extensions: &str) {
        let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -out a.csr";
        let (subject, key) = (format!("/CN={name}"), format!("{file}.key"));
        let subject = ["-subj", &subject, "-keyout", &key];
        openssl(self.path(), &[&words(new)[..], &subject].concat());
        let out = format!("{file}.pem");
        let files = ("a.csr".as_ref(), out.as_ref());
        sign_request(self.path(), ca, files, serial, extensions);
    }

    /// A certificate for `localhost` in the certificate folder, its CA behind it, that names this port as its responder.
    pub fn issue(&self, serial: u32, responder: u16, extensions: &str) {
        let all = format!(
            "subjectAltName=DNS:localhost\nauthorityInfoAccess=OCSP;URI:http://127.0.0.1:{responder}/\n{extensions}"
        );
        self.sign("ca", "certs/localhost", serial, "localhost", &all);
        let file = self.path().join("certs/localhost.pem");
        let chain =
            [&file, &self.path().join("ca.pem")].map(|file| fs::read(file).expect("a file"));
        fs::write(&file, chain.concat()).expect("the chain");
    }

    /// Starts a responder that signs with this certificate, and knows how these stand; as `openssl ca` writes it down.
    pub fn responder(&self, signer: &str, known: &[(u32, &str)]) -> Responder {
        let mut index = String::new();
        for (serial, standing) in known {
            let (letter, when) = standing.split_at(1);
            writeln!(
                index,
                "{letter}\t491231235959Z\t{when}\t{serial:02X}\tunknown\t/CN={serial}"
            )
            .expect("a string takes all");
        }
        fs::write(self.path().join("index.txt"), index).expect("the CA's index");
        let serve = "ocsp -index index.txt -port 0 -CA ca.pem -ndays 4 -rmd sha256";
        let signer = format!("-rsigner {signer}.pem -rkey {signer}.key");
        let mut child = Command::new("openssl")
            .args(words(serve))
            .args(words(&signer))
            .current_dir(self.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is needed (.ci/setup installs it)");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the responder says where it listens");
        let port = line
            .split_once("ACCEPT [::]:")
            .or(line.split_once("ACCEPT 0.0.0.0:"))
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no port: {line:?}"));
        Responder { child, port }
    }
}

/// How a certificate stands.
pub const GOOD: &str = "V";
/// How a certificate stands.
pub const REVOKED: &str = "R250101000000Z,keyCompromise";

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs what somebody asks for, by the CA of a folder.
pub fn sign_request(
    folder: &Path,
    ca: &str,
    (request, out): (&Path, &Path),
    serial: u32,
    extensions: &str,
) {
    fs::write(folder.join("a.ext"), extensions).expect("the extensions");
    let sign = format!(
        "x509 -req -in {} -CA {ca}.pem -CAkey {ca}.key -extfile a.ext -days 20 -set_serial {serial} -out {}",
        request.display(),
        out.display()
    );
    openssl(folder, &words(&sign));
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// Runs `openssl` in a folder; it must succeed.
pub fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is needed (.ci/setup installs it)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}
