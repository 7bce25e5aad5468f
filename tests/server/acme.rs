//! Certificates that are ordered from a CA, which is Pebble: issued, renewed, refused, resumed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::pebble::{Pebble, Settings, free_ports};
use crate::support::{Server, folder, wait_for};

/// A server with an http binding and https bindings of these names, whose certificates are ordered.
struct Shop {
    http: u16,
    https: u16,
}

impl Shop {
    fn new() -> Self {
        let [http, https] = free_ports();
        Self { http, https }
    }

    fn pebble(&self) -> Pebble {
        Pebble::start(self.settings())
    }

    fn settings(&self) -> Settings {
        Settings::new(self.http, self.https)
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
            "{acme}\n[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = {}\nhostname = \"other.test\"\nsite = \"main\"\n\
             {bindings}\n[[site]]\nname = \"main\"\nhttps_redirect = true\n[[site.route]]\npool = \"main\"\n\
             [[pool]]\nname = \"main\"\nhandler = {{ type = \"respond\", body = \"hello\" }}\n",
            self.http
        )
    }

    /// Asks over https for a name, trusting what is in `root` alone.
    fn ask(&self, name: &str, root: &Path) -> Output {
        Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--cacert"])
            .arg(root)
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.https)])
            .arg(format!("https://{name}:{}/", self.https))
            .output()
            .expect("curl")
    }
}

fn body(out: &Output) -> String {
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const ISSUED: &str = "a certificate was issued";

#[test]
fn a_certificate_is_issued_by_http_01_and_served_without_a_reload() {
    let shop = Shop::new();
    let pebble = shop.pebble();
    let config = shop.config(&pebble.acme("challenge = \"http-01\""), &["www.a.test"]);
    let mut server = Server::start_in(folder(), &config, |_| {});
    server.wait_line(ISSUED).expect("a certificate");
    server.wait_line("certificates taken").expect("it is shown");
    let root = server.path().join("root.pem");
    pebble.write_root(&root);
    assert_eq!(body(&shop.ask("www.a.test", &root)), "hello");

    let state = pebble.state(server.path());
    let mode = |file: &str| {
        let about = fs::metadata(state.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        about.permissions().mode() & 0o777
    };
    for folder in ["", "orders", "certificates", "renew"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    for file in ["account.json", "ledger.json", "certificates/www.a.test.pem"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert!(!state.join("orders/www.a.test.key").exists());
    assert!(!server.log().contains("PRIVATE KEY"));
}
