//! The commands of the one binary: what they write where, and how they end.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Server, Site, Tool, folder};

/// What a command did.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }
}

fn portunus(folder: &Path, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("PORTUNUS_LOG")
        .env_remove("PORTUNUS_CONFIG")
        .stdin(Stdio::null());
    change(&mut command);
    let output = command.output().expect("the portunus binary");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Done {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A command on a bindings file of its own.
fn on(config: &str, arguments: &[&str]) -> Done {
    let folder = folder();
    fs::write(folder.path().join("config/bindings.toml"), config).expect("the bindings file");
    portunus(folder.path(), arguments, |_| {})
}

/// http only: nothing to be found.
const GOOD: &str = "[[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 8080\nhostname = \"*\"\nsite = \"main\"\n\
[[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\nmethods = [\"GET\"]\n\
[[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\n";

/// The same, and a certificate that a first start would make.
fn with_warning() -> String {
    format!(
        "{GOOD}[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 8443\nhostname = \"localhost\"\nsite = \"main\"\n"
    )
}

fn with_error() -> String {
    format!("[limits]\nheader_wiat = \"1s\"\n{GOOD}")
}

#[test]
fn check_ends_with_0_or_64_and_strict_counts_warnings() {
    let done = on(GOOD, &["check"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    assert!(
        done.stdout.contains("can be used: 0 errors, 0 warnings"),
        "{}",
        done.stdout
    );

    let done = on(&with_warning(), &["check"]);
    assert_eq!(done.code, Some(0));
    assert!(
        done.stderr.contains("warning[certificate-development]"),
        "{}",
        done.stderr
    );
    let done = on(&with_warning(), &["check", "--strict"]);
    assert_eq!(done.code, Some(64));
    assert!(
        done.stdout.contains("--strict counts warnings as errors"),
        "{}",
        done.stdout
    );

    for arguments in [&["check"][..], &["run", "--check-only"], &["run"]] {
        let done = on(&with_error(), arguments);
        assert_eq!(done.code, Some(64), "{arguments:?}");
        let said = &done.stderr;
        assert!(
            said.contains("bindings.toml:2:1") && said.contains("^^^^"),
            "{said}"
        );
        assert!(
            said.contains("header_wait"),
            "the nearest key is suggested: {said}"
        );
    }
}

#[test]
fn check_makes_nothing_and_binds_nothing() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let config = with_warning().replace("8443", &port);
    fs::write(folder.path().join("config/bindings.toml"), config).expect("the bindings file");
    let done = portunus(folder.path(), &["run", "--check-only"], |_| {});
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(!folder.path().join("certs").exists());
}

#[test]
fn check_writes_its_findings_as_json() {
    let report = on(&with_error(), &["check", "--json"]);
    assert_eq!(report.code, Some(64));
    let report = report.json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"], 1);
    assert_eq!(report["warnings"], 0);
    let finding = &report["findings"][0];
    assert_eq!(finding["severity"], "error");
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&2.into(), &1.into())
    );
    assert!(
        finding["code"].is_string() && finding["message"].is_string(),
        "{finding}"
    );
    let report = on(&with_warning(), &["check", "--json", "--strict"]);
    assert_eq!(report.code, Some(64));
    assert_eq!(report.json()["ok"], false);
    let report = on(GOOD, &["check", "--json"]);
    assert_eq!((report.code, &report.json()["ok"]), (Some(0), &true.into()));
}

#[test]
fn the_configuration_is_looked_for_where_it_is_said_to_be() {
    let folder = folder();
    let file = folder.path().join("other.toml");
    fs::write(&file, GOOD).expect("a bindings file");
    let done = portunus(folder.path(), &["-c", "other.toml", "check"], |_| {});
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let done = portunus(folder.path(), &["check", "--config=other.toml"], |_| {});
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let named = |command: &mut Command| {
        command.env("PORTUNUS_CONFIG", &file);
    };
    assert_eq!(portunus(folder.path(), &["check"], named).code, Some(0));
    // What is said outright goes before the environment.
    let done = portunus(folder.path(), &["-c", "none.toml", "check"], |command| {
        command.env("PORTUNUS_CONFIG", &file);
    });
    assert_eq!(done.code, Some(64));
    for command in ["check", "run"] {
        let done = portunus(folder.path(), &[command], |_| {});
        assert_eq!(done.code, Some(64));
        assert!(
            done.stderr
                .contains("there is no file config/bindings.toml"),
            "{}",
            done.stderr
        );
        assert!(
            done.stderr.contains("--config FILE or in $PORTUNUS_CONFIG"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn explain_ends_with_0_where_it_would_be_served_and_with_1_where_not() {
    let explain = |arguments: &[&str]| on(GOOD, &[&["explain"], arguments].concat());
    let done = explain(&["http://any.test:8080/page"]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    assert!(
        done.stdout.ends_with("It would be served.\n"),
        "{}",
        done.stdout
    );

    let done = explain(&["http://any.test:8080/", "--method", "POST"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stdout.contains("It would be refused: 405, Verb"),
        "{}",
        done.stdout
    );
    let done = explain(&["http://any.test:8080/", "--ip", "127.0.0.2"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stdout.contains("no binding listens on 127.0.0.2:8080"),
        "{}",
        done.stdout
    );
    // Before the first start there is no certificate yet, and that is told with what will make it.
    let done = on(&with_warning(), &["explain", "https://localhost:8443/"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stdout
            .contains("there is no certificate for localhost"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr.contains("`portunus run` makes"),
        "{}",
        done.stderr
    );
    let done = explain(&["ftp://any.test/"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(
        done.stderr.contains("must begin with http:// or https://"),
        "{}",
        done.stderr
    );
    assert_eq!(
        on(&with_error(), &["explain", "http://any.test/"]).code,
        Some(64)
    );
}

#[test]
fn explain_writes_its_steps_as_json() {
    let done = on(GOOD, &["explain", "--json", "http://any.test:8080/page"]);
    let explanation = done.json();
    assert_eq!(explanation["served"], true);
    assert_eq!(explanation["method"], "GET");
    assert_eq!(explanation.get("refused"), None);
    let steps = explanation["steps"].as_array().expect("steps");
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        ["socket", "binding", "site", "route", "pool", "handler"]
    );
    assert!(
        steps
            .iter()
            .all(|step| step["chosen"].is_string() && step["why"].is_string())
    );
    let done = on(
        GOOD,
        &["explain", "--json", "http://any.test:8080/", "--method=PUT"],
    );
    assert_eq!(done.code, Some(1));
    let refused = done.json()["refused"].clone();
    assert_eq!(
        (&refused["reason"], &refused["status"]),
        (&"Verb".into(), &405.into())
    );
}

#[test]
fn explain_names_the_udp_socket_where_http3_is_spoken() {
    let server = Site::default().start();
    let file = server.path().join("config/explained.toml");
    let sockets = |protocols: &str| {
        let site = Site {
            https: format!("protocols = {protocols}"),
            ..Site::default()
        };
        let text = site.text().replacen("port = 0", "port = 8080", 1);
        let text = text.replacen("port = 0", "port = 8443", 1);
        fs::write(&file, text).expect("a bindings file");
        let file = file.to_str().expect("a path");
        let url = "https://localhost:8443/";
        let arguments = ["-c", file, "explain", "--json", url];
        let explanation = portunus(server.path(), &arguments, |_| {}).json();
        let steps = explanation["steps"].as_array().expect("steps").clone();
        let mut sockets = steps;
        sockets.retain(|step| step["step"] == "socket");
        sockets
    };
    let with = sockets("[\"h3\", \"h2\"]");
    assert_eq!(with.len(), 2, "{with:?}");
    assert_eq!(with[0]["chosen"], "tcp 127.0.0.1:8443");
    assert_eq!(with[1]["chosen"], "udp 127.0.0.1:8443");
    let why = with[1]["why"].as_str().expect("a reason");
    assert!(
        why.contains("h3 is among the protocols of https://127.0.0.1:8443 localhost"),
        "{why}"
    );
    assert_eq!(sockets("[\"h2\"]").len(), 1);
}

#[test]
fn what_explain_says_is_what_the_server_does() {
    let server = Site::default().start();
    let text =
        fs::read_to_string(server.path().join("config/bindings.toml")).expect("the bindings file");
    // The ports that the system chose, written down.
    let text = text.replacen("port = 0", &format!("port = {}", server.http), 1);
    let text = text.replacen("port = 0", &format!("port = {}", server.https), 1);
    let file = server.path().join("config/settled.toml");
    fs::write(&file, text).expect("a bindings file");
    let file = file.to_str().expect("a path");
    let explain = |url: &str, more: &[&str]| {
        let arguments = [
            &["-c", file, "explain", "--json", "--ip=127.0.0.1", url],
            more,
        ]
        .concat();
        portunus(server.path(), &arguments, |_| {}).json()
    };
    let https = |host: &str| format!("https://{host}:{}/", server.https);
    assert_eq!(explain(&https("localhost"), &[])["served"], true);
    let curl = |arguments: &[&str]| {
        let tool = Tool::curl(&server).args(["-k", "-o", "/dev/null", "-w", "%{http_code}"]);
        arguments
            .iter()
            .fold(tool, |tool, argument| tool.arg(argument))
            .output()
    };
    let refused = explain(&https("other.localhost"), &[])["refused"].clone();
    assert_eq!(refused["reason"], "Tls_NoCertificate");
    let resolve = format!("other.localhost:{}:127.0.0.1", server.https);
    assert_eq!(
        curl(&["--resolve", &resolve, &https("other.localhost")])
            .status
            .code(),
        Some(35)
    );
    server.wait_error("Tls_NoCertificate");
    let refused = explain(&https("localhost"), &["--method=TRACE"])["refused"].clone();
    let status = curl(&["-X", "TRACE", &https("localhost")]).stdout;
    assert_eq!(refused["status"].to_string().as_bytes(), status);
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("the file").permissions().mode() & 0o777
}

#[test]
fn cert_dev_makes_files_that_only_their_owner_reads_where_they_are_secret() {
    let folder = folder();
    let certs = folder.path().join("certs");
    // What an interrupted run may have left is not written into.
    fs::create_dir(&certs).expect("certs/");
    fs::write(certs.join("a.test.key.new"), "").expect("a file");
    fs::set_permissions(
        certs.join("a.test.key.new"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("a mode");
    let make = |hosts: &[&str]| {
        let arguments = [&["cert", "dev", "--folder", "certs"], hosts].concat();
        portunus(folder.path(), &arguments, |_| {})
    };
    let done = make(&["A.test", "*.b.test", "127.0.0.1", "[::1]"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(
        done.stdout,
        "certs/a.test.pem\ncerts/_.b.test.pem\ncerts/127.0.0.1.pem\ncerts/::1.pem\n"
    );
    assert!(
        done.stderr.contains("a new development CA"),
        "{}",
        done.stderr
    );
    for name in ["a.test", "_.b.test", "127.0.0.1", "::1", "development-ca"] {
        assert_eq!(mode(&certs.join(format!("{name}.key"))), 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&certs).expect("certs/").count(), 10);
    let ca = fs::read(certs.join("development-ca.crt")).expect("the CA");

    let done = make(&["c.test"]);
    assert!(
        done.stderr.contains("the development CA"),
        "{}",
        done.stderr
    );
    assert_eq!(
        fs::read(certs.join("development-ca.crt")).expect("the CA"),
        ca
    );

    for bad in ["*", "+", "a b", "*.127.0.0.1", ""] {
        let done = make(&[bad]);
        assert_eq!(done.code, Some(1), "{bad:?}");
        assert!(done.stderr.contains("host"), "{}", done.stderr);
    }
    assert_eq!(make(&[]).code, Some(1));
}

#[test]
fn what_cert_dev_makes_is_accepted_under_each_of_its_names() {
    let folder = folder();
    let hosts = ["a.test", "*.b.test", "127.0.0.1", "[::1]"];
    let arguments = [&["cert", "dev", "--folder", "certs"], &hosts[..]].concat();
    assert_eq!(portunus(folder.path(), &arguments, |_| {}).code, Some(0));
    let config = Site {
        https: "certificate = \"made\"".into(),
        ..Site::default()
    }
    .text()
    .replace("hostname = \"localhost\"", "hostname = \"*\"")
        + "[[certificate]]\nname = \"made\"\nchain = \"../certs/a.test.pem\"\nkey = \"../certs/a.test.key\"\n";
    let server = Server::start_in(folder, &config, |_| {});
    for host in ["a.test", "x.b.test", "127.0.0.1"] {
        let page = Tool::curl(&server)
            .arg("--resolve")
            .arg(format!("{host}:{}:127.0.0.1", server.https))
            .arg(format!("https://{host}:{}/", server.https))
            .stdout();
        assert_eq!(page, "Hello, World!", "{host}");
    }
    let page = Tool::curl(&server)
        .args(["--connect-to"])
        .arg(format!("[::1]:{0}:127.0.0.1:{0}", server.https))
        .arg(format!("https://[::1]:{}/", server.https))
        .stdout();
    assert_eq!(page, "Hello, World!");
}

#[test]
fn what_is_not_a_command_is_refused_by_name_with_status_1() {
    let done = on(GOOD, &["show", "queues"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(done.stderr.contains("queues"), "{}", done.stderr);
    let done = on(GOOD, &["chekc"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("chekc") && done.stderr.contains("check"),
        "{}",
        done.stderr
    );
    assert_eq!(on(GOOD, &[]).code, Some(1));
    assert_eq!(on(GOOD, &["check", "--jsno"]).code, Some(1));
}

#[test]
fn help_tells_every_command_and_completions_complete_them() {
    let help = on(GOOD, &["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for command in [
        "run",
        "check",
        "explain",
        "reload",
        "stop",
        "cert",
        "completions",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}: {}",
            help.stdout
        );
        let own = on(GOOD, &[command, "--help"]);
        assert_eq!(own.code, Some(0));
        assert!(own.stdout.contains("--config"), "{}", own.stdout);
    }
    for shell in ["bash", "zsh", "fish"] {
        let done = on(GOOD, &["completions", shell]);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        assert!(
            done.stdout.contains("check-only"),
            "{shell}: {}",
            done.stdout
        );
    }
    let version = on(GOOD, &["--version"]);
    assert_eq!(
        version.stdout,
        format!("portunus {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let done = on(&GOOD.replace("8080", &address.port().to_string()), &["run"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(
        done.stderr.contains(&address.to_string()),
        "{}",
        done.stderr
    );
    // This very process has it.
    assert!(
        done.stderr
            .contains(&format!("(pid {})", std::process::id())),
        "{}",
        done.stderr
    );
}

#[test]
fn a_log_level_that_is_none_keeps_the_server_from_starting() {
    let folder = folder();
    fs::write(folder.path().join("config/bindings.toml"), GOOD).expect("the bindings file");
    let done = portunus(folder.path(), &["run"], |command| {
        command.env("PORTUNUS_LOG", "inof");
    });
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr
            .contains("$PORTUNUS_LOG says \"inof\", which names no level"),
        "{}",
        done.stderr
    );
}
