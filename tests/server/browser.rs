//! A browser: once it trusts the development CA, it shows the page without a word about certificates.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, Site, Tool, WebSocketServer, wait_for};

const PAGE: &str = "type = \"respond\"\nheaders = { content-type = \"text/html\" }\nbody = \"<p>Hello, browser!</p>\"";

/// Chromium with a home of its own; a CA that it trusts, if any. What the page is once it is loaded.
fn page(server: &Server, trusted: Option<PathBuf>) -> String {
    page_with(server, trusted, &["--disable-quic".into()])
}

fn page_with(server: &Server, trusted: Option<PathBuf>, flags: &[String]) -> String {
    let dump = ["--dump-dom".to_owned()];
    let mut browser = Browser::start(server, trusted, &[flags, &dump].concat());
    wait_for("Chromium to end", || {
        browser.process.try_wait().expect("the child is ours")
    });
    std::fs::read_to_string(browser.home.path().join(WROTE)).expect("what Chromium wrote")
}

/// What it writes to its standard output, in its home.
const WROTE: &str = "dom.html";

/// A browser that does not outlive its test.
struct Browser {
    process: Child,
    home: TempDir,
}

impl Browser {
    /// Has Chromium open a server's page. It stays open, unless the flags have it do something and end.
    fn start(server: &Server, trusted: Option<PathBuf>, flags: &[String]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        if let Some(ca) = trusted {
            trust(home.path(), &ca);
        }
        let out = std::fs::File::create(home.path().join(WROTE)).expect("a file");
        let process = Command::new("chromium")
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
            .args(["--disable-dev-shm-usage", "--no-proxy-server"])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .arg(format!("https://localhost:{}/", server.https))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            // It is many processes, which end together.
            .process_group(0)
            .spawn()
            .expect("chromium is needed (.ci/setup installs it)");
        Self { process, home }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id().try_into().expect("a process id"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

/// The error log, without connections that Chromium gave up. When a handshake takes it long it makes a second connection, and leaves
/// the other in the middle of its handshake when the first is there.
fn errors(server: &Server) -> Vec<Value> {
    let mut errors = server.errors();
    errors.retain(|line| {
        line["detail"] != "the client closed the connection in the middle of the handshake"
    });
    errors
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
    assert_eq!(errors(&server), Vec::<Value>::new());
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

/// Opens a WebSocket to where it came from, says something, and asks for a page that is named for how it went, whenever that is:
/// the access log has it.
const TALKING: &str =
    "type = \"respond\"\nheaders = { content-type = \"text/html\" }\nbody = '''<script>
const socket = new WebSocket(`wss://${location.host}/socket`, \"chat\");
let heard = \"nothing\";
socket.onopen = () => socket.send(\"Hello\");
socket.onmessage = event => { heard = `${socket.protocol}-${event.data}`; socket.close(1000); };
socket.onclose = event => fetch(`/said/${heard}-${event.code}`);
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
    let flags = ["--disable-quic".to_owned()];
    let _browser = Browser::start(&server, Some(server.ca()), &flags);
    let access = |path: &str| {
        wait_for(&format!("{path} in the access log"), || {
            let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
            text.lines()
                .find(|line| line.contains(path))
                .map(str::to_owned)
        })
    };
    let said = access("/said/");
    assert!(said.contains("/said/chat-Hello-1000"), "{said}");
    let line = access("/socket");
    assert!(line.contains("\"protocol\":\"h2\""), "{line}");
    assert!(line.contains("\"status\":200"), "{line}");
    assert_eq!(errors(&server), Vec::<Value>::new());
}
