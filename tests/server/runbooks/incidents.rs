//! Requests that are refused, clients that do not come through, sites that are slow: from what is seen to its cause.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::Night;
use crate::support::pki::Pki;
use crate::support::{Site, Upstream, free_port, wait_for};

/// Everything in one log, as the pages take it.
const LOG: &str = "[log]\nlevel = \"info\"\n";

fn pki() -> Pki {
    let pki = Pki::new();
    let name = "subjectAltName=DNS:localhost\n";
    pki.sign("ca", "certs/localhost", 7, "localhost", name);
    pki
}

/// Begins with these bindings; https is on a port that `explain` can read in the file.
fn begin(page: &str, pki: Pki, site: &Site) -> Night {
    let port = format!("port = {}\nhostname = \"localhost\"", free_port());
    let text = (site.text()).replace("port = 0\nhostname = \"localhost\"", &port);
    Night::begin_with(page, pki, &text)
}

#[test]
fn site_503() {
    // Whoever asks for /hold waits until the sender is dropped.
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let upstream = Upstream::start(move |talk| {
        while let Some(head) = talk.read_head() {
            talk.tell(head.clone());
            if head.starts_with("GET /hold") {
                let _ = held.lock().expect("nobody panicked").recv();
            }
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bindings = Site {
        head: LOG.into(),
        pool: "concurrency = 1\nqueue_length = 1".into(),
        handler: upstream.handler(),
        ..Site::default()
    };
    let mut night = begin("site-503", pki(), &bindings);

    // Somebody has stopped the pool.
    let (stopped, said) = night.run("portunus pool stop main");
    assert!(stopped, "{said}");
    assert!(!night.is_proven(0));
    night.server.wait_lines("\"status\":503", 1);
    night.look(&[
        "pool         main",
        "State: Stopped",
        "It would be refused: 503, AppShutdown: the pool is stopped",
        "\"reason\":\"AppShutdown\"",
        "pool-stop",
        "user=\"",
    ]);
    night.mend(0);
    night.prove();

    // Two requests are more than it can take.
    let mut clients = Vec::new();
    for waiting in [false, true] {
        let mut client = TcpStream::connect(("127.0.0.1", night.server.http)).expect("a client");
        client
            .write_all(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("a request");
        clients.push(client);
        let expected = if waiting {
            "Queued requests: 1"
        } else {
            "Active requests: 1"
        };
        wait_for(expected, || {
            let (_, said) = night.run("portunus show pools");
            said.contains(expected).then_some(())
        });
    }
    assert!(!night.is_proven(0));
    night.server.wait_lines("QueueFull", 1);
    night.look(&[
        "Active requests: 1",
        "Queued requests: 1",
        "It would be refused: 503, QueueFull: ",
        "Max queued request age",
        "\"reason\":\"QueueFull\"",
    ]);
    night.edit(
        "concurrency = 1\nqueue_length = 1\n",
        "concurrency = 8\nqueue_length = 100\n",
    );
    night.mend(1);
    night.prove();
    drop(release);
}

#[test]
fn client_cannot_connect() {
    let bindings = Site {
        head: LOG.into(),
        https: "min_version = \"1.3\"".into(),
        ..Site::default()
    };
    let mut night = begin("client-cannot-connect", pki(), &bindings);
    // A client that TLS 1.2 is the newest for; all others are served.
    assert!(!night.is_proven(0));
    let (served, said) = night.run("curl -sS -f -o /dev/null \"https://$HOST:$PORT/\"");
    assert!(served, "{said}");
    night.server.wait_lines("Tls_NoCommonVersion", 1);
    night.look(&[
        "Tls_NoCommonVersion",
        "SNI: localhost",
        "Client: 127.0.0.1",
        "\"tls_version\":\"TLSv1.2\"",
        "because min_version is 1.3",
    ]);
    night.edit("min_version = \"1.3\"", "min_version = \"1.2\"");
    night.mend(0);
    night.prove();
}

#[test]
fn certificate_warning() {
    let pki = pki();
    let name = "subjectAltName=DNS:shop.test\n";
    pki.sign("ca", "shop", 8, "shop.test", name);
    let bindings = Site {
        head: LOG.into(),
        https: "certificate = \"shop\"".into(),
        tail: "[[certificate]]\nname = \"shop\"\nchain = \"../shop.pem\"\nkey = \"../shop.key\""
            .into(),
        ..Site::default()
    };
    let mut night = begin("certificate-warning", pki, &bindings);
    assert!(!night.is_proven(0));
    night.look(&[
        "certificate-name",
        "shop.pem",
        "DNS:shop.test",
        "hostname mismatch",
        "DNS:localhost",
    ]);
    night.edit("certificate = \"shop\"\n", "");
    night.mend(0);
    night.prove();
}

#[test]
fn slow() {
    let quick = Upstream::start(|talk| {
        talk.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick");
    });
    let slow = Upstream::start(|talk| {
        while talk.read_head().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        }
    });
    let upstreams = |ports: &[u16]| {
        let all = ports
            .iter()
            .map(|port| format!("\"http://127.0.0.1:{port}\""));
        format!("upstreams = [{}]", all.collect::<Vec<_>>().join(", "))
    };
    let both = upstreams(&[quick.port, slow.port]);
    let bindings = Site {
        head: format!("{LOG}access = \"../access.log\"\n"),
        handler: format!("type = \"proxy\"\n{both}"),
        tail: "[failed_requests]\nfolder = \"../failed\"\n[[failed_requests.rule]]\nlonger_than = \"1s\"".into(),
        ..Site::default()
    };
    let mut night = begin("slow", pki(), &bindings);
    // They take turns.
    for _ in 0..2 {
        let (served, said) = night.run("curl -sS -f \"https://$HOST:$PORT/\"");
        assert!(served, "{said}");
    }
    let culprit = format!("127.0.0.1:{}", slow.port);
    wait_for("the slow request's file", || {
        let (_, said) = night.run("portunus trace open --print");
        said.contains(&culprit).then_some(())
    });
    let slowest = format!(" ms in the mean of 1: http://{culprit}\n");
    wait_for("the access log to have both", || {
        let log = std::fs::read_to_string(night.server.path().join("access.log"));
        (log.unwrap_or_default().lines().count() == 2).then_some(())
    });
    night.look(&["first byte", "Upstreams:", "Queued requests: 0", &slowest]);
    night.edit(&both, &upstreams(&[quick.port]));
    night.mend(0);
    night.prove();
    let (_, said) = night.run("curl -sS -f \"https://$HOST:$PORT/\"");
    assert_eq!(said, "quick");
}
