//! Starting the real program and watching it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A running `portunus run`, stopped when dropped.
pub struct Server {
    child: Child,
    folder: TempDir,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    /// Where http is listened, if it is.
    pub http: u16,
    /// Where https is listened, if it is.
    pub https: u16,
}

/// The commonest configuration, to begin with: one site on an http and an https binding of `localhost`, and one pool.
pub struct Site {
    /// `[server]`, `[limits]`, `[log]` and the like.
    pub head: String,
    /// Keys of the two bindings.
    pub http: String,
    /// Keys of the https binding.
    pub https: String,
    /// Keys of `[[pool]]`.
    pub pool: String,
    /// Keys of `[pool.handler]`.
    pub handler: String,
    /// Further tables.
    pub tail: String,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            head: String::new(),
            http: String::new(),
            https: String::new(),
            pool: String::new(),
            handler: "type = \"respond\"\nbody = \"Hello, World!\"".into(),
            tail: String::new(),
        }
    }
}

impl Site {
    /// The text of the bindings file. Port 0: the system chooses.
    pub fn text(&self) -> String {
        let Self {
            head,
            http,
            https,
            pool,
            handler,
            tail,
        } = self;
        format!(
            "{head}\n\
             [[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"*\"\nsite = \"main\"\n{http}\n\
             [[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"localhost\"\nsite = \"main\"\n{https}\n\
             [[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
             [[pool]]\nname = \"main\"\n{pool}\n[pool.handler]\n{handler}\n{tail}\n"
        )
    }

    /// Starts a server with it.
    pub fn start(&self) -> Server {
        Server::start(&self.text())
    }
}

/// A folder with the layout that servers of these tests have: `config/`, `certs/`.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("config")).expect("config/");
    folder
}

impl Server {
    /// Starts a server with this bindings file and waits until it is ready. The error log is `errors.log` unless the text has
    /// a `[log]` table of its own; the access log is off unless it says otherwise.
    pub fn start(config: &str) -> Self {
        Self::start_in(folder(), config, |_| {})
    }

    /// The same in a folder that was prepared, with the command changed.
    pub fn start_in(folder: TempDir, config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut server = Self::spawn(folder, config, change);
        server.wait_ready();
        server
    }

    /// Starts the program, and waits for nothing.
    pub fn spawn(folder: TempDir, config: &str, change: impl FnOnce(&mut Command)) -> Self {
        raise_open_files();
        let file = folder.path().join("config/bindings.toml");
        fs::write(&file, Self::with_log(config)).expect("the bindings file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command
            .arg("-c")
            .arg(&file)
            .arg("run")
            .env_remove("PORTUNUS_LOG")
            .env_remove("PORTUNUS_CONFIG");
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("the portunus binary");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            folder,
            lines,
            seen: Vec::new(),
            http: 0,
            https: 0,
        }
    }

    fn with_log(config: &str) -> String {
        if config.contains("[log]") {
            config.into()
        } else {
            format!("[log]\nerrors = \"../errors.log\"\n{config}")
        }
    }

    /// Waits until it is ready, and takes note of its ports.
    pub fn wait_ready(&mut self) {
        let ready = self.wait_line("ready");
        assert!(
            ready.is_some(),
            "the server did not become ready:\n{}",
            self.seen.join("\n")
        );
        // Other lines may name other ports.
        for line in self.seen.iter().filter(|line| line.contains("listening")) {
            if let Some((_, port)) = line.split_once("http://127.0.0.1:") {
                self.http = port.trim().parse().expect("a port");
            }
            if let Some((_, port)) = line.split_once("https://127.0.0.1:") {
                self.https = port.trim().parse().expect("a port");
            }
        }
    }

    /// Waits for a line of the server's own log that contains `text`; none if the server ends without.
    pub fn wait_line(&mut self, text: &str) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            self.seen.push(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
    }

    /// Waits until so many lines of the server's own log contain `text`, those from before it was ready among them.
    pub fn wait_lines(&mut self, text: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines with {text:?}"), || {
            let log = self.log();
            let lines = log.lines().filter(|line| line.contains(text));
            let found: Vec<_> = lines.map(str::to_owned).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits until the server has shaken hands with itself: before that, what it takes is not only what its clients make it take.
    pub fn wait_rehearsed(&mut self) {
        let told = "handshakes with ourselves";
        if !self.log().contains(told) {
            self.wait_line(told).expect("it tells what clients see");
        }
    }

    /// Everything that the server's own log has said so far.
    pub fn log(&mut self) -> String {
        while let Ok(line) = self.lines.try_recv() {
            self.seen.push(line);
        }
        self.seen.join("\n")
    }

    /// The server's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The development CA, which its clients trust.
    pub fn ca(&self) -> PathBuf {
        self.path().join("certs/development-ca.crt")
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory of its own in KiB: what is paged in of the program itself is nobody's doing.
    pub fn memory_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("RssAnon");
        line.split_ascii_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number")
    }

    /// The lines of the error log so far.
    pub fn errors(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("errors.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Waits until the error log has so many lines.
    pub fn wait_all_errors(&self, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} lines in the error log"), || {
            let found = self.errors();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for a line of the error log with this reason.
    pub fn wait_error(&self, reason: &str) -> Value {
        self.wait_errors(reason, 1).remove(0)
    }

    /// Waits for so many lines of the error log with this reason.
    pub fn wait_errors(&self, reason: &str, count: usize) -> Vec<Value> {
        wait_for(
            &format!("{count} lines of {reason} in the error log"),
            || {
                let mut found = self.errors();
                found.retain(|line| line["reason"] == reason);
                (found.len() >= count).then_some(found)
            },
        )
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.pid().to_string())
            .status();
        assert!(sent.expect("kill").success(), "kill -{signal}");
    }

    /// Writes another bindings file and has it reloaded; the line that tells how it ended.
    pub fn reload(&mut self, config: &str) -> String {
        fs::write(
            self.path().join("config/bindings.toml"),
            Self::with_log(config),
        )
        .expect("the bindings file");
        self.log();
        self.signal("HUP");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .expect("the server says how the reload ended");
            self.seen.push(line.clone());
            if line.contains("reloaded") || line.contains("was not taken") {
                return line;
            }
        }
        panic!("the reload did not end:\n{}", self.seen.join("\n"));
    }

    /// Does something while the process stands still: all that comes of it comes to the server at once, before any timer that
    /// begins with a part of it can have run out.
    pub fn at_once<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        wait_for("every thread to stand still", || self.stands_still());
        let made = act();
        self.signal("CONT");
        made
    }

    fn stands_still(&self) -> Option<()> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let mut states = threads.filter_map(|thread| {
            // What is behind the name, which may hold anything.
            let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            stat.rsplit(") ").next()?.chars().next()
        });
        states.all(|state| state == 'T').then_some(())
    }

    /// Waits until the process has ended by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the process to end", || {
            self.child.try_wait().expect("the child is ours")
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.log());
            eprintln!(
                "--- error log\n{}",
                fs::read_to_string(self.path().join("errors.log")).unwrap_or_default()
            );
        }
    }
}

/// Makes a command run through another program that ends in executing it, such as `sh -c 'ulimit …; exec "$@"' sh`.
pub fn through(command: &mut Command, wrapper: &[&str]) {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped
        .args(&wrapper[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("PORTUNUS_LOG")
        .env_remove("PORTUNUS_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    *command = wrapped;
}

/// Every connection of a server is one of its clients' too, and these tests are all its clients.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Far more than anything here takes, on a machine with little time for us too: the first start of a browser there takes tens of
/// seconds. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);
