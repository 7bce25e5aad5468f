//! Pools that own their application: started, watched, replaced and ended, with an application in Python.

mod chaos;
mod counted;
mod demand;
mod ends;
mod failing;
mod recycling;
mod resting;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Server, Site, folder, raw, wait_for};

/// A server with one pool whose application is `app.py`.
struct App {
    server: Server,
    site: Site,
}

impl App {
    /// `handler`: keys of the handler beside those that every one here has; `pool`: keys of the pool.
    fn start(pool: &str, handler: &str) -> Self {
        Self::start_with(pool, handler, &[])
    }

    /// The same, with files in the application's folder.
    fn start_with(pool: &str, handler: &str, files: &[(&str, &str)]) -> Self {
        Self::start_in(pool, handler, files, |_| {})
    }

    /// The same, with what `change` does to the server's command.
    fn start_in(
        pool: &str,
        handler: &str,
        files: &[(&str, &str)],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = folder();
        let app = folder.path().join("app");
        fs::create_dir(&app).expect("app/");
        fs::write(app.join("app.py"), include_str!("workers/app.py")).expect("the application");
        for (name, content) in files {
            fs::write(app.join(name), content).expect("a file");
        }
        let site = Site {
            head: "[server]\nadmin = \"unix:../admin.sock\"\n".into(),
            pool: pool.into(),
            handler: Self::handler(handler),
            ..Site::default()
        };
        let server = Server::start_in(folder, &site.text(), change);
        Self { server, site }
    }

    fn handler(keys: &str) -> String {
        format!("type = \"process\"\ncommand = [\"python3\", \"app.py\"]\ncwd = \"../app\"\n{keys}")
    }

    fn reload(&mut self, handler: &str) -> String {
        self.site.handler = Self::handler(handler);
        self.server.reload(&self.site.text())
    }

    /// A file of the application's folder.
    fn file(&self, name: &str) -> PathBuf {
        self.server.path().join("app").join(name)
    }

    /// How often the application was started.
    fn starts(&self) -> usize {
        let starts = fs::read_to_string(self.file("starts")).unwrap_or_default();
        starts.lines().count()
    }

    /// Whoever asks, from any thread.
    fn client(&self) -> Client {
        Client(self.server.http)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.client().get(path)
    }

    fn pid(&self) -> u32 {
        self.client().pid()
    }

    /// Runs a command against the running server: whether it succeeded, and what it said.
    fn ask(&self, arguments: &[&str]) -> (bool, String) {
        let asked = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .arg("-c")
            .arg(self.server.path().join("config/bindings.toml"))
            .args(arguments)
            .output()
            .expect("the portunus binary");
        let said = [asked.stdout, asked.stderr].concat();
        (
            asked.status.success(),
            String::from_utf8(said).expect("text"),
        )
    }

    fn recycle(&self) {
        let (done, said) = self.ask(&["pool", "recycle", "main"]);
        assert!(done, "{said}");
    }

    /// The pool, as `show pools --json` has it.
    fn pool(&self) -> Value {
        let (done, said) = self.ask(&["show", "pools", "--json"]);
        assert!(done, "{said}");
        let shown: Value = serde_json::from_str(&said).expect("JSON");
        shown["pools"][0].clone()
    }

    fn wait_state(&self, state: &str) -> Value {
        wait_for(&format!("the state {state}"), || {
            let pool = self.pool();
            (pool["state"] == state).then_some(pool)
        })
    }
}

/// Somebody who asks at a port.
#[derive(Clone, Copy)]
struct Client(u16);

impl Client {
    /// One request on a connection of its own: status and content.
    fn get(self, path: &str) -> (u16, String) {
        let mut stream = raw::connect(self.0);
        raw::ask(&mut stream, path);
        let (head, content) = raw::read_response(&mut stream);
        let content = String::from_utf8(content).expect("text");
        (raw::status(&head), content)
    }

    /// The process that answers.
    fn pid(self) -> u32 {
        let (status, pid) = self.get("/pid");
        assert_eq!(status, 200, "{pid}");
        pid.parse().expect("a process")
    }
}

/// Sends a process a signal.
fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(sent.expect("kill").success(), "kill -{signal} {pid}");
}

/// A process' state as the system has it: `S`, `T`, `Z`; none where it is gone.
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

fn is_gone(pid: u32) -> bool {
    matches!(state_of(pid), None | Some('Z'))
}
