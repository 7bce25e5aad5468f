//! docs/openapi.json, held against what a busy server answers.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Server, Site, Tool, Upstream, folder, library, raw, tls, wait_for};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
const CHECK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/server/admin/openapi_check.py"
);

/// An exchange, as `openapi_check.py` reads it. `of` is the path as the document has it.
fn exchange(server: &Server, method: &str, path: &str, of: &str, fields: &str) -> Value {
    let socket = server.path().join("run/portunus.sock");
    let stream = UnixStream::connect(socket).expect("the admin socket");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost{fields}");
    let response = super::raw(stream, &head);
    let (head, content) = response.split_once("\r\n\r\n").expect("a head");
    let status = raw::status(head);
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    json!([method, of, status, kind.expect("a content type"), content])
}

/// A server that has a little of everything: workers, upstreams, files, certificates, failures.
fn busy() -> (Server, Upstream, impl Sized) {
    let folder = folder();
    let app = folder.path().join("app");
    fs::create_dir(&app).expect("app/");
    fs::write(app.join("app.py"), include_str!("../workers/app.py")).expect("the application");
    let upstream =
        Upstream::start(|talk| talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let site = Site {
        tail: format!(
            "[[site.route]]\npath = \"/app\"\nmethods = [\"GET\"]\npool = \"app\"\n\
             [[site.route]]\npath = \"/proxy\"\npool = \"proxy\"\n\
             [[pool]]\nname = \"app\"\n[pool.handler]\ntype = \"process\"\n\
             command = [\"python3\", \"app.py\"]\ncwd = \"../app\"\nstart_mode = \"always\"\n\
             [[pool]]\nname = \"proxy\"\n[pool.handler]\n{}\n",
            upstream.handler()
        ),
        ..Site::default()
    };
    let server = Server::start_in(folder, &site.text(), |_| {});
    let mut kept = raw::connect(server.http);
    for path in ["/", "/proxy", "/app"] {
        assert_eq!(raw::get(&mut kept, path).0, 200, "{path}");
    }
    raw::exchange(server.http, "GET / HTTP/1.1\r\n\r\n");
    raw::exchange(server.https, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_error("Tls_NotTls");
    let mut secure = tls::connect(&server, &["http/1.1"]);
    secure
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("sent");
    raw::read_response(&mut secure);
    Tool::curl(&server)
        .arg("--http2")
        .arg(format!("https://localhost:{}/", server.https))
        .stdout();
    (server, upstream, (kept, secure))
}

/// What the check has to say of these exchanges.
fn faults(exchanges: &[Value]) -> String {
    let mut check = Command::new("python3")
        .env("PYTHONPATH", library("openapi-spec-validator"))
        .args([CHECK, DOCUMENT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = check.stdin.take().expect("stdin is piped");
    let text = serde_json::to_vec(exchanges).expect("JSON");
    input.write_all(&text).expect("it reads");
    drop(input);
    let output = check.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let done = said.strip_suffix("checked\n");
    done.expect("openapi-spec-validator is needed (.ci/setup installs it)")
        .to_owned()
}

#[test]
fn every_answer_of_a_busy_server_is_as_the_document_says() {
    let (server, _upstream, _kept) = busy();
    let document: Value =
        serde_json::from_str(&fs::read_to_string(DOCUMENT).expect("the document")).expect("JSON");
    let get = |path: &str| exchange(&server, "GET", path, path, "");
    let post = |path: &str, of: &str| exchange(&server, "POST", path, of, "");
    let mut all = Vec::new();
    let paths = document["paths"].as_object().expect("paths");
    // What goes on for ever is looked at elsewhere.
    let asked = paths.iter().filter(|(path, _)| *path != "/v1/events");
    for (path, _) in asked.filter(|(_, path)| path.get("get").is_some()) {
        all.push(get(path));
        all.push(exchange(
            &server,
            "GET",
            path,
            path,
            "\r\nAccept: text/plain",
        ));
        all.push(exchange(&server, "DELETE", path, path, ""));
        all.last_mut().expect("one")[0] = "GET".into();
    }
    all.push(get("/readyz?verbose&exclude=pools&exclude=nothing"));
    all.last_mut().expect("one")[1] = "/readyz".into();
    for (pool, order) in [
        ("app", "recycle"),
        ("main", "recycle"),
        ("main", "stop"),
        ("app", "stop"),
        ("app", "start"),
        ("nobody", "start"),
    ] {
        let of = format!("/v1/pools/{{name}}/{order}");
        all.push(post(&format!("/v1/pools/{pool}/{order}"), &of));
    }
    all.push(get("/v1/explain?url=https://localhost/proxy"));
    all.push(get("/v1/explain?url=http://localhost:1/"));
    for explained in all.iter_mut().rev().take(2) {
        explained[1] = "/v1/explain".into();
    }
    all.push(post("/v1/login-codes", "/v1/login-codes"));
    // Not ready any more, and with something to tell of every pool.
    all.extend(["/readyz", "/v1/pools", "/v1/service"].map(get));
    all.push(post("/v1/reload?dry_run=true", "/v1/reload"));
    let file = server.path().join("config/bindings.toml");
    let text = fs::read_to_string(&file).expect("the bindings file");
    fs::write(&file, text.replace("body = \"Hello", "# \nbody = \"Bye")).expect("written");
    all.push(get("/v1/plan"));
    all.push(post("/v1/reload", "/v1/reload"));
    fs::write(&file, text.replace("pool = \"app\"", "pool = \"nobody\"")).expect("written");
    all.push(get("/v1/plan"));
    all.push(post("/v1/reload", "/v1/reload"));
    all.push(post("/v1/stop", "/v1/stop"));
    assert_eq!(faults(&all), "");
    // What was checked was busy: a server at rest would have left the half of it out.
    let of = |path: &str| -> Vec<Value> {
        let all = all
            .iter()
            .filter(|one| one[1] == path && one[3] == "application/json");
        all.map(|one| serde_json::from_str(one[4].as_str().expect("text")).expect("JSON"))
            .collect()
    };
    let pools = &of("/v1/pools")[0]["pools"];
    assert!(pools[1]["workers"][0]["pid"].is_u64(), "{pools}");
    assert_eq!(pools[2]["upstreams"][0]["responses"], 1, "{pools}");
    assert!(of("/v1/certificates")[0]["certificates"][0]["serial"].is_string());
    assert!(of("/v1/connections")[0]["connections"][1]["tls"].is_object());
    assert_eq!(
        of("/v1/tls-failures")[0]["failures"][0]["reason"],
        "Tls_NotTls"
    );
    assert_eq!(of("/v1/openapi.json")[0], document, "it is served as it is");
    let statuses: Vec<u64> = all.iter().filter_map(|one| one[2].as_u64()).collect();
    for status in [200, 400, 405, 409, 503] {
        assert!(statuses.contains(&status), "no answer of {status}");
    }
}

#[test]
fn a_key_that_nobody_has_written_down_is_found() {
    let answer = json!({ "failures": [], "new": 1 });
    let path = "/v1/tls-failures";
    let faults = faults(&[json!([
        "GET",
        path,
        200,
        "application/json",
        answer.to_string()
    ])]);
    assert!(faults.contains("'new' was unexpected"), "{faults}");
}

#[test]
fn answers_at_a_loopback_address_are_as_the_document_says() {
    let port = crate::support::free_port();
    let site = Site {
        head: format!("[server]\nadmin = \"127.0.0.1:{port}\""),
        ..Site::default()
    };
    let server = site.start();
    let token = wait_for("the token", || {
        fs::read_to_string(server.path().join("state/admin-token")).ok()
    });
    let bearer = format!("Authorization: Bearer {token}");
    let asked = |fields: &str| {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let response = super::raw(stream, &format!("GET /v1/pools HTTP/1.1\r\n{fields}"));
        let (head, content) = response.split_once("\r\n\r\n").expect("a head");
        json!([
            "GET",
            "/v1/pools",
            raw::status(head),
            "application/json",
            content
        ])
    };
    let host = format!("Host: 127.0.0.1:{port}");
    let all = [
        asked(&format!("{host}\r\n{bearer}")),
        asked(&host),
        asked(&format!("Host: evil.test\r\n{bearer}")),
        asked(&format!("{host}\r\nOrigin: https://evil.test\r\n{bearer}")),
    ];
    let statuses: Vec<u64> = all.iter().filter_map(|one| one[2].as_u64()).collect();
    assert_eq!(statuses, [200, 401, 421, 403]);
    assert_eq!(faults(&all), "");
}
