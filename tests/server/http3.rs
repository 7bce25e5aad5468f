//! HTTP/3, asked by quinn and h3.

use bytes::Buf;
use http::{Request, StatusCode};

use crate::support::quic::{Http3, block_on, handshake};
use crate::support::{Server, Site, Talk, Upstream};

fn site() -> Site {
    Site {
        head:
            "[server]\nthreads = 2\n[log]\naccess = \"../access.log\"\nerrors = \"../errors.log\""
                .into(),
        ..Site::default()
    }
}

#[test]
fn a_request_is_answered_as_over_any_other_version() {
    let server = site().start();
    block_on(async {
        let mut client = Http3::connect(&server, "localhost").await;
        let answer = client.get("https://localhost/").await;
        assert_eq!(answer.head.status(), StatusCode::OK);
        assert_eq!(&*answer.content, b"Hello, World!");
        let headers = answer.head.headers();
        assert_eq!(headers["content-length"], "13");
        assert_eq!(headers["server"], "portunus");
        assert!(headers.contains_key("date"));
        let head = Request::head("https://localhost/")
            .body(())
            .expect("a request");
        let answer = client.ask(head, &[]).await.expect("a response");
        assert_eq!(answer.head.headers()["content-length"], "13");
        assert!(answer.content.is_empty());
    });
    let access = crate::support::wait_for("two lines in the access log", || {
        let text = std::fs::read_to_string(server.path().join("access.log")).ok()?;
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    for line in access {
        assert_eq!(line["protocol"], "h3", "{line}");
        assert_eq!(line["sni"], "localhost", "{line}");
        assert_eq!(line["complete"], true, "{line}");
    }
}
