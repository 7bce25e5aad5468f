//! A page in Chromium, and hands that click in it: the Chrome DevTools protocol, over a pair of pipes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{PATIENCE, wait_for};

/// One page of a browser of its own.
pub struct Page {
    browser: Child,
    orders: File,
    messages: mpsc::Receiver<Value>,
    session: Option<String>,
    sent: u64,
    events: Vec<Value>,
    _home: TempDir,
}

impl Page {
    /// Starts Chromium, with an empty page.
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let [orders, answers] = ["orders", "answers"].map(|name| {
            let path = home.path().join(name);
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
            path
        });
        // Chromium takes orders from descriptor 3, and answers to 4.
        let browser = Command::new("sh")
            .args([
                "-c",
                "exec chromium \"$@\" 3<\"$ORDERS\" 4>\"$ANSWERS\"",
                "sh",
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--no-proxy-server",
                "--remote-debugging-pipe",
            ])
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .arg("about:blank")
            .env("HOME", home.path())
            .env("ORDERS", &orders)
            .env("ANSWERS", &answers)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // It is many processes, which end together.
            .process_group(0)
            .spawn()
            .expect("sh");
        // Each opening waits for the other end.
        let orders = File::create(&orders).expect("the pipe of orders");
        let answers = File::open(&answers).expect("the pipe of answers");
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut page = Self {
            browser,
            orders,
            messages,
            session: None,
            sent: 0,
            events: Vec::new(),
            _home: home,
        };
        let target = page.order("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.order("Target.attachToTarget", attach);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            page.order(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Gives an order, and waits until it is carried out.
    pub fn order(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.answer(method, parameters);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// What an order is answered, be it an error.
    fn answer(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut order = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        write!(self.orders, "{order}\0").expect("chromium is needed (.ci/setup installs it)");
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let message = message.expect("chromium is needed (.ci/setup installs it)");
            if message["id"] == self.sent {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) {
        let gone = self.order("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// What an expression is in the page; null where the page has just gone elsewhere.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        self.answer("Runtime.evaluate", parameters)["result"]["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) {
        wait_for(expression, || {
            (self.value(expression) == true).then_some(())
        });
    }

    /// Waits until the first element that a selector finds, and that a person sees, says some words.
    pub fn wait_text(&mut self, selector: &str, text: &str) {
        self.wait(&format!(
            "Boolean(document.querySelector({})?.innerText.includes({}))",
            json!(selector),
            json!(text)
        ));
    }

    /// Clicks on the first element that a selector finds, wherever it is by then: a live page moves what is below what grows.
    pub fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{ const found = document.querySelector({}); found?.click(); return Boolean(found); }})()",
            json!(selector)
        );
        assert_eq!(self.value(&find), true, "there is no {selector}");
    }

    /// Writes into the first element that a selector finds.
    pub fn write(&mut self, selector: &str, text: &str) {
        self.value(&format!(
            "document.querySelector({}).focus()",
            json!(selector)
        ));
        self.order("Input.insertText", json!({ "text": text }));
    }

    /// Presses the key that sends a form.
    pub fn enter(&mut self) {
        for what in ["keyDown", "keyUp"] {
            let key = json!({ "type": what, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 });
            self.order("Input.dispatchKeyEvent", key);
        }
    }

    /// What the browser had to say of the pages: errors, warnings, refusals by their policies.
    pub fn complaints(&mut self) -> Vec<Value> {
        // What was said before this is here before its answer.
        self.value("1");
        let all = self.events.iter();
        let told = all.filter(|event| {
            let methods = [
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
                "Log.entryAdded",
            ];
            methods.iter().any(|method| event["method"] == *method)
        });
        told.map(|event| event["params"].clone()).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            eprintln!("--- the page's browser, at load {text}");
            for event in &self.events {
                eprintln!("{event}");
            }
        }
        let group = Pid::from_raw(self.browser.id().try_into().expect("a process id"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.browser.wait();
    }
}
