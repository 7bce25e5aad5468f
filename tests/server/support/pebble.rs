//! Pebble: the ACME server that CAs test clients with, and the DNS that it asks.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::{Authority, free_ports, wait_for};

/// A Pebble and its DNS, stopped when dropped. Every name leads to 127.0.0.1.
pub struct Pebble {
    settings: Settings,
    folder: TempDir,
    pebble: Option<Child>,
    /// Whoever tells when certificates are to be renewed, and on which port.
    front: Option<(Child, u16)>,
    dns: Child,
    port: u16,
    management: u16,
    dns_management: u16,
}

/// How a Pebble is set up.
pub struct Settings {
    /// Where it looks for http-01.
    pub http: u16,
    /// Where it looks for tls-alpn-01.
    pub https: u16,
    /// How long certificates are valid, in seconds.
    pub validity: u64,
    /// Key ids and HMAC keys; with any, no account is made without.
    pub eab: HashMap<String, String>,
    /// Out of a hundred good nonces so many are refused.
    pub nonces_refused: u32,
}

impl Settings {
    /// What looks for a server on these ports.
    pub fn new(http: u16, https: u16) -> Self {
        Self {
            http,
            https,
            validity: 90 * 86_400,
            eab: HashMap::new(),
            nonces_refused: 15,
        }
    }
}

impl Pebble {
    /// Starts both, and waits until they answer.
    pub fn start(settings: Settings) -> Self {
        let mut pebble = Self::down(settings);
        pebble.up();
        pebble
    }

    /// The same with the CA itself still down.
    pub fn down(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = Authority::new("the CA of Pebble's own https");
        ca.write(&folder.path().join("ca.pem"));
        ca.issue(&["127.0.0.1"]).write(folder.path(), "own");
        let [port, management, dns, dns_management] = free_ports();
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": folder.path().join("own.pem"),
            "privateKey": folder.path().join("own.key"),
            "httpPort": settings.http,
            "tlsPort": settings.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !settings.eab.is_empty(),
            "externalAccountMACKeys": settings.eab,
            "certificateValidityPeriod": settings.validity,
        }});
        fs::write(folder.path().join("pebble.json"), config.to_string()).expect("its file");
        let dns_address = format!("127.0.0.1:{dns}");
        fs::write(folder.path().join("dns"), &dns_address).expect("a note");
        let child = Command::new("pebble-challtestsrv")
            .args(["-dns01", &dns_address])
            .args(["-management", &format!("127.0.0.1:{dns_management}")])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble-challtestsrv (package pebble)");
        wait_connect(dns_management);
        Self {
            settings,
            folder,
            pebble: None,
            front: None,
            dns: child,
            port,
            management,
            dns_management,
        }
    }

    /// Starts the CA, which knows of nothing that was before.
    pub fn up(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("its log");
        let errors = log.try_clone().expect("its log");
        let dns = fs::read_to_string(self.folder.path().join("dns")).expect("a note");
        let child = Command::new("pebble")
            .arg("-config")
            .arg(self.folder.path().join("pebble.json"))
            .args(["-dnsserver", &dns])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_VA_ALWAYS_VALID", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                self.settings.nonces_refused.to_string(),
            )
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("pebble (package pebble)");
        self.pebble = Some(child);
        wait_connect(self.port);
        wait_connect(self.management);
    }

    /// Puts in front of it whoever tells when certificates are to be renewed (`ari_front.py`).
    pub fn tell_renewals(&mut self) {
        self.stand_before(0);
    }

    /// The same who refuses so many questions after an order for their nonces.
    pub fn refuse_polls(&mut self, count: usize) {
        self.stand_before(count);
    }

    fn stand_before(&mut self, refused: usize) {
        let [port] = free_ports();
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/server/support/ari_front.py"
        );
        let child = Command::new("python3")
            .args([script, &port.to_string(), &self.port.to_string()])
            .args(["own.pem", "own.key", "renewals"])
            .arg(refused.to_string())
            .current_dir(self.folder.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        self.front = Some((child, port));
        wait_connect(port);
    }

    /// What it was asked of renewals, and what orders said that they replace.
    pub fn renewals(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.folder.path().join("renewals")).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    /// Ends the CA; its DNS stays.
    pub fn end(&mut self) {
        if let Some(mut child) = self.pebble.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `[acme]` for this CA.
    pub fn acme(&self, more: &str) -> String {
        format!(
            "[acme]\ndirectory = \"{}\"\nca = {:?}\nterms_agreed = true\ncontact = [\"admin@a.test\"]\n{more}\n",
            self.directory(),
            self.folder.path().join("ca.pem"),
        )
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        let port = self.front.as_ref().map_or(self.port, |(_, port)| *port);
        format!("https://127.0.0.1:{port}/dir")
    }

    /// Where a server with this state folder keeps what is this CA's.
    pub fn state(&self, state_dir: &Path) -> PathBuf {
        state_dir.join(format!("acme/127.0.0.1_{}_dir", self.port))
    }

    /// Writes the root that its certificates are issued under, for clients to trust.
    pub fn write_root(&self, file: &Path) {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let out = Command::new("curl")
            .args(["-sS", "--fail", "--cacert"])
            .arg(self.folder.path().join("ca.pem"))
            .arg(url)
            .output()
            .expect("curl");
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        fs::write(file, out.stdout).expect("the root's file");
    }

    /// What it says it does.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How many orders it was sent, as its log has it.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }

    /// The URL of its DNS' API.
    pub fn dns_api(&self) -> String {
        format!("http://127.0.0.1:{}", self.dns_management)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.end();
        if let Some((front, _)) = &mut self.front {
            let _ = front.kill();
            let _ = front.wait();
        }
        let _ = self.dns.kill();
        let _ = self.dns.wait();
        if std::thread::panicking() {
            eprintln!("--- pebble\n{}", self.log());
        }
    }
}

fn wait_connect(port: u16) {
    wait_for("Pebble to listen", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
}
