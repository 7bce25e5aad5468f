//! A browser: once it trusts the development CA, it shows the page without a word about certificates.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Server, Site, Tool, WebSocketServer, wait_for};

const PAGE: &str = "type = \"respond\"\nheaders = { content-type = \"text/html\" }\nbody = \"<p>Hello, browser!</p>\"";

/// Chromium with a home of its own; a CA that it trusts, if any. What the page is once it is loaded.
fn page(server: &Server, trusted: Option<PathBuf>) -> String {
    page_with(server, trusted, &["--disable-quic".into()])
}

fn page_with(server: &Server, trusted: Option<PathBuf>, flags: &[String]) -> String {
    let home = tempfile::tempdir().expect("a temporary folder");
    if let Some(ca) = trusted {
        trust(home.path(), &ca);
    }
    let said = home.path().join("dom.html");
    let out = std::fs::File::create(&said).expect("a file");
    let mut browser = Browser(
        Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(flags)
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--dump-dom"])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .arg(format!("https://localhost:{}/", server.https))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium is needed (.ci/setup installs it)"),
    );
    wait_for("Chromium to end", || {
        browser.0.try_wait().expect("the child is ours")
    });
    std::fs::read_to_string(said).expect("what Chromium wrote")
}

/// A browser that does not outlive its test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Adds a CA to those that a home's browsers trust.
fn trust(home: &Path, ca: &Path) {
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("the certificate store");
    let store = format!("sql:{}", store.display());
    Tool::new("certutil")
        .args(["-d", &store, "-N", "--empty-password"])
        .stdout();
    Tool::new("certutil")
        .args([
            "-d",
            &store,
            "-A",
            "-t",
            "C,,",
            "-n",
            "portunus-development",
            "-i",
        ])
        .arg(ca)
        .stdout();
}

#[test]
fn a_browser_that_trusts_the_development_ca_shows_the_page() {
    let server = Site {
        handler: PAGE.into(),
        ..Site::default()
    }
    .start();
    let dom = page(&server, Some(server.ca()));
    assert!(dom.contains("<p>Hello, browser!</p>"), "{dom}");
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_browser_that_does_not_trust_it_shows_its_warning_instead() {
    let server = Site {
        handler: PAGE.into(),
        ..Site::default()
    }
    .start();
    let dom = page(&server, None);
    assert!(!dom.contains("Hello, browser!"), "{dom}");
    let line = server.wait_error("Tls_PeerAlert");
    assert_eq!(line["sni"], "localhost");
    assert_eq!(line["alpn"], "h2 http/1.1");
}

#[test]
fn a_browser_speaks_http3() {
    let server = Site {
        head: "[log]\naccess = \"../access.log\"".into(),
        handler: PAGE.into(),
        ..Site::default()
    }
    .start();
    // Of its own accord Chromium speaks QUIC only with those whose CA the world knows.
    let flags = [
        "--enable-quic".to_owned(),
        format!("--origin-to-force-quic-on=localhost:{}", server.https),
        // Where the site listens; over QUIC no other address is tried.
        "--host-resolver-rules=MAP localhost 127.0.0.1".to_owned(),
    ];
    let dom = page_with(&server, Some(server.ca()), &flags);
    assert!(dom.contains("<p>Hello, browser!</p>"), "{dom}");
    let line = wait_for("a line in the access log", || {
        let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
        text.lines().next().map(str::to_owned)
    });
    assert!(line.contains("\"protocol\":\"h3\""), "{line}");
}

/// Opens a WebSocket to where it came from, says something, and shows what is said back. The page is not done loading before:
/// until then nobody looks at it.
const TALKING: &str = "type = \"respond\"\nheaders = { content-type = \"text/html\" }\nbody = '''<p id=said>nothing</p><script>
const socket = new WebSocket(`wss://${location.host}/socket`, \"chat\");
const show = text => { document.getElementById(\"said\").textContent = text; };
socket.onopen = () => socket.send(\"Hello, server!\");
socket.onmessage = event => { show(`${socket.protocol}: ${event.data}`); socket.close(1000); };
socket.onclose = event => { if (!event.wasClean) show(`closed ${event.code}`); };
</script>'''";

#[test]
fn a_browser_opens_its_websockets_on_the_connection_that_it_has() {
    let upstream = WebSocketServer::start();
    let server = Site {
        head: "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"".into(),
        handler: TALKING.into(),
        tail: format!(
            "[[site.route]]\npath = \"/socket\"\npool = \"socket\"\n[[pool]]\nname = \"socket\"\n[pool.handler]\n\
             type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
            upstream.port
        ),
        ..Site::default()
    }
    .start();
    let flags = [
        "--disable-quic".to_owned(),
        "--virtual-time-budget=10000".to_owned(),
    ];
    let dom = page_with(&server, Some(server.ca()), &flags);
    assert!(dom.contains(">chat: Hello, server!</p>"), "{dom}");
    let line = wait_for("the WebSocket in the access log", || {
        let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
        text.lines()
            .find(|line| line.contains("/socket"))
            .map(str::to_owned)
    });
    assert!(line.contains("\"protocol\":\"h2\""), "{line}");
    assert!(line.contains("\"status\":200"), "{line}");
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}
