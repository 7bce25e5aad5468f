//! The pages in docs/workers, tried out: each part's files are written into a folder, a server is started with its bindings file, and
//! its commands print what the page says. And whatever was started is gone when the server is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Server, folder, library, wait_for};

/// A part of a page.
struct Part {
    /// Files by their names, in the order of the page.
    files: Vec<(String, String)>,
    /// Commands, and what they print together.
    tries: Vec<(String, String)>,
}

impl Part {
    fn read(page: &str, heading: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/workers/{page}.md"));
        let text = fs::read_to_string(file).expect("the page");
        let begin = text.find(&format!("\n## {heading}\n")).expect("the part");
        let text = &text[begin + 4..];
        let text = text.split_once("\n## ").map_or(text, |(part, _)| part);
        let mut part = Self {
            files: Vec::new(),
            tries: Vec::new(),
        };
        let mut before = "";
        let blocks = text.split("\n```").map(|piece| {
            let (language, content) = piece.split_once('\n').unwrap_or((piece, ""));
            (language, content)
        });
        for (language, content) in blocks {
            match language {
                "sh" => part.tries.push((content.to_owned() + "\n", String::new())),
                "text" => {
                    let (_, printed) = part.tries.last_mut().expect("commands before it");
                    *printed = content.to_owned() + "\n";
                }
                "" => before = content,
                _ if !before.trim_end().ends_with(':') => before = content,
                _ => part
                    .files
                    .push((name(before).to_owned(), content.to_owned() + "\n")),
            }
        }
        part
    }

    /// The commands that follow the start of the server.
    fn tries(&self) -> impl Iterator<Item = &(String, String)> {
        let is_ours = |commands: &str| {
            ["portunus -c", "cargo "]
                .iter()
                .any(|it| commands.starts_with(it))
        };
        self.tries
            .iter()
            .filter(move |(commands, _)| !is_ours(commands))
    }
}

/// What a file is called, by the text that ends before it: `` `app.py`: ``.
fn name(before: &str) -> &str {
    let mut quoted = before.trim_end().rsplit('`');
    quoted.next();
    quoted.next().expect("a name in backquotes")
}

/// A part of a page that is being tried out.
struct Trial {
    part: Part,
    server: Server,
}

impl Trial {
    /// Starts a server with the part's files, and with what `prepare` puts beside them. Its text is changed by `change`.
    fn start(
        page: &str,
        heading: &str,
        prepare: impl FnOnce(&Path),
        change: impl Fn(String) -> String,
    ) -> Self {
        let part = Part::read(page, heading);
        let folder = folder();
        let place = folder.path().join("config");
        let mut bindings = None;
        for (name, text) in &part.files {
            if name == "bindings.toml" {
                bindings = Some(change(text.replace("port = 8080", "port = 0")));
                continue;
            }
            let file = place.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        prepare(&place);
        let bindings = bindings.expect("the part has a bindings file");
        let server = Server::start_in(folder, &bindings, |_| {});
        Self { part, server }
    }

    fn place(&self) -> PathBuf {
        self.server.path().join("config")
    }

    /// Every command prints what the page says.
    fn run(&self) {
        let mut count = 0;
        for (commands, printed) in self.part.tries() {
            assert_eq!(&self.print(commands), printed, "{commands}");
            count += 1;
        }
        assert!(count > 0, "the part has something to try");
    }

    fn print(&self, commands: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_portunus"));
        let path = std::env::var("PATH").expect("a PATH");
        let folder = program.parent().expect("the program's folder");
        let output = Command::new("bash")
            .args(["-u", "-e", "-o", "pipefail", "-c"])
            .arg(commands.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.server.http)))
            .current_dir(self.place())
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("PORTUNUS_CONFIG", self.place().join("bindings.toml"))
            .env("no_proxy", "*")
            .output()
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{said}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        // What `portunus pool recycle` says is for a person.
        printed
            .lines()
            .filter(|line| !line.starts_with("recycl"))
            .map(|line| line.to_owned() + "\n")
            .collect()
    }

    /// The server ends, and with it whatever it has started.
    fn end(mut self) {
        let place = fs::canonicalize(self.place()).expect("the folder");
        assert_ne!(
            at_work_in(&place),
            Vec::<String>::new(),
            "workers are found by their folder"
        );
        let pid = Pid::from_raw(self.server.pid().cast_signed());
        kill(pid, Signal::SIGTERM).expect("the server");
        self.server.wait_line("stopped").expect("its last line");
        wait_for("the end of all workers", || {
            at_work_in(&place).is_empty().then_some(())
        });
        let sockets = self.server.path().join("state/workers");
        let left = names_beneath(&sockets);
        assert!(!left.iter().any(|name| name == "socket"), "{left:?}");
    }
}

/// The names of whatever lies somewhere in a folder.
fn names_beneath(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        names.extend(names_beneath(&entry.path()));
    }
    names
}

/// The processes that work in a folder.
fn at_work_in(place: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == place))
        .filter_map(|process| {
            let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
            (!command.is_empty()).then_some(command)
        })
        .collect()
}

fn try_out(page: &str, heading: &str) {
    let trial = Trial::start(page, heading, |_| {}, |text| text);
    trial.run();
    trial.end();
}

#[test]
fn python_on_a_unix_socket() {
    try_out("python", "The standard library, on a unix socket");
}

#[test]
fn python_on_a_port() {
    try_out("python", "The standard library, on a port");
}

#[test]
fn uvicorn_with_an_inherited_socket() {
    let path = library("uvicorn");
    let path = path.to_str().expect("a path in UTF-8");
    let with_path = |text: String| {
        text.replace(
            "type = \"process\"\n",
            &format!("type = \"process\"\nenv = {{ PYTHONPATH = \"{path}\" }}\n"),
        )
    };
    let trial = Trial::start("python", "uvicorn", |_| {}, with_path);
    trial.run();
    trial.end();
}

#[test]
fn node_on_a_unix_socket() {
    try_out("node", "On a unix socket");
}

#[test]
fn node_on_a_port() {
    try_out("node", "On a port");
}

#[test]
fn php_as_a_worker() {
    try_out("php", "PHP as a worker");
}

#[test]
fn php_that_runs_already() {
    let trial = Trial::start(
        "php",
        "php-fpm, or any FastCGI server that runs already",
        |_| {},
        |text| text,
    );
    let mut tries = trial.part.tries();
    let (start, _) = tries.next().expect("how PHP is started");
    let start = start.trim_end().trim_end_matches('&');
    let mut php = Command::new("bash")
        .args(["-c", &format!("exec env {start}")])
        .current_dir(trial.place())
        .spawn()
        .expect("php-cgi is needed (.ci/setup installs it)");
    let socket = trial.place().join("php.sock");
    wait_for("PHP", || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    for (commands, printed) in tries {
        assert_eq!(&trial.print(commands), printed, "{commands}");
    }
    // Its parent ends its children when it is told to.
    kill(Pid::from_raw(php.id().cast_signed()), Signal::SIGTERM).expect("PHP");
    php.wait().expect("PHP");
}

#[test]
fn axum_on_a_unix_socket() {
    let folder = Path::new(env!("CARGO_BIN_EXE_portunus"))
        .parent()
        .expect("a folder");
    let program = folder.join("examples/axum_worker");
    if !program.exists() {
        // `cargo test --test server` alone builds no examples.
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", "axum_worker"])
            .status();
        assert!(built.expect("cargo").success());
    }
    let copy = |place: &Path| {
        fs::create_dir_all(place).expect("a folder");
        let to = place.join("axum_worker");
        fs::copy(&program, &to).expect("the program");
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("its mode");
    };
    let trial = Trial::start("rust", "axum", copy, |text| text);
    trial.run();
    trial.end();
}

#[test]
fn the_page_on_rust_shows_the_example_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/workers/rust.md")).expect("the page");
    let example = fs::read_to_string(root.join("examples/axum_worker.rs")).expect("the example");
    assert!(page.contains(&format!("```rust\n{example}```")));
}
