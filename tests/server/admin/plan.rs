//! `reload --dry-run`: what it announces is what the reload then does, and it does nothing itself.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::{asks, stderr};
use crate::support::{Server, Site, folder, free_port, wait_for};

const APP: &str = "[[site.route]]\npath = \"/app\"\npool = \"app\"\n\
                   [[pool]]\nname = \"app\"\n[pool.handler]\ntype = \"process\"\n\
                   command = [\"python3\", \"app.py\"]\ncwd = \"../app\"\nstart_mode = \"always\"\n";

fn with_app() -> Site {
    Site {
        tail: APP.into(),
        ..Site::default()
    }
}

fn start(site: &Site) -> Server {
    let folder = folder();
    let app = folder.path().join("app");
    fs::create_dir(&app).expect("app/");
    fs::write(app.join("app.py"), include_str!("../workers/app.py")).expect("the application");
    Server::start_in(folder, &site.text(), |_| {})
}

fn write(server: &Server, text: &str) {
    let text = match text.contains("[log]") {
        true => text.to_owned(),
        false => format!("[log]\nerrors = \"../errors.log\"\n{text}"),
    };
    fs::write(server.path().join("config/bindings.toml"), text).expect("the bindings file");
}

/// What a command says on stdout; it must succeed.
fn said(server: &Server, arguments: &[&str]) -> String {
    let output = asks(server, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(server, arguments)).expect("JSON")
}

/// Where it is asked, whatever the bindings file says.
fn admin(server: &Server) -> String {
    format!("unix:{}", server.path().join("run/portunus.sock").display())
}

/// The processes of a pool that serve.
fn pids(server: &Server, pool: &str) -> Vec<u64> {
    let admin = admin(server);
    let pools = json(server, &["show", "pools", "--json", "--admin", &admin]);
    let mut all = pools["pools"].as_array().expect("pools").iter();
    let found = all.find(|one| one["name"] == pool);
    let workers = found.and_then(|one| one["workers"].as_array()).cloned();
    let workers = workers.unwrap_or_default();
    let ready = workers.iter().filter(|worker| worker["state"] == "ready");
    ready.filter_map(|worker| worker["pid"].as_u64()).collect()
}

/// Everything that a server could have touched: its files, what it has open, its processes, what it has said.
#[derive(Debug, PartialEq)]
struct World {
    files: BTreeMap<PathBuf, (u64, u64, SystemTime)>,
    sockets: Vec<PathBuf>,
    workers: Vec<u64>,
    log: Vec<String>,
}

fn world(server: &mut Server) -> World {
    let mut files = BTreeMap::new();
    look(server.path(), &mut files);
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
    let mut sockets: Vec<PathBuf> = (open.flatten())
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|to| listens(to))
        .collect();
    sockets.sort();
    let workers = pids(server, "app");
    // What its workers say is theirs.
    let log = server.log();
    let own = log
        .lines()
        .filter(|line| !line.contains("portunus::worker"));
    World {
        files,
        sockets,
        workers,
        log: own.map(str::to_owned).collect(),
    }
}

/// Whether a file of /proc/PID/fd is a socket of TCP that listens, or one of UDP.
fn listens(file: &Path) -> bool {
    let name = file.to_string_lossy().into_owned();
    let Some(inode) = name
        .strip_prefix("socket:[")
        .and_then(|it| it.strip_suffix(']'))
    else {
        return false;
    };
    let has = |table: &str, state: &str| {
        let lines = fs::read_to_string(table).unwrap_or_default();
        lines.lines().any(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            fields.get(9) == Some(&inode) && fields.get(3) == Some(&state)
        })
    };
    has("/proc/net/tcp", "0A") || has("/proc/net/udp", "07")
}

fn look(folder: &Path, files: &mut BTreeMap<PathBuf, (u64, u64, SystemTime)>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let found = entry.metadata().expect("a file");
        if found.is_dir() {
            look(&entry.path(), files);
        }
        let modified = found.modified().expect("a time");
        files.insert(entry.path(), (found.ino(), found.len(), modified));
    }
}

/// Waits until nothing is left to do of the start and of the reloads before: each is followed by handshakes with ourselves, workers are
/// replaced one after another, and the folder of their sockets goes after the last pool that has any.
fn settle(server: &mut Server) {
    wait_for("what was before to be over", || {
        let log = server.log();
        let rehearsed = log.matches("handshakes with ourselves").count();
        if rehearsed <= log.matches(" reloaded config=").count() {
            return None;
        }
        let admin = admin(server);
        let pools = json(server, &["show", "pools", "--json", "--admin", &admin]);
        let mut pools = pools["pools"].as_array().expect("pools").iter();
        let sockets = fs::read_dir(server.path().join("state/workers"));
        let has_sockets = sockets.is_ok_and(|mut folder| folder.next().is_some());
        let Some(app) = pools.find(|pool| pool["name"] == "app") else {
            return (!has_sockets).then_some(());
        };
        let mut workers = app["workers"].as_array()?.iter();
        let is_ready = workers.all(|worker| worker["state"] == "ready");
        (app["state"] == "Running" && is_ready).then_some(())
    });
}

/// Has a change announced and then made, and holds what was announced against what happened.
fn announced_and_done(server: &mut Server, text: &str, lines: &[&str]) -> Value {
    settle(server);
    write(server, text);
    let before = world(server);
    let announced = said(server, &["reload", "--dry-run"]);
    let plan = json(server, &["reload", "--dry-run", "--json"]);
    assert_eq!(world(server), before, "a dry run touches nothing");
    assert_eq!(plan["reloaded"], false);
    for line in lines {
        let has = announced.lines().any(|it| it.starts_with(line));
        assert!(has, "{line:?} in\n{announced}");
    }
    let done = said(server, &["reload"]);
    let plain = |text: &str| text.replace("nothing would change", "nothing changed");
    assert_eq!(plain(&announced), done, "what is announced is what is done");

    let plan = plan["plan"].clone();
    // The last of what a reload says may be read later than its answer.
    let news = wait_for("the reload to be told", || {
        let log = server.log();
        let lines = log
            .lines()
            .filter(|line| !line.contains("portunus::worker"));
        let news: Vec<String> = lines.skip(before.log.len()).map(str::to_owned).collect();
        let is_told = news.iter().any(|line| line.contains("reloaded"));
        is_told.then_some(news)
    });
    let told = |what: &str| news.iter().filter(|line| line.contains(what)).count();
    let listeners = &plan["listeners"];
    let count = |list: &Value| list.as_array().expect("a list").len();
    assert_eq!(
        told(" listening address"),
        count(&listeners["opened"]),
        "{news:#?}"
    );
    assert_eq!(told("no longer listening"), count(&listeners["closed"]));
    for key in plan["needs_restart"].as_array().expect("a list") {
        assert_eq!(told(&format!("key={key}")), 1, "{key}: {news:#?}");
    }
    assert_eq!(
        told("takes effect at the next start"),
        count(&plan["needs_restart"])
    );
    let changes = format!("changes={}", count(&plan["changes"]));
    assert!(
        news.iter()
            .any(|line| line.contains("reloaded") && line.contains(&changes))
    );
    for crew in plan["workers"].as_array().expect("a list") {
        fate_is_met(server, crew);
    }
    plan
}

fn fate_is_met(server: &Server, crew: &Value) {
    let pool = crew["pool"].as_str().expect("a name");
    let named: Vec<u64> = crew["pids"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    let is_gone = |pid: &u64| !Path::new(&format!("/proc/{pid}")).exists();
    match crew["fate"].as_str().expect("a word") {
        "kept" => assert_eq!(pids(server, pool), named),
        "recycled" => wait_for("other workers", || {
            let now = pids(server, pool);
            (!now.is_empty() && named.iter().all(|pid| !now.contains(pid) && is_gone(pid)))
                .then_some(())
        }),
        "ended" => wait_for("no workers", || named.iter().all(is_gone).then_some(())),
        "started" => wait_for("workers", || (!pids(server, pool).is_empty()).then_some(())),
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_dry_run_announces_is_what_the_reload_does() {
    let base = with_app();
    let mut server = start(&base);
    wait_for("a worker", || {
        (!pids(&server, "app").is_empty()).then_some(())
    });
    server.wait_rehearsed();
    let text = base.text();
    let nothing = announced_and_done(
        &mut server,
        &text,
        &["= workers of app go on: pid ", "nothing would change"],
    );
    assert_eq!(nothing["changes"].as_array().map(Vec::len), Some(0));

    let port = free_port();
    let changed = Site {
        head: "[limits]\nmax_uri_bytes = 1000\n[server]\nthreads = 7".into(),
        pool: "queue_length = 7".into(),
        handler: "type = \"respond\"\nbody = \"other\"".into(),
        https: "protocols = [\"http/1.1\", \"h2\"]".into(),
        tail: format!(
            "{APP}[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = {port}\nhostname = \"*\"\nsite = \"main\"\n"
        ),
        ..Site::default()
    };
    let with_hsts = |text: String| {
        let site = "[[site]]\nname = \"main\"\n";
        text.replace(site, &format!("{site}hsts = {{ max_age = \"1d\" }}\n"))
    };
    announced_and_done(
        &mut server,
        &with_hsts(changed.text()),
        &[
            "~ [limits]: max_uri_bytes",
            "~ [server]: threads",
            &format!("+ binding http://127.0.0.1:{port} * (site main)"),
            "~ binding https://127.0.0.1:0 localhost: protocols",
            "~ site main: hsts",
            "~ pool main: queue_length, handler.body",
            &format!("+ listens on http://127.0.0.1:{port}"),
            "- listens on quic://127.0.0.1:0",
            "= workers of app go on: pid ",
            "! server.threads takes effect at the next start",
        ],
    );
    let more = changed
        .text()
        .replace("start_mode", "workers = 2\nstart_mode");
    announced_and_done(
        &mut server,
        &more,
        &[
            "~ pool app: handler.workers",
            "~ workers of app are replaced: pid ",
            "~ site main: hsts",
            // Reloaded already, and still not what the process was started with.
            "! server.threads takes effect at the next start",
        ],
    );
    let log = "[log]\nerrors = \"../others.log\"\nformat = \"json\"\n";
    let without = format!("{log}{}", Site::default().text());
    announced_and_done(
        &mut server,
        &without,
        &[
            "~ [log]: format, errors",
            "- route main /app",
            "- pool app",
            "- workers of app end: pid ",
            &format!("- listens on http://127.0.0.1:{port}"),
            "+ listens on quic://127.0.0.1:0",
            "! log.format takes effect at the next start",
        ],
    );
    let back = announced_and_done(
        &mut server,
        &text,
        &[
            "+ route main /app (pool app)",
            "+ pool app (handler process)",
            "+ workers of app",
        ],
    );
    let waiting = back["needs_restart"].as_array().map(Vec::len);
    assert_eq!(waiting, Some(0), "it is what the process was started with");
}

#[test]
fn certificates_that_a_reload_would_make_and_show_are_announced() {
    let mut server = start(&with_app());
    wait_for("a worker", || {
        (!pids(&server, "app").is_empty()).then_some(())
    });
    server.wait_rehearsed();
    let another = Site {
        tail: format!(
            "{APP}[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"shop.localhost\"\nsite = \"main\"\n"
        ),
        ..Site::default()
    };
    write(&server, &another.text());
    let before = world(&mut server);
    let announced = said(&server, &["reload", "--dry-run"]);
    assert_eq!(world(&mut server), before, "a dry run makes no certificate");
    let line = |text: &str| {
        let of = |line: &&str| line.contains("certificate shop.localhost");
        text.lines().find(of).map(str::to_owned)
    };
    let told = line(&announced).expect("a line");
    assert!(told.starts_with("+ certificate shop.localhost ("), "{told}");
    assert!(
        told.ends_with("(shown by https://127.0.0.1:0 shop.localhost)"),
        "{told}"
    );
    let done = said(&server, &["reload"]);
    assert_eq!(line(&done), Some(told));
    assert!(done.contains("~ certificate localhost"), "{done}");
}

#[test]
fn what_a_reload_would_refuse_a_dry_run_refuses_for_the_same_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let good = Site::default().text();
    let mut server = Site::default().start();
    server.wait_rehearsed();
    let admin = admin(&server);
    let binding = |binding: &str| format!("{good}[[binding]]\n{binding}\nsite = \"main\"\n");
    let log = "[log]\nerrors = \"../errors.log\"\n";
    for (text, why) in [
        (good.replace("site = \"main\"", "site = \"nain\""), "nain"),
        (
            binding(&format!(
                "protocol = \"http\"\nip = \"127.0.0.1\"\nport = {port}\nhostname = \"*\""
            )),
            "is taken by ",
        ),
        (
            binding(
                "protocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"www.example.com\"",
            ),
            "there is no certificate for www.example.com",
        ),
        (
            format!("{log}access = \"../nowhere/access.log\"\n{good}"),
            "nowhere/access.log",
        ),
        (format!("{good}["), "error"),
    ] {
        write(&server, &text);
        let before = world(&mut server);
        let announced = asks(&server, &["reload", "--dry-run", "--admin", &admin]);
        assert_eq!(world(&mut server), before, "{why}");
        assert_eq!(announced.status.code(), Some(1), "{why}");
        let told = stderr(&announced);
        assert!(told.contains(why), "{why}: {told}");
        assert!(told.contains("would go on running"), "{told}");
        let refused = asks(&server, &["reload", "--admin", &admin]);
        assert_eq!(refused.status.code(), Some(1), "{why}");
        let told = server.wait_line("was not taken").expect("it tells");
        let log = server.log();
        assert!(told.contains(why) || log.contains(why), "{why}: {log}");
    }
    write(&server, &good);
    assert!(said(&server, &["reload", "--dry-run"]).ends_with("nothing would change\n"));
    drop(taken);
}
