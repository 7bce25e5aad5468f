//! `portunus top` on a terminal of its own, with real keys; and where there is none.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Server, Site, raw};

/// A terminal, and what runs on it.
struct Terminal {
    python: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Terminal {
    fn run(arguments: &[&str], env: Value, size: [u16; 2]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/top/terminal.py");
        let mut python = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut terminal = Self {
            orders: python.stdin.take().expect("stdin is piped"),
            answers: BufReader::new(python.stdout.take().expect("stdout is piped")),
            python,
        };
        let program = [&[env!("CARGO_BIN_EXE_portunus"), "top"], arguments].concat();
        terminal.order(&json!({ "run": program, "env": env, "size": size }));
        terminal
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("the script reads");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the script answers");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        let text = answer["text"].as_str().unwrap_or("");
        assert_eq!(answer["ok"], true, "in vain: {order}\n{text}");
        answer
    }

    fn press(&mut self, keys: &str) {
        self.order(&json!({ "keys": keys }));
    }

    fn see(&mut self, text: &str) -> String {
        let answer = self.order(&json!({ "see": text, "not": null }));
        answer["text"].as_str().expect("text").to_owned()
    }

    /// Ends as it should: with this code, and with the terminal as it was.
    fn ends(&mut self, code: i32) -> Value {
        let answer = self.order(&json!({ "end": true }));
        for (what, wanted) in [
            ("code", json!(code)),
            ("same", json!(true)),
            ("left", json!(true)),
            ("cursor", json!(true)),
        ] {
            assert_eq!(answer[what], wanted, "{what}: {answer}");
        }
        answer
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

fn server_at(socket: &Path) -> Server {
    let site = Site {
        head: format!("[server]\nadmin = \"unix:{}\"", socket.display()),
        ..Site::default()
    };
    site.start()
}

fn once(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("top")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the portunus binary")
}

#[test]
fn keys_move_through_it_and_a_server_that_comes_back_is_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let server = server_at(&socket);
    let mut client = raw::connect(server.http);
    assert_eq!(raw::get(&mut client, "/").0, 200);

    let arguments = ["--interval", "100ms", "--admin", &admin];
    let mut top = Terminal::run(&arguments, json!({ "TERM": "xterm" }), [80, 24]);
    let text = top.see("failed 0/s");
    assert!(text.contains("Running") && text.contains("0/"), "{text}");
    assert_eq!(text.lines().count(), 24, "{text}");
    for (key, text) in [
        ("2", "BINDING"),
        ("\t", "UPSTREAM"),
        ("\x1b[C", "GEN"),
        ("5", "CLIENT"),
        ("?", "sort by the next column"),
        ("x", "CLIENT"),
        ("s", "CLIENT^"),
        ("/nobody", "filter: nobody_"),
        ("\r", "nothing has this in it"),
        ("p", "PAUSED"),
    ] {
        top.press(key);
        top.see(text);
    }
    top.press("p");
    top.order(&json!({ "size": [60, 9] }));
    let text = top.see("q quit");
    assert!(
        text.lines().nth(8).is_some_and(|it| it.contains("q quit")),
        "{text}"
    );
    top.order(&json!({ "size": [100, 30] }));
    top.see("CLIENT^");

    drop(server);
    top.see("not reachable since ");
    let _server = server_at(&socket);
    top.order(&json!({ "see": "q quit", "not": "not reachable" }));
    top.press("q");
    top.ends(0);
}

#[test]
fn a_signal_ends_it_with_the_terminal_as_it_was_and_without_colours_none_are_written() {
    let admin = "unix:/nonexistent/portunus.sock";
    for (env, colours) in [
        (json!({ "TERM": "xterm", "NO_COLOR": "" }), true),
        (json!({ "TERM": "xterm", "NO_COLOR": "1" }), false),
    ] {
        let mut top = Terminal::run(&["--admin", admin], env, [80, 24]);
        top.see("not reachable since ");
        top.order(&json!({ "signal": 15 }));
        assert_eq!(top.ends(128 + 15)["colours"], colours);
    }
}

#[test]
fn a_terminal_that_is_taken_away_ends_it_without_a_fuss() {
    let arguments = ["--admin", "unix:/nonexistent/portunus.sock"];
    let mut top = Terminal::run(&arguments, json!({ "TERM": "xterm" }), [80, 24]);
    top.see("not reachable since ");
    let answer = top.order(&json!({ "hang_up": true }));
    // SIGHUP comes, or that nothing can be read any more, whichever is first.
    let code = answer["code"].as_i64();
    assert!(matches!(code, Some(129 | 1)), "{answer}");
}

#[test]
fn without_a_terminal_one_frame_is_written_as_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let server = server_at(&socket);
    let arguments = ["--interval", "100ms", "--admin", &admin];
    let done = once(&arguments);
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    for part in [
        "portunus ",
        "responses 0/s",
        "\nPools\nPOOL",
        "\nBindings\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("no terminal"), "{said}");
    let asked_for = once(&["--once", "--interval", "100ms", "--admin", &admin]);
    assert_eq!(String::from_utf8_lossy(&asked_for.stderr), "");

    drop(server);
    let done = once(&arguments);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("no server answers at unix:"), "{said}");
    let done = once(&["--interval", "1ms", "--admin", &admin]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
}
