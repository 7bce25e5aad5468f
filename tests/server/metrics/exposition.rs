//! `/metrics` as Prometheus reads it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{admin, samples, scrape, sum, watcher};
use crate::support::{Server, Site, Tool, free_port, raw};

/// A server with something of everything: bindings of all protocols, an upstream, requests and refusals.
fn busy() -> (Server, u16) {
    let metrics = free_port();
    let site = Site {
        head: format!("[server]\nmetrics = \"127.0.0.1:{metrics}\"\nthreads = 2"),
        tail: "[[pool]]\nname = \"app\"\n[pool.handler]\ntype = \"proxy\"\n\
               upstreams = [\"http://127.0.0.1:1\", \"http://127.0.0.1:1\"]\n\
               [[site]]\nname = \"app\"\n[[site.route]]\npath = \"/\"\npool = \"app\"\n\
               [[binding]]\nprotocol = \"http\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"app.test\"\nsite = \"app\""
            .into(),
        ..Site::default()
    };
    let server = site.start();
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let url = format!("https://localhost:{}/", server.https);
    Tool::curl(&server).arg(url).output();
    let app = "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(server.http, app)), 502);
    server.wait_error("Upstream_Connect");
    (server, metrics)
}

#[test]
fn what_prometheus_reads_is_well_formed_and_has_every_metric_that_is_documented() {
    let (server, metrics) = busy();
    let (status, text) = watcher(metrics, "/metrics");
    assert_eq!(status, 200);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = promtool.stdin.take().expect("its stdin");
    stdin.write_all(text.as_bytes()).expect("read");
    drop(stdin);
    let checked = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{text}");

    let listed = include_str!("../../../docs/metrics.md").lines();
    let names = listed.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let missing: Vec<&str> = names
        .filter(|name| !name.starts_with('/'))
        .filter(|name| !text.contains(&format!("# TYPE {name} ")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());

    let mut series: Vec<String> = samples(&text)
        .into_iter()
        .map(|(series, _)| series)
        .collect();
    series.sort();
    let all = series.len();
    series.dedup();
    assert_eq!(series.len(), all, "no series is there twice");
    let (status, same) = admin(&server, "/metrics");
    assert_eq!(status, 200);
    assert!(same.contains("# TYPE portunus_refusals_total counter"));
}

#[test]
fn upstreams_and_handshakes_are_told_by_the_names_of_the_configuration() {
    let (server, _) = busy();
    let samples = scrape(&server);
    let of = |name, labels: &[(&str, &str)]| sum(&samples, name, labels);
    let upstream = [("pool", "app"), ("upstream", "http://127.0.0.1:1")];
    assert!(of("portunus_upstream_failures_total", &upstream) >= 1.0);
    let failed = [
        ("pool", "app"),
        ("reason", "Upstream_Connect"),
        ("blame", "upstream"),
    ];
    assert_eq!(of("portunus_pool_refusals_total", &failed), 1.0);
    let binding = format!("https://127.0.0.1:{} localhost", server.https);
    let shaken = [
        ("binding", &*binding),
        ("version", "TLSv1.3"),
        ("resumed", "no"),
    ];
    assert_eq!(of("portunus_tls_handshakes_total", &shaken), 1.0);
    let used = [("certificate", "localhost")];
    assert_eq!(of("portunus_certificate_usable", &used), 1.0);
    assert_eq!(of("portunus_certificate_usable", &[]), 1.0, "none but used");
    assert!(of("portunus_certificate_expiry_timestamp_seconds", &used) > 1e9);
    let all = of("portunus_tls_handshakes_total", &[]);
    assert_eq!(all, 1.0, "those of the server with itself are not counted");
    let durations = "portunus_tls_handshake_duration_seconds_count";
    assert_eq!(
        of(durations, &[("transport", "tcp"), ("resumed", "no")]),
        1.0
    );
    assert_eq!(
        of(
            "portunus_connections_accepted_total",
            &[("transport", "tls")]
        ),
        1.0
    );
}

#[test]
fn metrics_outlive_a_reload_and_those_of_a_binding_that_is_gone_go_with_it() {
    let mut server = Site::default().start();
    let mut stream = raw::connect(server.http);
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let count = "portunus_http_server_request_duration_seconds_count";
    assert_eq!(sum(&scrape(&server), count, &[("pool", "main")]), 1.0);
    server.reload(&Site::default().text());
    assert_eq!(raw::get(&mut stream, "/").0, 200);
    let samples = scrape(&server);
    assert_eq!(sum(&samples, count, &[("pool", "main")]), 2.0);
    assert_eq!(
        sum(
            &samples,
            "portunus_config_reloads_total",
            &[("result", "taken")]
        ),
        1.0
    );
    drop(stream);

    let renamed = Site::default().text().replace("\"main\"", "\"other\"");
    server.reload(&renamed);
    server.reload(&renamed);
    let samples = scrape(&server);
    assert_eq!(sum(&samples, count, &[("pool", "main")]), 0.0);
    assert_eq!(
        sum(&samples, "portunus_pool_state", &[("pool", "other")]),
        1.0
    );
    assert_eq!(
        sum(&samples, "portunus_pool_state", &[("pool", "main")]),
        0.0
    );
}

#[test]
fn metrics_and_show_answer_while_the_data_threads_are_saturated() {
    let site = Site {
        head: "[server]\nthreads = 1".into(),
        ..Site::default()
    };
    let server = site.start();
    let url = format!("http://127.0.0.1:{}/", server.http);
    let load = std::thread::spawn(move || {
        let load = Tool::new("h2load").args(["--h1", "-c", "64", "-n", "20000"]);
        load.arg(url).output();
    });
    let mut slowest = Duration::ZERO;
    while !load.is_finished() {
        for path in ["/metrics", "/v1/service", "/v1/connections"] {
            let asked = Instant::now();
            assert_eq!(admin(&server, path).0, 200);
            slowest = slowest.max(asked.elapsed());
        }
    }
    load.join().expect("h2load");
    // 50 ms where the machine has a core for it; a test has none of its own.
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    let count = "portunus_http_server_request_duration_seconds_count";
    assert_eq!(sum(&scrape(&server), count, &[("status", "2xx")]), 20_000.0);
}

#[test]
fn at_the_metrics_address_nothing_but_metrics_and_health_is_told_and_pages_are_refused() {
    let metrics = free_port();
    let site = Site {
        head: format!("[server]\nmetrics = \"127.0.0.1:{metrics}\""),
        ..Site::default()
    };
    let _server = site.start();
    for path in ["/v1/certificates", "/v1/service", "/v1/stop", "/"] {
        let (status, _) = watcher(metrics, path);
        assert!(matches!(status, 403..=405), "{path}: {status}");
    }
    let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(metrics, rebound)), 421);
    let post = "POST /v1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(metrics, post)), 403);
}
