//! Upstreams: scripted ones, that do exactly what a test wants, and nginx.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::free_port;
use super::server::{PATIENCE, wait_for};

/// An upstream that a test scripts, connection by connection.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    heads: mpsc::Receiver<String>,
}

/// What answers wait behind until a test lets them go: for as long as it takes, a request is under way.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through from now on.
    pub fn open(&self) {
        *self.0.0.lock().expect("whole") = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let closed = self.0.0.lock().expect("whole");
        drop(self.0.1.wait_while(closed, |open| !*open));
    }
}

/// One connection to a scripted upstream.
pub struct Talk {
    reader: BufReader<TcpStream>,
    heads: mpsc::Sender<String>,
    /// Which connection this is, from 0.
    pub number: usize,
}

impl Upstream {
    /// Has each connection run through `script`, each in a thread of its own.
    pub fn start(script: impl Fn(&mut Talk) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, heads) = mpsc::channel();
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (script, heads) = (script.clone(), sender.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    script(&mut Talk {
                        reader: BufReader::new(stream),
                        heads,
                        number,
                    });
                });
            }
        });
        Self { port, heads }
    }

    /// Answers with this content once the gate is open.
    pub fn held(gate: &Gate, content: &str) -> Self {
        let length = content.len();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}");
        let gate = gate.clone();
        Self::start(move |talk| {
            while talk.read_head().is_some() {
                gate.pass();
                talk.send(&response);
            }
        })
    }

    /// The head of the next request that came, on whatever connection.
    pub fn head(&self) -> String {
        self.heads
            .recv_timeout(PATIENCE)
            .expect("a request reaches the upstream")
    }

    /// What is told next, if anything is yet.
    pub fn told(&self) -> Option<String> {
        self.heads.try_recv().ok()
    }

    /// How many requests came, beside those that were looked at.
    pub fn heads_so_far(&self) -> usize {
        self.heads.try_iter().count()
    }

    /// The handler that proxies to it.
    pub fn handler(&self) -> String {
        format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\"]",
            self.port
        )
    }
}

impl Talk {
    /// Reads a request's head; none when the connection is closed.
    pub fn read_head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let _ = self.heads.send(head.clone());
        Some(head)
    }

    /// Reads so many bytes of content.
    pub fn read_content(&mut self, length: usize) -> Vec<u8> {
        let mut content = vec![0; length];
        self.reader.read_exact(&mut content).expect("the content");
        content
    }

    /// Reads until the other side closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.reader.read_to_end(&mut all);
        all
    }

    /// What still comes, and how the connection ends.
    pub fn how_it_ends(&mut self) -> String {
        let mut rest = Vec::new();
        let how = match self.reader.read_to_end(&mut rest) {
            Ok(_) => "the end".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "a reset".into(),
            Err(error) => error.to_string(),
        };
        format!("{}, then {how}", String::from_utf8_lossy(&rest))
    }

    /// Has a test hear of it, as of a head.
    pub fn tell(&self, what: String) {
        let _ = self.heads.send(what);
    }

    /// Ends what is sent; what comes goes on.
    pub fn end(&self) {
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Write);
    }

    /// Breaks the connection off when it is dropped.
    pub fn reset(&self) {
        let socket = socket2::SockRef::from(self.reader.get_ref());
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// Sends zeros, up to so many, for as long as the other side takes any; how many it took.
    pub fn send_while_taken(&mut self, most: usize) -> usize {
        let stream = self.reader.get_mut();
        // Who takes nothing for so long takes nothing more.
        let silence = Some(Duration::from_millis(500));
        stream.set_write_timeout(silence).expect("a timeout");
        let (zeros, mut taken) = (vec![0; 1 << 16], 0);
        while taken < most {
            match stream.write(&zeros) {
                Ok(written) => taken += written,
                Err(_) => break,
            }
        }
        taken
    }

    /// Sends bytes; the other side may be gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// Answers every request on the connection alike.
    pub fn answer_all(&mut self, response: &str) {
        while self.read_head().is_some() {
            self.send(response);
        }
    }
}

/// nginx on a free port, in a folder of its own.
pub struct Nginx {
    child: Child,
    /// Where it listens.
    pub port: u16,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx with these directives in its one `server`.
    pub fn start(directives: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let place = folder.path().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\nevents {{}}\nhttp {{ access_log off;\n\
             client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;\n\
             scgi_temp_path {place}/s; client_max_body_size 0;\nserver {{ listen 127.0.0.1:{port}; {directives} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("nginx.conf");
        let mut command = Command::new("nginx");
        command
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder.path());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .expect("nginx is needed (.ci/setup installs it)");
        let nginx = Self {
            child,
            port,
            folder,
        };
        wait_for("nginx to listen", || {
            TcpStream::connect(("127.0.0.1", nginx.port)).ok()
        });
        nginx
    }

    /// A folder for its files.
    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers on SIGTERM; a kill would leave them.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
