//! A single upstream that is restarted under load costs no request that may be repeated.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::support::{Server, Site, Tool, folder, free_port, raw, wait_for};

/// nginx that is started again and again on one port.
struct Restarted {
    folder: tempfile::TempDir,
    port: u16,
    master: Child,
}

impl Restarted {
    fn start() -> Self {
        let folder = folder();
        let port = free_port();
        let place = folder.path().display();
        let config = format!(
            "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error.log;\nevents {{}}\nhttp {{ access_log off;\n\
             client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;\n\
             scgi_temp_path {place}/s; server {{ listen 127.0.0.1:{port}; location / {{ return 200 hello; }} }} }}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), config).expect("nginx.conf");
        let master = Self::run(&folder, port);
        Self {
            folder,
            port,
            master,
        }
    }

    fn run(folder: &tempfile::TempDir, port: u16) -> Child {
        let mut command = Command::new("nginx");
        command
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .arg("-c")
            .arg(folder.path().join("nginx.conf"));
        command
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let master = command
            .spawn()
            .expect("nginx is needed (.ci/setup installs it)");
        wait_for("nginx to listen", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        master
    }

    /// Stops it as an init system does, which breaks what is under way, and starts it a moment later.
    fn restart(&mut self) {
        let pid = self.master.id().to_string();
        assert!(
            Command::new("kill")
                .arg(&pid)
                .status()
                .expect("kill")
                .success()
        );
        self.master.wait().expect("nginx ends");
        // As long as a program takes that has to load something.
        thread::sleep(Duration::from_millis(200));
        self.master = Self::run(&self.folder, self.port);
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.master.id().to_string())
            .status();
        let _ = self.master.wait();
    }
}

fn portunus(port: u16) -> Server {
    Site {
        // How long a start takes is the machine's affair.
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]\nretry = {{ wait = \"1m\" }}"
        ),
        ..Site::default()
    }
    .start()
}

#[test]
fn nginx_that_is_restarted_under_load_costs_no_request() {
    let mut nginx = Restarted::start();
    let server = portunus(nginx.port);
    let port = server.http;
    let load = thread::spawn(move || {
        Tool::new("h2load")
            .args(["--h1", "-c", "32", "-t", "1", "-D", "4"])
            .arg(format!("http://127.0.0.1:{port}/"))
            .stdout()
    });
    wait_for("requests to flow", || {
        raw::exchange(port, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .ends_with("hello")
            .then_some(())
    });
    for _ in 0..3 {
        nginx.restart();
        thread::sleep(Duration::from_millis(200));
    }
    let told = load.join().expect("h2load");
    let line = told
        .lines()
        .find(|line| line.starts_with("requests:"))
        .unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains(" 0 failed, 0 errored, 0 timeout"), "{told}");
    let codes = told
        .lines()
        .find(|line| line.starts_with("status codes:"))
        .expect("the statuses");
    assert!(codes.contains(" 0 3xx, 0 4xx, 0 5xx"), "{told}");
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn an_upstream_that_resets_what_is_under_way_and_is_back_costs_no_get() {
    // Every hundredth connection is reset with its request, and then nobody listens for a moment.
    let port = free_port();
    let first = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let (resets, ends) = (
        std::sync::Arc::new(AtomicUsize::new(0)),
        std::sync::Arc::new(AtomicBool::new(false)),
    );
    let counted = (resets.clone(), ends.clone());
    let upstream = thread::spawn(move || upstream(first, &counted.0, &counted.1));
    let server = portunus(port);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let port = server.http;
            thread::spawn(move || {
                let mut stream = raw::connect(port);
                (0..150)
                    .map(|_| raw::get(&mut stream, "/").0)
                    .filter(|status| *status != 200)
                    .count()
            })
        })
        .collect();
    let failed: usize = clients
        .into_iter()
        .map(|client| client.join().expect("a client"))
        .sum();
    ends.store(true, Relaxed);
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    upstream.join().expect("the upstream");
    assert!(resets.load(Relaxed) >= 5, "it was restarted");
    assert_eq!(failed, 0, "{:?}", server.errors());
}

/// Answers one request a connection; after each hundredth it is gone for a moment, and what waits is reset.
fn upstream(mut listener: TcpListener, resets: &AtomicUsize, ends: &AtomicBool) {
    use std::io::{Read, Write};
    let address = listener.local_addr().expect("an address");
    for number in 1_usize.. {
        let (mut stream, _) = listener.accept().expect("a connection");
        if ends.load(Relaxed) {
            return;
        }
        let mut room = [0; 4096];
        if number % 100 > 0 {
            let _ = stream.read(&mut room);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            continue;
        }
        // Closed with unread bytes, a connection is reset.
        let _ = stream.peek(&mut room);
        drop(stream);
        drop(listener);
        resets.fetch_add(1, Relaxed);
        thread::sleep(Duration::from_millis(50));
        listener = TcpListener::bind(address).expect("the port again");
    }
}
