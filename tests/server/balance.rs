//! The balancer against upstreams that die, hang, refuse, answer errors, and come back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use crate::support::{Nginx, Server, Site, Tool, Upstream, free_port, raw, wait_for};

/// A proxy to these ports, on one data thread: turns and shares are then exact.
fn proxy(ports: &[u16], keys: &str) -> Server {
    let upstreams: Vec<_> = ports
        .iter()
        .map(|port| format!("\"http://127.0.0.1:{port}\""))
        .collect();
    proxy_to(&format!("[{}]", upstreams.join(", ")), keys)
}

fn proxy_to(upstreams: &str, keys: &str) -> Server {
    Site {
        head: "[server]\nthreads = 1".into(),
        handler: format!("type = \"proxy\"\nupstreams = {upstreams}\n{keys}"),
        ..Site::default()
    }
    .start()
}

fn ask(server: &Server, head: &str) -> String {
    let request = format!("{head}\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
    raw::exchange(server.http, request)
}

fn get(server: &Server) -> String {
    ask(server, "GET / HTTP/1.1")
}

/// What upstreams that say their name answered, in order.
fn names(server: &Server, requests: usize) -> String {
    let content = |response: String| response.rsplit("\r\n\r\n").next().map(str::to_owned);
    (0..requests).filter_map(|_| content(get(server))).collect()
}

/// An upstream that says its name.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |talk| {
        let length = name.len();
        talk.answer_all(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"
        ));
    })
}

/// An upstream that takes a request and never answers.
fn mute() -> Upstream {
    Upstream::start(|talk| {
        talk.read_head();
        talk.read_to_end();
    })
}

/// An upstream at a port of choice, which ends when it is dropped.
struct At(Arc<AtomicBool>, u16);

impl At {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if seen.load(SeqCst) {
                    return;
                }
                let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
                while lines
                    .next()
                    .and_then(Result::ok)
                    .is_some_and(|line| !line.is_empty())
                {}
                let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nR";
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self(ended, port)
    }
}

impl Drop for At {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.1));
    }
}

const COUNTING: &str = "location = /count { stub_status; } location / { return 200 ok; }";

/// Puts HTTP/2 load on a proxy to three of nginx, one of which is stopped in the middle: how many requests had which status,
/// and how many had none.
fn one_dies_under_load(keys: &str) -> (Server, usize, usize) {
    const REQUESTS: usize = 6000;
    let nginx: Vec<_> = (0..3).map(|_| Nginx::start(COUNTING)).collect();
    let ports: Vec<_> = nginx.iter().map(|nginx| nginx.port).collect();
    let mut server = proxy(&ports, keys);
    let url = format!("https://localhost:{}/", server.https);
    let load = std::thread::spawn(move || {
        Tool::new("h2load")
            .args(["-n", &REQUESTS.to_string(), "-c", "8", "-m", "4"])
            .arg(url)
            .stdout()
    });
    let mut nginx = nginx.into_iter();
    let dying = nginx.next().expect("three");
    wait_for("some requests at the one that is to die", || {
        let count = raw::exchange(
            dying.port,
            "GET /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let line = count
            .lines()
            .skip_while(|line| !line.contains("requests"))
            .nth(1)?;
        let served: usize = line.split_ascii_whitespace().nth(2)?.parse().ok()?;
        (served > 200).then_some(())
    });
    drop(dying);
    let told = load.join().expect("h2load");
    let line = told.lines().find(|line| line.starts_with("status codes:"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    let good: usize = line
        .split_ascii_whitespace()
        .nth(2)
        .and_then(|n| n.parse().ok())
        .expect("a count");
    server
        .wait_line("an upstream is ejected")
        .expect("it is said");
    (server, good, REQUESTS - good)
}

#[test]
fn an_upstream_that_dies_under_load_costs_no_get_that_may_be_sent_again() {
    let (server, _, failed) = one_dies_under_load("");
    assert_eq!(failed, 0);
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn without_retries_it_costs_no_more_than_what_was_under_way_and_what_ejects_it() {
    let (_, good, failed) = one_dies_under_load("retry = { attempts = 1 }");
    // 32 were under way at most, and the ejection takes three more that fail.
    assert!(failed <= 40, "{failed} failed, {good} did not");
}

#[test]
fn an_upstream_that_refuses_is_ejected_and_comes_back_when_it_answers() {
    let port = free_port();
    let good = named("A");
    let mut server = proxy(
        &[good.port, port],
        "eject = { time = \"100ms\" }\nslow_start = \"0s\"",
    );
    assert_eq!(names(&server, 12), "A".repeat(12));
    let line = server
        .wait_line("an upstream is ejected")
        .expect("it is said");
    assert!(
        line.contains(&port.to_string()) && line.contains("refused"),
        "{line}"
    );
    let _back = At::start(port);
    wait_for("the upstream to be tried", || {
        names(&server, 1).contains('R').then_some(())
    });
    server.wait_line("gets requests again").expect("it is said");
    let both = names(&server, 10);
    assert!(both.matches('R').count() >= 4, "{both}");
    assert_eq!(server.errors(), Vec::<serde_json::Value>::new());
}

#[test]
fn an_upstream_that_is_back_gets_a_tenth_at_first() {
    let port = free_port();
    let good = named("A");
    let server = proxy(
        &[good.port, port],
        "eject = { time = \"100ms\" }\nslow_start = \"1h\"",
    );
    names(&server, 12);
    let _back = At::start(port);
    wait_for("the upstream to be tried", || {
        names(&server, 1).contains('R').then_some(())
    });
    let both = names(&server, 110);
    assert_eq!(both.matches('R').count(), 10, "{both}");
}

#[test]
fn an_upstream_that_answers_with_errors_alone_is_ejected() {
    let (bad, good) = (Nginx::start("return 500;"), Nginx::start("return 200 ok;"));
    let mut server = proxy(&[bad.port, good.port], "");
    let url = format!("http://localhost:{}/", server.http);
    Tool::new("h2load")
        .args(["--h1", "-n", "120", "-c", "1"])
        .arg(url)
        .stdout();
    let line = server
        .wait_line("an upstream is ejected")
        .expect("it is said");
    assert!(
        line.contains(&bad.port.to_string()) && line.contains("5xx"),
        "{line}"
    );
    assert!((0..20).all(|_| raw::status(&get(&server)) == 200));
}

#[test]
fn a_slow_upstream_gets_no_more_when_the_least_burdened_is_chosen() {
    for policy in ["least_requests", "power_of_two"] {
        let (slow, quick) = (mute(), named("A"));
        let server = proxy(&[slow.port, quick.port], &format!("balance = \"{policy}\""));
        // Until it has one, which it keeps.
        let mut hanging = Vec::new();
        let (sender, taken) = mpsc::channel();
        std::thread::spawn(move || {
            slow.head();
            sender.send(()).expect("somebody waits");
        });
        wait_for("the slow one to have a request", || {
            let mut client = raw::connect(server.http);
            raw::ask(&mut client, "/");
            let moment = std::time::Duration::from_millis(50);
            client.set_read_timeout(Some(moment)).expect("a timeout");
            // Whichever has it says so: a quick one that is still at work has as much to do as the slow one.
            loop {
                if taken.try_recv().is_ok() {
                    hanging.push(client);
                    return Some(());
                }
                if client.peek(&mut [0]).is_ok() {
                    return None;
                }
            }
        });
        assert_eq!(names(&server, 20), "A".repeat(20), "{policy}");
    }
}

#[test]
fn when_all_upstreams_are_down_attempts_stay_within_the_budget() {
    const REQUESTS: usize = 300;
    let ports: Vec<_> = (0..3)
        .map(|_| Upstream::start(|talk| drop(talk.read_head())))
        .collect();
    let server = proxy(
        &ports
            .iter()
            .map(|upstream| upstream.port)
            .collect::<Vec<_>>(),
        "eject = { after = 0, errors = \"0%\" }\nretry = { budget = \"10%\" }",
    );
    let began = std::time::Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(raw::status(&get(&server)), 502);
    }
    let attempts: usize = ports.iter().map(|upstream| upstream.heads_so_far()).sum();
    // Ten for nothing, one a second, and the share.
    let bound = REQUESTS + REQUESTS / 10 + 10 + began.elapsed().as_secs() as usize + 1;
    assert!(
        attempts > REQUESTS && attempts <= bound,
        "{attempts} attempts, {bound} allowed"
    );
}

#[test]
fn only_what_may_be_repeated_is_sent_again_once_it_was_sent() {
    let rows = [
        ("GET / HTTP/1.1", 200),
        ("DELETE / HTTP/1.1", 200),
        ("PUT / HTTP/1.1\r\nContent-Length: 0", 200),
        ("POST / HTTP/1.1\r\nContent-Length: 0", 502),
        ("PATCH / HTTP/1.1\r\nContent-Length: 0", 502),
    ];
    for (head, status) in rows {
        let (broken, good) = (Upstream::start(|talk| drop(talk.read_head())), named("A"));
        let server = proxy(&[broken.port, good.port], "");
        assert_eq!(raw::status(&ask(&server, head)), status, "{head}");
    }
}

#[test]
fn what_an_answer_of_503_is_for_is_sent_elsewhere_with_its_content() {
    let busy = || Nginx::start("return 503;");
    let echo = || {
        Upstream::start(|talk| {
            let head = talk.read_head().expect("a head");
            assert!(
                head.to_ascii_lowercase().contains("content-length: 5\r\n"),
                "{head}"
            );
            let content = String::from_utf8(talk.read_content(5)).expect("text");
            talk.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{content}"
            ));
        })
    };
    let put = |server: &Server, method: &str| {
        raw::exchange(
            server.http,
            format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n"
            ),
        )
    };
    let retry = "retry = { on = [\"503\"] }";
    let buffered = format!("{retry}\nbuffer_body = \"1KiB\"");
    for (method, keys, status) in [
        ("PUT", buffered.as_str(), 200),
        ("PUT", retry, 503),
        ("POST", buffered.as_str(), 503),
        ("PUT", "retry = { on = [\"503\"] }\nbuffer_body = 4", 503),
    ] {
        let (busy, echo) = (busy(), echo());
        let server = proxy(&[busy.port, echo.port], keys);
        let response = put(&server, method);
        assert_eq!(
            raw::status(&response),
            status,
            "{method} with {keys}: {response}"
        );
        assert_eq!(response.ends_with("hello"), status == 200, "{response}");
    }
}

#[test]
fn a_try_that_takes_too_long_is_given_up_for_another_upstream() {
    let (slow, good) = (mute(), named("A"));
    // The good one has as long for its answer.
    let keys = "retry = { on = [\"timeout\"], per_try_timeout = \"3s\" }";
    let server = proxy(&[slow.port, good.port], keys);
    assert_eq!(names(&server, 4), "AAAA");
}

fn set_cookie(response: &str) -> Option<String> {
    let line = response
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("set-cookie:"))?;
    Some(line["set-cookie:".len()..].trim().to_owned())
}

#[test]
fn a_client_stays_with_its_upstream_by_cookie_and_gets_another_when_that_is_gone() {
    let ports = [free_port(), free_port()];
    let gone = At::start(ports[0]);
    let other = named("B");
    let server = proxy(
        &[ports[0], other.port],
        "sticky = { cookie = \"at\" }\neject = { time = \"1h\" }",
    );
    let first = get(&server);
    assert!(first.ends_with('R'), "{first}");
    let cookie = set_cookie(&first).expect("a cookie");
    assert!(
        cookie.starts_with("at=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    let with = |pair: &str| ask(&server, &format!("GET / HTTP/1.1\r\nCookie: a=b; {pair}"));
    for _ in 0..6 {
        let response = with(&pair);
        assert!(
            response.ends_with('R') && set_cookie(&response).is_none(),
            "{response}"
        );
    }
    let forged = pair.replace("at=", "at=0");
    assert!(
        set_cookie(&with(&forged)).is_some(),
        "a forged one is as none"
    );
    drop(gone);
    let moved = with(&pair);
    assert!(moved.ends_with('B'), "{moved}");
    assert!(
        set_cookie(&moved).is_some_and(|cookie| !cookie.starts_with(&pair)),
        "{moved}"
    );
    let key = server.path().join("state/sticky.key");
    let mode = key.metadata().expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_alike_goes_to_the_same_upstream() {
    let all = [named("A"), named("B"), named("C")];
    let ports: Vec<_> = all.iter().map(|upstream| upstream.port).collect();
    let server = proxy(
        &ports,
        "balance = { policy = \"hash\", by = \"field:x-user\" }",
    );
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..30 {
        let of = || {
            let response = ask(&server, &format!("GET / HTTP/1.1\r\nX-User: {user}"));
            response.chars().last().expect("a name")
        };
        let first = of();
        assert!((0..3).all(|_| of() == first), "{user}");
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn weights_are_kept_and_backups_stand_by() {
    let (a, b, c) = (named("A"), named("B"), named("C"));
    let upstreams = format!(
        "[{{ url = \"http://127.0.0.1:{}\", weight = 3 }}, \"http://127.0.0.1:{}\", {{ url = \"http://127.0.0.1:{}\", backup = true }}]",
        a.port, b.port, c.port
    );
    let server = proxy_to(&upstreams, "");
    assert_eq!(names(&server, 8), "AABAAABA");
}

#[test]
fn an_upstream_that_may_do_no_more_has_requests_wait_within_bounds() {
    let slow = mute();
    let upstreams = format!(
        "[{{ url = \"http://127.0.0.1:{}\", max_connections = 1 }}]",
        slow.port
    );
    let server = proxy_to(&upstreams, "queue = { length = 1, timeout = \"300ms\" }");
    let mut first = raw::connect(server.http);
    raw::ask(&mut first, "/1");
    slow.head();
    let mut second = raw::connect(server.http);
    raw::ask(&mut second, "/2");
    // The third is refused as soon as the second waits.
    wait_for("the queue to be full", || {
        let response = get(&server);
        assert_eq!(raw::status(&response), 503, "{response}");
        server
            .errors()
            .iter()
            .any(|line| line["reason"] == "QueueFull")
            .then_some(())
    });
    assert_eq!(raw::status(&raw::read_head(&mut second)), 503);
    for reason in ["QueueFull", "Timer_ReqQueue"] {
        let line = server.wait_error(reason);
        let detail = line["detail"].as_str().expect("a sentence");
        assert!(
            detail.contains(&format!("http://127.0.0.1:{}", slow.port)),
            "{detail}"
        );
        assert_eq!(line["status"], 503);
    }
    // Whoever waits gets the place of the one that goes.
    let server = proxy_to(&upstreams, "queue = { length = 1, timeout = \"10m\" }");
    drop(first);
    let mut first = raw::connect(server.http);
    raw::ask(&mut first, "/1");
    slow.head();
    let mut third = raw::connect(server.http);
    raw::ask(&mut third, "/3");
    drop(first);
    assert!(slow.head().starts_with("GET /3 "));
}

#[test]
fn an_upstream_that_is_not_well_gets_no_requests_until_it_is() {
    let checked = Nginx::start("root html; location = / { return 200 N; }");
    std::fs::create_dir_all(checked.path().join("html")).expect("a folder");
    let other = named("A");
    let health = "health = { path = \"/health.txt\", interval = \"100ms\", body = \"well\" }\nslow_start = \"0s\"";
    let good = checked.path().join("html/health.txt");
    let upstreams = [checked.port, other.port];
    let mut server = proxy(&upstreams, health);
    // `A` is asked too, and does not say that it is well: both are down, and both are used.
    // The first checks may come before the server is ready.
    wait_for("both to be down", || {
        let downs = server.log().matches("down by its health checks").count();
        (downs == 2).then_some(())
    });
    let both = names(&server, 8);
    assert_eq!(both.matches('N').count(), 4, "{both}");
    std::fs::write(&good, "all is well\n").expect("written");
    let line = server
        .wait_line("well by its health checks")
        .expect("it is said");
    assert!(line.contains(&checked.port.to_string()), "{line}");
    assert_eq!(names(&server, 8), "N".repeat(8));
    std::fs::write(&good, "all is not\n").expect("written");
    let line = server
        .wait_line("down by its health checks")
        .expect("it is said");
    assert!(line.contains("does not hold"), "{line}");
    // A reload that changes the proxy begins with what the new checks say.
    let changed = Site {
        head: "[server]\nthreads = 1".into(),
        handler: format!(
            "type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{}\", \"http://127.0.0.1:{}\"]\n\
             health = {{ interval = \"100ms\", path = \"/\", body = \"A\" }}",
            upstreams[0], upstreams[1]
        ),
        ..Site::default()
    };
    server.reload(&changed.text());
    // It may be said before the reload is.
    wait_for("the new checks to say so", || {
        let log = server.log();
        log.contains("does not hold \\\"A\\\"").then_some(())
    });
    assert_eq!(names(&server, 8), "A".repeat(8));
}
