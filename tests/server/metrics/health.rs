//! `/livez` and `/readyz`.

use super::{admin, watcher};
use crate::support::{Site, Upstream, free_port, raw, wait_for};

#[test]
fn a_server_that_serves_is_alive_and_ready_at_both_places() {
    let metrics = free_port();
    let site = Site {
        head: format!("[server]\nmetrics = \"127.0.0.1:{metrics}\""),
        ..Site::default()
    };
    let server = site.start();
    for (status, text) in [
        admin(&server, "/livez"),
        admin(&server, "/readyz"),
        watcher(metrics, "/livez"),
        watcher(metrics, "/readyz"),
    ] {
        assert_eq!(status, 200, "{text}");
        assert!(!text.contains("[-]"), "{text}");
    }
}

#[test]
fn each_thing_is_told_by_name_to_who_asks_and_may_be_left_out() {
    let server = Site::default().start();
    for path in ["/livez", "/readyz"] {
        assert_eq!(admin(&server, path), (200, "ok\n".to_owned()));
    }
    let (status, text) = admin(&server, "/readyz?verbose");
    assert_eq!(status, 200);
    for name in [
        "data-threads",
        "sockets",
        "certificates",
        "pools",
        "not-draining",
    ] {
        assert!(text.contains(&format!("[+] {name}\n")), "{name}: {text}");
    }
    assert!(text.ends_with("readyz check passed\n"), "{text}");

    let socket = server.path().join("run/portunus.sock");
    let stream = std::os::unix::net::UnixStream::connect(socket).expect("the admin socket");
    assert_eq!(super::request(stream, "POST", "/v1/pools/main/stop").0, 200);
    let (status, text) = admin(&server, "/readyz");
    assert_eq!(
        status, 503,
        "what is not so is told without being asked for"
    );
    assert!(text.contains("[-] pools: not started: main\n"), "{text}");
    assert!(text.ends_with("readyz check failed\n"), "{text}");
    let (status, text) = admin(&server, "/readyz?exclude=pools&exclude=moon&_=1");
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("[+] pools: excluded\n"), "{text}");
    assert!(text.contains("\"moon\""), "{text}");
}

#[test]
fn a_server_with_a_pool_that_is_stopped_is_alive_and_not_ready() {
    let server = Site::default().start();
    let told = |order: &str| {
        let socket = server.path().join("run/portunus.sock");
        let stream = std::os::unix::net::UnixStream::connect(socket).expect("the admin socket");
        super::request(stream, "POST", &format!("/v1/pools/main/{order}"))
    };
    assert_eq!(told("stop").0, 200);
    assert_eq!(admin(&server, "/livez").0, 200);
    let (status, text) = admin(&server, "/readyz");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("[-] pools: not started: main"), "{text}");
    assert!(text.contains("[+] sockets"), "{text}");
    let ready = |samples: &[(String, f64)]| super::sum(samples, "portunus_ready", &[]);
    assert_eq!(ready(&super::scrape(&server)), 0.0);
    assert_eq!(told("start").0, 200);
    assert_eq!(admin(&server, "/readyz").0, 200);
    assert_eq!(ready(&super::scrape(&server)), 1.0);
}

#[test]
fn a_server_that_stops_is_not_ready_and_finishes_its_requests() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = Upstream::start(move |talk| {
        if talk.read_head().is_some() {
            let _ = released.lock().expect("one at a time").recv();
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = Site {
        handler: upstream.handler(),
        ..Site::default()
    };
    let server = site.start();
    let mut stream = raw::connect(server.http);
    raw::ask(&mut stream, "/slow");
    upstream.head();
    assert_eq!(admin(&server, "/readyz").0, 200);
    server.signal("TERM");
    let text = wait_for("a server that is not ready", || {
        let (status, text) = admin(&server, "/readyz");
        (status == 503).then_some(text)
    });
    assert!(
        text.contains("[-] not-draining: the server stops"),
        "{text}"
    );
    let told = super::show(&server, &["service"]);
    let line = "    Ready: no (not-draining: the server stops)";
    assert!(told.lines().any(|it| it == line), "{told}");
    assert_eq!(admin(&server, "/livez").0, 200);
    release.send(()).expect("the upstream waits");
    let (head, _) = raw::read_response(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}
