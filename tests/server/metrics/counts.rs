//! What is counted equals what is written down.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use serde_json::Value;

use super::{scrape, sum};
use crate::support::quic::{self, Http3};
use crate::support::{Server, Site, Tool, Upstream, raw, wait_for};

/// By binding, pool, protocol and class of status, as the metric has them.
type Responses = BTreeMap<[String; 4], u64>;

fn lines(server: &Server, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(server.path().join(file)).unwrap_or_default();
    // The last line may not be whole yet.
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn logged(lines: &[Value]) -> Responses {
    let mut all = Responses::new();
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or("").to_owned();
        let protocol = text("protocol").replace("http/1.0", "http/1.1");
        let class = format!("{}xx", line["status"].as_u64().expect("a status") / 100);
        *all.entry([text("binding"), text("pool"), protocol, class])
            .or_default() += 1;
    }
    all
}

fn counted(samples: &[(String, f64)]) -> Responses {
    let mut all = Responses::new();
    for (series, value) in samples {
        let name = "portunus_http_server_request_duration_seconds_count{";
        let Some(labels) = series.strip_prefix(name) else {
            continue;
        };
        let value_of = |label: &str| {
            let (_, rest) = labels
                .split_once(&format!("{label}=\""))
                .expect("the label");
            rest.split('"').next().expect("its end").to_owned()
        };
        let labels = ["binding", "pool", "protocol", "status"].map(value_of);
        all.insert(labels, *value as u64);
    }
    all
}

/// A server with an access log, a pool of files in memory, and one of an upstream that takes one request at a time.
fn server(upstream: &Upstream) -> Server {
    let site = Site {
        head:
            "[log]\nerrors = \"../errors.log\"\naccess = \"../access.log\"\n[server]\nthreads = 3"
                .into(),
        https: "protocols = [\"h2\", \"http/1.1\", \"h3\"]".into(),
        tail: format!(
            "[[pool]]\nname = \"app\"\nconcurrency = 1\nqueue_length = 1\n[pool.handler]\n{}",
            upstream.handler()
        ),
        ..Site::default()
    };
    // A site's routes stand behind it.
    let main = "[[pool]]\nname = \"main\"";
    let route = "[[site.route]]\npath = \"/app\"\npool = \"app\"";
    let mut server = Server::start(&site.text().replace(main, &format!("{route}\n{main}")));
    server.wait_rehearsed();
    server
}

/// Requests of every version, good and bad; handshakes that fail; a queue that is full; a client that goes away.
fn mixed_load(server: &Server, upstream: &Upstream, release: &std::sync::mpsc::Sender<()>) {
    let (http, https) = (server.http, server.https);
    let plain = std::thread::spawn(move || {
        let url = format!("http://127.0.0.1:{http}/");
        Tool::new("h2load")
            .args(["--h1", "-c8", "-n2000"])
            .arg(url)
            .output();
    });
    let url = format!("https://localhost:{https}/");
    Tool::new("h2load")
        .args(["-c8", "-n2000", "-m8"])
        .arg(url)
        .output();
    plain.join().expect("h2load");
    quic::block_on(async {
        let mut client = Http3::connect(server, "localhost").await;
        for _ in 0..50 {
            client.get(&format!("https://localhost:{https}/")).await;
        }
        client.quic.close(0x100_u32.into(), b"");
        client.endpoint.wait_idle().await;
    });
    for bad in [
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    ] {
        raw::exchange(http, bad);
    }
    for _ in 0..5 {
        raw::exchange(https, "no TLS");
    }
    // One works, one waits, the third is one too many; the second goes away, and the fourth waits and works.
    let mut works = raw::connect(http);
    raw::ask(&mut works, "/app");
    upstream.head();
    let waiting = |count: f64| {
        wait_for("a queue", || {
            let now = sum(
                &scrape(server),
                "portunus_queue_requests",
                &[("pool", "app")],
            );
            (now == count).then_some(())
        });
    };
    let mut goes = raw::connect(http);
    raw::ask(&mut goes, "/app");
    waiting(1.0);
    let mut refused = raw::connect(http);
    assert_eq!(raw::get(&mut refused, "/app").0, 503);
    drop(goes);
    waiting(0.0);
    let mut waits = raw::connect(http);
    waits
        .write_all(b"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        .expect("sent");
    waiting(1.0);
    release.send(()).expect("the upstream waits");
    raw::read_response(&mut works);
    upstream.head();
    release.send(()).expect("the upstream waits");
    raw::read_response(&mut waits);
}

#[test]
fn counters_are_the_sums_of_the_logs_after_a_mixed_load() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = Upstream::start(move |talk| {
        while let Some(head) = talk.read_head() {
            if head.starts_with("POST") {
                talk.read_content(3);
            }
            let _ = released.lock().expect("one at a time").recv();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let server = server(&upstream);
    mixed_load(&server, &upstream, &release);

    // A line is written a moment after its response is counted.
    let total = |responses: &Responses| responses.values().sum::<u64>();
    let log = wait_for("the access log to have what was counted", || {
        let log = lines(&server, "access.log");
        (log.len() as u64 == total(&counted(&scrape(&server)))).then_some(log)
    });
    let samples = scrape(&server);
    let same = counted(&samples);
    assert_eq!(logged(&log), same);
    assert!(same.values().sum::<u64>() >= 4_050, "{same:?}");
    for protocol in ["http/1.1", "h2", "h3"] {
        assert!(same.keys().any(|labels| labels[2] == protocol), "{same:?}");
    }
    let of_log = |key: &str| {
        log.iter()
            .filter_map(|line| line[key].as_u64())
            .sum::<u64>() as f64
    };
    let name = "portunus_http_server_response_body_size_bytes_sum";
    assert_eq!(sum(&samples, name, &[]), of_log("bytes_sent"));
    let name = "portunus_http_server_request_body_size_bytes_sum";
    assert_eq!(sum(&samples, name, &[]), of_log("bytes_received"));
    assert_eq!(of_log("bytes_received"), 3.0, "what a handler has read");

    let took = |key| {
        log.iter()
            .filter_map(move |line: &Value| line[key].as_f64())
    };
    let name = "portunus_upstream_response_seconds_count";
    let answers = took("upstream_response_ms").count() as f64;
    assert_eq!(
        (sum(&samples, name, &[("pool", "app")]), answers),
        (2.0, 2.0)
    );
    let seconds = took("upstream_response_ms").sum::<f64>() / 1000.0;
    let name = "portunus_upstream_response_seconds_sum";
    let apart = sum(&samples, name, &[("pool", "app")]) - seconds;
    // The log's are cut to a microsecond.
    assert!((-1e-9..2.1e-6).contains(&apart), "{apart}");

    let errors = wait_for("the error log to have what was refused", || {
        let errors = lines(&server, "errors.log");
        let all = sum(&scrape(&server), "portunus_refusals_total", &[]);
        (errors.len() as f64 == all).then_some(errors)
    });
    let mut by_reason = BTreeMap::<&str, f64>::new();
    let mut by_pool = BTreeMap::<(&str, &str), f64>::new();
    for line in &errors {
        let reason = line["reason"].as_str().expect("a reason");
        *by_reason.entry(reason).or_default() += 1.0;
        if let Some(pool) = line["pool"].as_str() {
            *by_pool.entry((pool, reason)).or_default() += 1.0;
        }
    }
    for reason in ["QueueFull", "Client_Reset", "Tls_NotTls", "Verb"] {
        assert!(by_reason.contains_key(reason), "{reason} in {by_reason:?}");
    }
    for (reason, count) in by_reason {
        let counted = sum(&samples, "portunus_refusals_total", &[("reason", reason)]);
        assert_eq!(counted, count, "{reason}");
    }
    for ((pool, reason), count) in by_pool {
        let labels = [("pool", pool), ("reason", reason)];
        let counted = sum(&samples, "portunus_pool_refusals_total", &labels);
        assert_eq!(counted, count, "{pool} {reason}");
    }
    let app = [("pool", "app")];
    assert_eq!(sum(&samples, "portunus_queue_arrived_total", &app), 4.0);
    assert_eq!(sum(&samples, "portunus_queue_queued_total", &app), 2.0);
    assert_eq!(sum(&samples, "portunus_queue_abandoned_total", &app), 1.0);
    assert_eq!(
        sum(&samples, "portunus_queue_wait_duration_seconds_count", &app),
        1.0
    );
}
