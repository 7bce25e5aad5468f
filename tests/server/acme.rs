//! Certificates that are ordered from a CA, which is Pebble: issued, renewed, refused, resumed.

mod challenges;
mod renewal;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::free_ports;
use crate::support::pebble::{Pebble, Settings};
use crate::support::{Server, folder, wait_for};

/// A server with an http binding for another name, and https bindings whose certificates are ordered; what it must not forget
/// outlives it.
struct Shop {
    http: u16,
    https: u16,
    kept: TempDir,
}

impl Shop {
    fn new() -> Self {
        let [http, https] = free_ports();
        let kept = tempfile::tempdir().expect("a temporary folder");
        Self { http, https, kept }
    }

    fn pebble(&self) -> Pebble {
        Pebble::start(self.settings())
    }

    fn settings(&self) -> Settings {
        Settings::new(self.http, self.https)
    }

    fn state_dir(&self) -> PathBuf {
        self.kept.path().join("state")
    }

    fn config(&self, acme: &str, names: &[&str]) -> String {
        let bindings: String = (names.iter())
            .map(|name| {
                format!(
                    "[[binding]]\nip = \"127.0.0.1\"\nport = {}\nhostname = \"{name}\"\nsite = \"main\"\ncertificate = \"acme\"\n\
                     protocols = [\"h2\", \"http/1.1\"]\n",
                    self.https
                )
            })
            .collect();
        format!(
            "[server]\nstate_dir = {:?}\nadmin = \"off\"\n{acme}\n\
             [[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = {}\nhostname = \"other.test\"\nsite = \"main\"\n\
             {bindings}\n[[site]]\nname = \"main\"\nhttps_redirect = true\n[[site.route]]\npool = \"main\"\n\
             [[pool]]\nname = \"main\"\nhandler = {{ type = \"respond\", body = \"hello\" }}\n",
            self.state_dir(),
            self.http
        )
    }

    fn start(&self, acme: &str, names: &[&str]) -> Server {
        Server::start_in(folder(), &self.config(acme, names), |_| {})
    }

    /// Asks over https for a name, trusting what is in `root` alone.
    fn ask(&self, name: &str, root: &Path) -> Output {
        self.curl(name, |curl| curl.arg("--cacert").arg(root))
    }

    fn curl(&self, name: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*"]);
        change(&mut curl)
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.https)])
            .arg(format!("https://{name}:{}/", self.https))
            .output()
            .expect("curl")
    }

    /// `portunus cert renew`: how it ended, and what it said.
    fn renew(&self, server: &Server, arguments: &[&str]) -> (bool, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .arg("-c")
            .arg(server.path().join("config/bindings.toml"))
            .args(["cert", "renew"])
            .args(arguments)
            .env_remove("PORTUNUS_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("the portunus binary");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (out.status.success(), said)
    }
}

fn body(out: &Output) -> String {
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{errors}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Waits until a certificate is issued and shown; what its clients trust.
fn wait_issued(server: &mut Server, pebble: &Pebble) -> PathBuf {
    wait_shown(server, 1);
    root_of(server, pebble)
}

/// Waits until the server's log says something, which may have been before it was ready; the line.
fn wait_said(server: &mut Server, text: &str) -> String {
    wait_for(&format!("the log to say {text:?}"), || {
        let log = server.log();
        log.lines()
            .find(|line| line.contains(text))
            .map(str::to_owned)
    })
}

/// Waits until so many certificates were issued and are shown; whoever watches the files may be the first to say so.
fn wait_shown(server: &mut Server, count: usize) {
    wait_for("certificates to be issued and shown", || {
        let log = server.log();
        let of = |text: &str| log.matches(text).count();
        (of(ISSUED) >= count && of(SHOWN) >= count).then_some(())
    });
}

/// What clients of a server with certificates of this Pebble trust.
fn root_of(server: &Server, pebble: &Pebble) -> PathBuf {
    let root = server.path().join("root.pem");
    pebble.write_root(&root);
    root
}

const ISSUED: &str = "a certificate was issued";
const SHOWN: &str = "certificate taken";
const REFUSED: &str = "no certificate could be had";
