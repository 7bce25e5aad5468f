//! PHP behind Portunus, by FastCGI: `php-cgi -b` stands for php-fpm, which speaks it with the same code.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Server, Site, Tool, folder, raw, wait_for};

/// PHP that serves FastCGI on a unix socket, ended with its processes when dropped.
struct Php(Child);

impl Php {
    fn start(socket: &Path) -> Self {
        let child = Command::new("php-cgi")
            .arg("-b")
            .arg(socket)
            .args(["-d", "log_errors=1", "-d", "display_errors=0"])
            .args(["-d", "upload_max_filesize=64M", "-d", "post_max_size=64M"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PHP_FCGI_CHILDREN", "4")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("php-cgi is needed (.ci/setup installs it)");
        wait_for("PHP", || UnixStream::connect(socket).ok());
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

/// Its parent ends its children when it is told to, and not when it is killed.
impl Drop for Php {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A server with PHP behind it, and these scripts.
fn site(keys: &str, scripts: &[(&str, &str)]) -> (Server, Php) {
    let folder = folder();
    let root = folder.path().join("www");
    for (name, text) in scripts {
        let file = root.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a script");
    }
    let php = Php::start(&folder.path().join("php.sock"));
    let site = Site {
        handler: format!(
            "type = \"fastcgi\"\naddress = \"unix:../php.sock\"\nroot = \"../www\"\n{keys}"
        ),
        ..Site::default()
    };
    (Server::start_in(folder, &site.text(), |_| {}), php)
}

fn get(server: &Server, path: &str) -> String {
    raw::exchange(
        server.http,
        format!(
            "GET {path} HTTP/1.1\r\nHost: shop.test\r\nProxy: evil.test\r\nConnection: close\r\n\r\n"
        ),
    )
}

fn https(server: &Server, path: &str) -> String {
    format!("https://localhost:{}{path}", server.https)
}

const SHOW: &str = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);";

#[test]
fn a_script_sees_its_request_whatever_the_client_speaks() {
    let (server, _php) = site("params = { APP_ENV = \"test\" }", &[("show.php", SHOW)]);
    for (version, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        let said = Tool::curl(&server)
            .args([version, "-H", "X-One: 1", "-b", "a=1"])
            .arg(https(&server, "/show.php/more%20path?q=1"))
            .stdout();
        let said: Value = serde_json::from_str(&said).expect("JSON");
        let root = fs::canonicalize(server.path().join("www")).expect("the folder");
        let root = root.display();
        for (name, value) in [
            ("APP_ENV", "test"),
            ("DOCUMENT_ROOT", &root.to_string()),
            ("HTTPS", "on"),
            ("HTTP_COOKIE", "a=1"),
            ("HTTP_HOST", &format!("localhost:{}", server.https)),
            ("HTTP_X_ONE", "1"),
            ("PATH_INFO", "/more path"),
            ("QUERY_STRING", "q=1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/show.php/more%20path?q=1"),
            ("SCRIPT_FILENAME", &format!("{root}/show.php")),
            ("SCRIPT_NAME", "/show.php"),
            ("PHP_SELF", "/show.php/more path"),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", &server.https.to_string()),
            ("SERVER_PROTOCOL", protocol),
        ] {
            assert_eq!(said[name], value, "{name} over {protocol}");
        }
    }
    let plain = get(&server, "/show.php");
    assert!(
        !plain.contains("HTTP_PROXY") && !plain.contains("HTTPS"),
        "{plain}"
    );
}

#[test]
fn the_application_is_named_with_its_times_and_not_where_no_script_was_found() {
    let log = "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"";
    let (server, _php) = site(log, &[("show.php", SHOW)]);
    assert_eq!(raw::status(&get(&server, "/show.php")), 200);
    assert_eq!(raw::status(&get(&server, "/none.php")), 404);
    let line = |path: &str| {
        wait_for("a line of the access log", || {
            let text = fs::read_to_string(server.path().join("access.log")).unwrap_or_default();
            let lines = text
                .lines()
                .filter_map(|it| serde_json::from_str::<Value>(it).ok());
            lines.into_iter().find(|line| line["path"] == path)
        })
    };
    let sent = line("/show.php");
    let upstream = sent["upstream"].as_str().expect("the application");
    assert!(
        upstream.starts_with("unix:") && upstream.ends_with("/php.sock"),
        "{sent}"
    );
    assert_eq!(sent["upstream_attempts"], 1);
    assert!(sent["upstream_connect_ms"].is_f64(), "{sent}");
    let (took, all) = (&sent["upstream_response_ms"], &sent["handler_time_ms"]);
    assert!(
        took.as_f64() > Some(0.0) && took.as_f64() <= all.as_f64(),
        "{sent}"
    );
    assert_eq!(line("/none.php")["upstream"], Value::Null);
}

#[test]
fn forms_and_uploads_reach_a_script_whole() {
    let script = "<?php if ($_FILES) echo md5_file($_FILES['file']['tmp_name']);
        else echo $_POST['name'] ?? md5(file_get_contents('php://input'));";
    let (server, _php) = site("", &[("index.php", script)]);
    let file = server.path().join("upload");
    let content: Vec<u8> = (0..5_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    fs::write(&file, &content).expect("a file");
    let sum = Tool::new("md5sum").arg(&file).stdout();
    let sum = sum.split(' ').next().expect("a sum");
    let file = file.display();
    let send = |arguments: [&str; 3]| {
        let curl = Tool::curl(&server).args(arguments);
        curl.arg(https(&server, "/index.php")).stdout()
    };
    assert_eq!(send(["-d", "name=a b", "--http1.1"]), "a b");
    assert_eq!(send(["-F", &format!("file=@{file}"), "--http2"]), sum);
    assert_eq!(send(["-T", &format!("{file}"), "-s"]), sum);
    // Of unknown length: read first, up to buffer_body.
    let chunked = ["-H", "Transfer-Encoding: chunked", "--http1.1"];
    let small = Tool::curl(&server)
        .args(chunked)
        .args(["-d", "name=chunked"]);
    assert_eq!(small.arg(https(&server, "/index.php")).stdout(), "chunked");
    let large = Tool::curl(&server)
        .args(chunked)
        .arg("-T")
        .arg(file.to_string());
    let large = large.args(["-w", "%{http_code}", "-o", "/dev/null"]);
    assert_eq!(large.arg(https(&server, "/index.php")).stdout(), "411");
    assert_eq!(server.wait_all_errors(1)[0]["reason"], "LengthRequired");
}

#[test]
fn a_response_comes_piece_by_piece_and_a_script_learns_that_its_client_has_gone() {
    let script = "<?php ob_end_flush(); ignore_user_abort(true); header('X-Accel-Buffering: no');
        $at = dirname(__DIR__);
        echo 'first'; flush();
        while (!file_exists(\"$at/go\")) { usleep(1000); clearstatcache(); }
        echo 'second'; flush();
        while (!connection_aborted()) { echo str_repeat('x', 1000); flush(); usleep(1000); }
        file_put_contents(\"$at/gone\", '');";
    let (server, _php) = site("", &[("index.php", script)]);
    let mut client = raw::connect(server.http);
    raw::ask(&mut client, "/");
    let mut read = String::new();
    let mut until = |text: &str| {
        while !read.contains(text) {
            let mut piece = [0; 1000];
            let length = client.read(&mut piece).expect("more");
            assert_ne!(length, 0, "{read}");
            read.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    until("first");
    fs::write(server.path().join("go"), "").expect("a file");
    until("second");
    drop(client);
    wait_for("the script's last word", || {
        server.path().join("gone").exists().then_some(())
    });
}

#[test]
fn statuses_redirects_cookies_and_ends_are_the_script_s() {
    let (mut server, _php) = site(
        "",
        &[
            (
                "teapot.php",
                "<?php http_response_code(418); setcookie('a', '1'); setcookie('b', '2');",
            ),
            (
                "there.php",
                "<?php header('Location: /elsewhere'); exit(3);",
            ),
            ("fatal.php", "<?php echo 'begun'; nothing_of_this_name();"),
            ("split.php", "<?php header(\"X-A: b\\r\\nX-Split: c\");"),
            ("empty.php", "<?php http_response_code(204);"),
            ("exit.php", "<?php posix_kill(getmypid(), 9);"),
        ],
    );
    let answer = get(&server, "/teapot.php");
    assert_eq!(raw::status(&answer), 418);
    assert!(answer.contains("a=1") && answer.contains("b=2"), "{answer}");
    let answer = get(&server, "/there.php");
    assert_eq!(raw::status(&answer), 302);
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("location: /elsewhere\r\n"),
        "{answer}"
    );
    assert_eq!(raw::status(&get(&server, "/empty.php")), 204);
    let answer = get(&server, "/split.php");
    assert!(
        !answer.to_ascii_lowercase().contains("x-split: c"),
        "{answer}"
    );
    assert_eq!(raw::status(&get(&server, "/fatal.php")), 500);
    let line = server.wait_line("nothing_of_this_name");
    let line = line.expect("what PHP complains of is in the server's log");
    assert!(line.contains("php.sock"), "{line}");
}

#[test]
fn a_script_whose_process_is_killed_costs_its_own_request_alone() {
    let kill = "<?php file_put_contents(dirname(__DIR__) . '/pid', getmypid()); while (true) usleep(1000);";
    let (server, php) = site("", &[("wait.php", kill), ("index.php", "ok")]);
    let mut client = raw::connect(server.http);
    raw::ask(&mut client, "/wait.php");
    let pid = wait_for("the script", || {
        let pid = fs::read_to_string(server.path().join("pid")).ok()?;
        pid.parse::<i32>().ok()
    });
    kill_now(pid);
    let (head, _) = raw::read_response(&mut client);
    assert_eq!(raw::status(&head), 502);
    assert_eq!(server.wait_all_errors(1)[0]["reason"], "Upstream_Reset");
    assert_eq!(raw::status(&get(&server, "/")), 200);
    drop(php);
    // Its processes end one by one.
    wait_for("the end of PHP", || {
        assert!(matches!(raw::status(&get(&server, "/")), 200 | 502));
        let last = server.errors().pop()?;
        (last["reason"] == "Upstream_Connect").then_some(())
    });
}

fn kill_now(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a process");
}

#[test]
fn what_is_no_script_is_never_run() {
    let run = "<?php file_put_contents(dirname(__DIR__) . '/was-run', ''); echo 'run';";
    let (server, _php) = site(
        "",
        &[
            ("avatar.png", run),
            (".hidden.php", run),
            ("a.php.bak", run),
            ("good.php", "good"),
        ],
    );
    fs::write(server.path().join("outside.php"), run).expect("a script");
    symlink("../outside.php", server.path().join("www/link.php")).expect("a link");
    for path in [
        "/avatar.png",
        "/avatar.png/x.php",
        "/avatar.png%2Fx.php",
        "/avatar.png/.php",
        "/avatar.png%00.php",
        "/.hidden.php",
        "/a.php.bak",
        "/a.php.bak/x.php",
        "/link.php",
        "/../outside.php",
        "/%2e%2e/outside.php",
        "/good.php/../avatar.png",
        "/none.php",
        "/",
    ] {
        let status = raw::status(&get(&server, path));
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
    assert!(!server.path().join("was-run").exists());
    assert!(get(&server, "/good.php").ends_with("good"));
    assert!(get(&server, "/good.php/avatar.png").ends_with("good"));
}

#[test]
fn many_at_once_wait_for_php_and_none_is_lost() {
    let (server, _php) = site(
        "script = \"index.php\"",
        &[("index.php", "<?php echo $_SERVER['REQUEST_URI'];")],
    );
    let said = Tool::new("h2load")
        .args(["-n", "2000", "-c", "8", "-m", "16", "--connect-to"])
        .arg(format!("127.0.0.1:{}", server.https))
        .arg(https(&server, "/any/path"))
        .stdout();
    assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
}

/// Whoever cuts its head short, or sends a large one, is no trouble to others.
#[test]
fn large_heads_reach_php_and_hostile_names_do_not() {
    let (server, _php) = site("", &[("show.php", SHOW)]);
    let value = "v".repeat(8000);
    let head = format!(
        "GET /show.php HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nX-Long: {value}\r\nX-Longer: {value}\r\nX_Long: under\r\n\
         HTTPS: on\r\nScript-Filename: /etc/passwd\r\nContent-Type: a\r\nPHP-VALUE: auto_prepend_file=/etc/passwd\r\n\r\n"
    );
    let mut client = raw::connect(server.http);
    client.write_all(head.as_bytes()).expect("a reader");
    let answer = raw::read_to_end(&mut client);
    assert_eq!(raw::status(&answer), 200);
    let content = answer.split_once("\r\n\r\n").expect("content").1;
    let json = &content[content.find('{').expect("JSON")..=content.rfind('}').expect("JSON")];
    // Content of unknown length comes in chunks.
    let json: String = json
        .split("\r\n")
        .enumerate()
        .filter(|(at, _)| at % 2 == 0)
        .map(|(_, line)| line)
        .collect();
    let said: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(said["HTTP_X_LONG"], value);
    assert_eq!(said["HTTP_X_LONGER"], value);
    assert_eq!(said["HTTP_HTTPS"], "on");
    assert!(
        said.get("HTTPS").is_none() && said.get("PHP_VALUE").is_none(),
        "{json}"
    );
    assert!(
        said["SCRIPT_FILENAME"]
            .as_str()
            .is_some_and(|name| name.ends_with("/show.php"))
    );
}
