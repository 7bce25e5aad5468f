//! One worker process from its start to its end, with real programs: python, sh, and what they start.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portunus::config::{AtLimit, WorkerLimits, WorkerListen, WorkerProtocol};
use portunus::worker::death::{ByUs, Cause, Death, MemoryLimit};
use portunus::worker::launch::{
    LaunchError, LaunchSpec, OverLimit, Process, Step, WorkerAddress, launch, sweep,
};

use crate::support::{PATIENCE, Server, Site, folder, raw};

const NO_LIMITS: WorkerLimits = WorkerLimits {
    memory: None,
    cpu: None,
    processes: None,
    files: None,
    on_memory: AtLimit::Kill,
    on_cpu: AtLimit::Throttle,
};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, command: &[&str]) -> LaunchSpec {
        LaunchSpec {
            pool: "app".to_owned(),
            worker: 1,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            cwd: self.folder.path().to_owned(),
            env: BTreeMap::new(),
            user: String::new(),
            group: String::new(),
            listen: WorkerListen::Unix,
            protocol: WorkerProtocol::Http,
            socket_folder: self.path("workers"),
            limits: NO_LIMITS,
            keeper: PathBuf::from(env!("CARGO_BIN_EXE_portunus")),
        }
    }

    fn shell(&self, script: &str) -> LaunchSpec {
        self.spec(&["sh", "-c", script])
    }
}

/// Runs one test on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    ended.expect("it ends in time")
}

async fn start(spec: &LaunchSpec) -> Process {
    launch(spec).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What a script says and how it ends.
fn say(spec: &LaunchSpec) -> (String, Death) {
    run(async {
        let process = start(spec).await;
        let death = process.ended().await;
        (text(&process), death)
    })
}

fn text(process: &Process) -> String {
    String::from_utf8_lossy(&process.output()).into_owned()
}

fn refused(spec: &LaunchSpec) -> LaunchError {
    run(async { launch(spec).await.expect_err("it must not start") })
}

/// Waits until `ready` holds; nothing tells of it.
fn until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn until_async(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs: one that has ended and waits to be reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn get(stream: &mut (impl std::io::Read + std::io::Write)) -> String {
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_worker_listens_on_the_socket_that_it_is_told() {
    let place = Place::new();
    let app = "import http.server, os, socketserver\n\
        class Server(socketserver.UnixStreamServer):\n    pass\n\
        class Handler(http.server.SimpleHTTPRequestHandler):\n    def log_request(self, *a): pass\n    def address_string(self): return ''\n    \
        def do_GET(self):\n        self.send_response(200); self.end_headers(); self.wfile.write(b'from the socket')\n\
        Server(os.environ['PORTUNUS_SOCKET'], Handler).serve_forever()\n";
    std::fs::write(place.path("app.py"), app).expect("the app");
    run(async {
        let process = start(&place.spec(&["python3", "app.py"])).await;
        let WorkerAddress::Unix(path) = process.address().clone() else {
            panic!("a unix socket");
        };
        until_async("its socket", || UnixStream::connect(&path).is_ok()).await;
        let answer = get(&mut UnixStream::connect(&path).expect("it listens"));
        assert!(answer.ends_with("from the socket"), "{answer}");
        let folder = path.parent().expect("a folder");
        let mode = std::os::unix::fs::MetadataExt::mode(&folder.metadata().expect("it is there"));
        assert_eq!(mode & 0o777, 0o700, "nobody else may enter");
        process.terminate();
        let death = process.ended().await;
        assert_eq!(death.by_us, Some(ByUs::Terminated));
        assert!(
            death
                .to_string()
                .starts_with("ended when asked to (SIGTERM) after "),
            "{death}"
        );
        assert!(!folder.exists(), "its socket goes with it");
        let of_process = folder.parent().expect("a folder");
        assert!(!of_process.exists(), "and with the last all that we made");
    });
}

#[test]
fn a_worker_listens_on_the_port_that_it_is_told() {
    let place = Place::new();
    let mut spec = place.shell("exec python3 -m http.server --bind 127.0.0.1 $PORT");
    spec.listen = WorkerListen::Port;
    run(async {
        let process = start(&spec).await;
        let WorkerAddress::Tcp(address) = process.address().clone() else {
            panic!("a port");
        };
        until_async("its port", || TcpStream::connect(address).is_ok()).await;
        let answer = get(&mut TcpStream::connect(address).expect("it listens"));
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    });
}

#[test]
fn a_socket_that_is_handed_over_takes_connections_before_its_worker_looks() {
    let place = Place::new();
    let app = "import os, socket, time\n\
        assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1'\n\
        while not os.path.exists('go'): time.sleep(0.01)\n\
        peer = socket.socket(fileno=3).accept()[0]\n\
        peer.recv(4096); peer.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhanded over'); peer.close()\n";
    std::fs::write(place.path("app.py"), app).expect("the app");
    let mut spec = place.spec(&["python3", "app.py"]);
    spec.listen = WorkerListen::Fd;
    run(async {
        let process = start(&spec).await;
        let WorkerAddress::Unix(path) = process.address().clone() else {
            panic!("a unix socket");
        };
        // The worker sleeps still.
        let mut stream = UnixStream::connect(path).expect("it listens before the worker does");
        std::fs::write(place.path("go"), "").expect("a file");
        let answer = tokio::task::spawn_blocking(move || get(&mut stream)).await;
        assert!(answer.expect("an answer").ends_with("handed over"));
        let death = process.ended().await;
        assert_eq!(death.cause, Cause::Exited(0), "{death}; {}", text(&process));
    });
}

#[test]
fn fastcgi_finds_the_socket_where_it_looks_for_it() {
    let place = Place::new();
    let mut spec = place.spec(&[
        "python3",
        "-c",
        "import os; a, b = os.fstat(0), os.fstat(3); print(a.st_ino == b.st_ino)",
    ]);
    spec.listen = WorkerListen::Fd;
    spec.protocol = WorkerProtocol::FastCgi;
    assert_eq!(say(&spec).0, "True\n");
}

#[test]
fn a_worker_has_nothing_of_ours_that_is_none_of_its_business() {
    let place = Place::new();
    let mut spec = place.shell("env | sort; echo; ls /proc/self/fd | tr '\\n' ' '; umask; grep NoNewPrivs /proc/self/status");
    spec.env = BTreeMap::from([("GREETING".to_owned(), "two\nlines".to_owned())]);
    let (said, _) = say(&spec);
    let (environment, rest) = said.split_once("\n\n").expect("two parts");
    let names: Vec<_> = environment
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| {
            !name.starts_with("LC_")
                && !["LANG", "LANGUAGE", "TZ", "OLDPWD", "SHLVL", "_"].contains(name)
        })
        .collect();
    let expected = [
        "GREETING",
        "HOME",
        "LOGNAME",
        "PATH",
        "PORTUNUS_POOL",
        "PORTUNUS_SOCKET",
        "PWD",
        "SHELL",
        "USER",
    ];
    assert_eq!(names, expected, "{said}");
    // The fourth is the folder that `ls` reads.
    assert_eq!(rest, "0 1 2 3 0022\nNoNewPrivs:\t1\n");
}

#[test]
fn every_step_that_fails_names_itself_and_the_remedy() {
    let place = Place::new();
    let refuse = |spec: &LaunchSpec, step: Step, sentence: &str| {
        let error = refused(spec);
        assert!(
            matches!(&error, LaunchError::Step(failed) if failed.step == step),
            "{error:?}"
        );
        assert!(error.to_string().contains(sentence), "{error}");
    };
    let missing = place.spec(&["no-such-program"]);
    refuse(
        &missing,
        Step::Program,
        "`command`: there is no program \"no-such-program\"; write its whole path",
    );
    std::fs::write(place.path("app"), "").expect("a file");
    let no_right = place.spec(&["./app"]);
    refuse(
        &no_right,
        Step::Program,
        "may not be executed by the worker's user",
    );
    let mut no_folder = place.spec(&["true"]);
    no_folder.cwd = place.path("gone");
    refuse(&no_folder, Step::Folder, "`cwd`: there is no folder");

    let mut nobody = place.spec(&["true"]);
    nobody.user = "no-such-user".to_owned();
    assert!(
        refused(&nobody)
            .to_string()
            .contains("there is no user \"no-such-user\" on this system; make it")
    );
    nobody.user = String::new();
    nobody.group = "no-such-group".to_owned();
    assert!(
        refused(&nobody)
            .to_string()
            .contains("there is no group \"no-such-group\"")
    );
    let mut long = place.spec(&["true"]);
    long.socket_folder = place.path(&"x".repeat(120));
    assert!(
        refused(&long)
            .to_string()
            .contains("give `server.state_dir` a shorter path")
    );
    let mut much = place.spec(&["true"]);
    much.env = BTreeMap::from([("A".to_owned(), "x".repeat(100_000))]);
    assert!(matches!(refused(&much), LaunchError::TooLong(_)));
}

#[test]
fn a_death_is_told_for_what_it_was() {
    let place = Place::new();
    let death = |script: &str| say(&place.shell(script)).1;
    let exit = death("echo 'Traceback: no database' >&2; exit 3");
    assert_eq!(exit.cause, Cause::Exited(3));
    let sentence = exit.to_string();
    assert!(
        sentence.starts_with("ended by itself with status 3 after "),
        "{sentence}"
    );
    assert!(
        sentence.ends_with("; it said last: \"Traceback: no database\""),
        "{sentence}"
    );
    let crash = death("ulimit -c 0; kill -SEGV $$");
    assert_eq!(
        crash.cause,
        Cause::Signalled {
            signal: 11,
            core: false
        }
    );
    assert!(
        crash
            .to_string()
            .starts_with("was killed by SIGSEGV after "),
        "{crash}"
    );
    assert!(!crash.is_asked_for());
}

#[test]
fn a_worker_that_does_not_end_is_killed_with_all_that_it_started() {
    let place = Place::new();
    // One child in a session of its own, whose parent has gone: a daemon, as it is written in books.
    let script = "trap : TERM; (setsid sh -c 'echo $$ > daemon; exec sleep 1000' &) ; sh -c 'echo $$ > child; exec sleep 1000' & \
                  echo ready; while :; do wait; done";
    run(async {
        let process = start(&place.shell(script)).await;
        let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap_or_default();
        until_async("its children", || {
            text(&process).contains("ready")
                && read("daemon").ends_with('\n')
                && read("child").ends_with('\n')
        })
        .await;
        let (daemon, child) = (read("daemon"), read("child"));
        process.terminate();
        until_async("its child's end, by the group's signal", || !runs(&child)).await;
        assert!(runs(&process.pid().to_string()) && runs(&daemon));
        process.kill_group();
        let death = process.ended().await;
        assert_eq!(death.by_us, Some(ByUs::Killed));
        assert!(
            death
                .to_string()
                .starts_with("was killed by Portunus (SIGKILL) after "),
            "{death}"
        );
        assert!(!runs(&daemon), "the daemon is gone");
    });
}

#[test]
fn what_a_worker_leaves_behind_ends_with_it() {
    let place = Place::new();
    let (said, death) = say(&place.shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!; exit 0"));
    assert_eq!(death.left, 1, "{death}");
    assert!(
        death
            .to_string()
            .contains("left a process behind, which was killed")
    );
    assert!(!runs(&said));
}

#[test]
fn a_frozen_worker_stands_still_and_still_ends_when_it_is_asked_to() {
    let place = Place::new();
    run(async {
        // Not a shell that starts programs: stopped in the midst of that, it would show another state.
        let ticks = "import time\nwhile True: print('tick', flush=True); time.sleep(0.01)";
        let process = start(&place.spec(&["python3", "-c", ticks])).await;
        until_async("a tick", || text(&process).contains("tick")).await;
        process.freeze();
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid()))
                .unwrap_or_default();
            stat.contains(") T ")
        };
        until_async("its rest", state).await;
        process.thaw();
        until_async("its awakening", || !state()).await;
        process.freeze();
        process.terminate();
        assert_eq!(process.ended().await.by_us, Some(ByUs::Terminated));
    });
}

#[test]
fn a_gigabyte_of_output_fills_nothing_and_slows_nobody() {
    let place = Place::new();
    let (said, death) = say(
        &place.shell("head -c 1000000000 /dev/zero; yes | head -c 5000000; echo; echo the end")
    );
    assert_eq!(death.cause, Cause::Exited(0));
    assert_eq!(said.len(), 64 << 10);
    assert_eq!(death.last_line.as_deref(), Some("the end"));
}

/// A worker that takes 100 MB and does nothing with them.
const HUNGRY: [&str; 3] = [
    "python3",
    "-c",
    "import time\nx = bytearray(100_000_000)\ntime.sleep(1000)",
];

#[test]
fn a_worker_at_its_memory_limit_is_killed_and_that_is_said() {
    let place = Place::new();
    let mut spec = place.spec(&HUNGRY);
    spec.limits.memory = Some(64 << 20);
    let death = say(&spec).1;
    let at_limit = MemoryLimit::Watched(64 << 20);
    let by_kernel = MemoryLimit::Group(64 << 20);
    assert!(
        [at_limit, by_kernel]
            .map(Cause::OutOfMemory)
            .contains(&death.cause),
        "{death}"
    );
    assert!(
        death
            .to_string()
            .starts_with("was killed at its memory limit of 64 MiB after "),
        "{death}"
    );
}

#[test]
fn a_worker_over_its_memory_limit_can_be_replaced_instead() {
    let place = Place::new();
    let mut spec = place.spec(&HUNGRY);
    spec.limits.memory = Some(64 << 20);
    spec.limits.on_memory = AtLimit::Recycle;
    run(async {
        let process = start(&spec).await;
        assert_eq!(process.over_limit().await, OverLimit::Memory(64 << 20));
        assert!(process.memory().is_some_and(|memory| memory > 90_000_000));
        assert!(
            runs(&process.pid().to_string()),
            "it works on until another one does"
        );
    });
}

#[test]
fn open_files_are_limited() {
    let place = Place::new();
    let mut spec = place.shell("ulimit -n");
    spec.limits.files = Some(77);
    assert_eq!(say(&spec).0, "77\n");
}

/// Root may become anybody; where the tests run as somebody else, it is refused with the remedy.
#[test]
fn a_worker_runs_as_its_user_and_has_none_of_our_groups() {
    let place = Place::new();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.folder.path(), open).expect("a folder that others may enter");
    let mut spec = place
        .shell("id -u; id -G; grep CapEff /proc/self/status; touch $PORTUNUS_SOCKET && echo made");
    spec.user = "nobody".to_owned();
    if !nix::unistd::Uid::effective().is_root() {
        assert!(matches!(refused(&spec), LaunchError::NoRight(_)));
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody")
        .ok()
        .flatten()
        .expect("nobody");
    let expected = format!(
        "{}\n{}\nCapEff:\t0000000000000000\nmade\n",
        nobody.uid, nobody.gid
    );
    assert_eq!(say(&spec).0, expected);
}

#[test]
fn a_worker_that_is_let_go_of_ends() {
    let place = Place::new();
    let pid = run(async {
        let process = start(&place.shell("exec sleep 1000")).await;
        process.pid().to_string()
    });
    until("its end", || !runs(&pid));
}

/// The keeper alone promises it: nobody else is left to.
#[test]
fn nobody_outlives_a_killed_portunus() {
    let place = Place::new();
    let example = Path::new(env!("CARGO_BIN_EXE_portunus"));
    // A Portunus of which nothing is needed but that it has one end of a keeper's socket: python stands in for it.
    let script = format!(
        "import json, socket, subprocess, sys, time\n\
         ours, theirs = socket.socketpair()\n\
         subprocess.Popen(['{}', 'keep-worker'], stdin=theirs)\n\
         theirs.close()\n\
         order = dict(command=['sh', '-c', '(setsid sleep 1000 & echo $! > daemon); sleep 1000 & echo $! > child; echo $$ > worker; wait'], \
         env=dict(PATH='/usr/bin:/bin'), cwd='{}', identity=None, umask=18, join=None, limits=[], inherits='Nothing')\n\
         ours.sendall(json.dumps(order).encode() + b'\\n')\n\
         print(ours.recv(4096).decode(), flush=True)\n\
         time.sleep(1000)\n",
        example.display(),
        place.folder.path().display(),
    );
    let mut portunus = Command::new("python3")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    let stdout = portunus.stdout.take().expect("a pipe");
    // Kept open: there is more to be said than this line.
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut line).expect("a report");
    assert!(line.contains("Started"), "{line}");
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap_or_default();
    let names = ["worker", "child", "daemon"];
    until("all three", || {
        names.iter().all(|name| read(name).ends_with('\n'))
    });
    let pids = names.map(read);
    assert!(pids.iter().all(|pid| runs(pid)));
    portunus.kill().expect("it is killed");
    portunus.wait().expect("it is gone");
    for (pid, name) in pids.iter().zip(names) {
        until(name, || !runs(pid));
    }
}

#[test]
fn what_a_server_before_left_behind_is_removed() {
    let place = Place::new();
    let folder = place.path("workers");
    let stale = folder.join("4194999").join("app-1");
    std::fs::create_dir_all(&stale).expect("a folder");
    std::fs::write(stale.join("socket"), "").expect("a file");
    std::fs::create_dir_all(folder.join("notes")).expect("a folder");
    sweep(&folder);
    assert!(!folder.join("4194999").exists());
    assert!(folder.join("notes").exists(), "what is not ours stays");
}

#[test]
fn a_server_that_gives_up_root_has_a_folder_for_its_workers_sockets() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if !nix::unistd::Uid::effective().is_root() {
        // There is nothing to give up.
        return;
    }
    let place = folder();
    std::fs::write(place.path().join("who.py"), WHO).expect("the application");
    let closed = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), closed).expect("a folder that is root's");
    let site = Site {
        head: "[server]\nadmin = \"off\"\nuser = \"nobody\"\n".into(),
        handler: "type = \"process\"\ncommand = [\"python3\", \"who.py\"]\ncwd = \"..\"\nlisten = \"fd\"\nping_interval = \"0s\"".into(),
        ..Site::default()
    };
    let server = Server::start_in(place, &site.text(), |_| {});
    let (_, uid) = who(&server);
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    let nobody = nobody.expect("nobody").uid.as_raw();
    assert_eq!(uid, nobody.to_string());
    let workers = std::fs::metadata(server.path().join("state/workers")).expect("the folder");
    assert_eq!(workers.uid(), nobody);
}

/// An application on the socket that it is handed, which tells whom it runs as and starts a daemon.
const WHO: &str = "import os, socket, subprocess\n\
    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
    listening = socket.socket(fileno=3)\n\
    while True:\n    \
        peer = listening.accept()[0]\n    \
        if not peer.recv(4096): continue\n    \
        text = '%d %d\\n' % (os.getpid(), os.getuid())\n    \
        peer.sendall(b'HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\n' + text.encode())\n    \
        peer.close()\n";

/// A server with that application; everybody may enter its folder.
fn serve_who(head: &str, user: &str) -> Server {
    let place = folder();
    std::fs::write(place.path().join("who.py"), WHO).expect("the application");
    for of in ["", "state"] {
        let path = place.path().join(of);
        std::fs::create_dir_all(&path).expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(path, open).expect("a folder that others may enter");
    }
    let site = Site {
        head: format!("[server]\nadmin = \"off\"\n{head}"),
        handler: format!(
            "type = \"process\"\ncommand = [\"python3\", \"who.py\"]\ncwd = \"..\"\nlisten = \"fd\"\nping_interval = \"0s\"\n{user}"
        ),
        ..Site::default()
    };
    Server::start_in(place, &site.text(), |_| {})
}

/// The process and the user that answer.
fn who(server: &Server) -> (String, String) {
    let answer = raw::exchange(
        server.http,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(raw::status(&answer), 200, "{answer}");
    let line = answer
        .lines()
        .find(|line| line.split(' ').count() == 2 && !line.contains(':'))
        .unwrap_or_else(|| panic!("no answer in {answer}"));
    let (pid, uid) = line.split_once(' ').expect("two words");
    (pid.to_owned(), uid.trim().to_owned())
}

#[test]
fn a_killed_server_leaves_no_worker_behind_and_no_daemon_of_it() {
    let server = serve_who("", "");
    let (pid, _) = who(&server);
    let daemons = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let daemon = daemons.expect("its children").trim().to_owned();
    assert!(runs(&pid) && runs(&daemon), "{pid} {daemon}");
    server.signal("KILL");
    for pid in [pid, daemon] {
        until("its end", || !runs(&pid));
    }
}

#[test]
fn one_thread_alone_keeps_what_it_takes_to_start_workers_of_others() {
    if !nix::unistd::Uid::effective().is_root() {
        // There is nothing to give up; that such workers are refused then is tested above.
        return;
    }
    let server = serve_who("user = \"nobody\"\n", "user = \"daemon\"");
    let (pid, uid) = who(&server);
    let daemon = nix::unistd::User::from_name("daemon").ok().flatten();
    assert_eq!(uid, daemon.expect("daemon").uid.to_string());
    let mut with = Vec::new();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    for task in tasks.map(|task| task.expect("a thread").path()) {
        let status = std::fs::read_to_string(task.join("status")).expect("its status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field").trim().to_owned()
        };
        let sets = ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"].map(field);
        if sets.iter().any(|set| set.contains(|digit| digit != '0')) {
            with.push((field("Name:"), sets));
        }
    }
    // CHOWN (0), KILL (5), SETGID (6), SETUID (7), and no other.
    let four = || "00000000000000e1".to_owned();
    assert_eq!(
        with,
        [("launcher".to_owned(), [four(), four(), four(), four()])]
    );
    // Those rights end it too.
    server.signal("TERM");
    until("its end", || !runs(&pid));
}

#[test]
fn a_check_warns_of_what_a_worker_needs_and_is_not_there() {
    let place = folder();
    let file = place.path().join("config/bindings.toml");
    let check = |handler: &str| {
        let site = Site {
            handler: format!("type = \"process\"\n{handler}"),
            ..Site::default()
        };
        std::fs::write(&file, site.text()).expect("the bindings file");
        let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .arg("-c")
            .arg(&file)
            .arg("check")
            .output()
            .expect("portunus");
        String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout)
    };
    let program = check("command = [\"no-such-program\"]");
    assert!(
        program.contains("[worker-program]")
            && program.contains("there is no program \"no-such-program\""),
        "{program}"
    );
    let rest = check(
        "command = [\"sh\"]\ncwd = \"gone\"\nuser = \"no-such-user\"\ngroup = \"no-such-group\"",
    );
    for word in [
        "[worker-folder]",
        "no user \"no-such-user\"",
        "no group \"no-such-group\"",
    ] {
        assert!(rest.contains(word), "{word}: {rest}");
    }
    let splash = check("command = [\"sh\"]\nsplash = \"gone.html\"");
    assert!(splash.contains("[worker-splash]"), "{splash}");
    assert!(!check("command = [\"sh\"]").contains("worker-"));
}
