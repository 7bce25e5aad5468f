//! The steps of a request, as whoever asks for them is given them. In memory, with a witness of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use portunus::http::{Published, Thread, h1};
use portunus::model::journal::Step;
use portunus::model::{Activity, ClientAddr, Connection, LocalAddr, Reason};
use portunus::pool::Pool;
use portunus::report::{Asking, Ended, Report, Witness};
use portunus::server::{LibraryHandlers, edge};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;

/// Remembers what it is told.
#[derive(Default)]
struct Memory {
    told: Mutex<Vec<Told>>,
    /// The only site that it wants to hear of; none: all.
    site: Option<usize>,
}

struct Told {
    steps: Vec<Step>,
    status: Option<u16>,
    reason: Option<Reason>,
    site: Option<usize>,
}

impl Told {
    fn names(&self) -> Vec<&'static str> {
        self.steps.iter().map(Step::name).collect()
    }
}

impl Witness for Memory {
    fn asks(&self, asking: &Asking<'_>) -> bool {
        asking.path.is_none_or(|path| path.as_str() != "/unwatched")
    }

    fn still_asks(&self, _: &Asking<'_>, site: usize) -> bool {
        self.site.is_none_or(|wanted| wanted == site)
    }

    fn ended(&self, ended: &Ended) {
        let steps = ended.journal.steps().noted.into_iter();
        self.told.lock().unwrap().push(Told {
            steps: steps.map(|noted| noted.step).collect(),
            status: ended.status.map(|status| status.as_u16()),
            reason: ended.reason,
            site: ended.site,
        });
    }
}

/// An edge whose pool has one slot and a queue of one, in front of `handler`.
fn serving(handler: &str, witness: &Arc<Memory>) -> Serving {
    let text = format!(
        "[[binding]]\nprotocol = \"http\"\nport = 8080\nhostname = \"a.test\"\nsite = \"s\"\n\
         [[site]]\nname = \"s\"\n[[site.route]]\npath = \"/app\"\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\nconcurrency = 1\nqueue_length = 1\nhandler = {handler}\n"
    );
    let config = portunus::config::parse(&text, Path::new("steps.toml")).config;
    let report = Arc::new(Report::none());
    let mut edge = edge(&config.unwrap(), &LibraryHandlers::new(), &report).unwrap();
    let witnesses = &mut Arc::get_mut(&mut edge).unwrap().witnesses;
    witnesses.push(Arc::clone(witness) as Arc<dyn Witness>);
    let pool = Arc::clone(&edge.pools[0]);
    let thread = Thread::new(Published::new(edge));
    let connection = Arc::new(Connection {
        client: ClientAddr::new(SocketAddr::from(([127, 0, 0, 1], 40_000))),
        local: LocalAddr::new(SocketAddr::from(([127, 0, 0, 1], 8080))),
        tls: None,
        activity: Activity::default(),
    });
    Serving {
        thread,
        connection,
        pool,
    }
}

struct Serving {
    thread: Arc<Thread>,
    connection: Arc<Connection>,
    pool: Arc<Pool>,
}

impl Serving {
    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (thread, connection) = (Arc::clone(&self.thread), Arc::clone(&self.connection));
        tokio::spawn(h1::drive(theirs, BytesMut::new(), thread, connection));
        ours
    }
}

/// Asks for something, and reads to the end of the connection.
async fn ask(mut client: DuplexStream, head: &str) -> String {
    client.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    response
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

const RESPOND: &str = "{ type = \"respond\", body = \"hello\" }";

#[tokio::test]
async fn every_step_of_a_request_that_is_answered_is_told_in_its_order() {
    let witness = Arc::new(Memory::default());
    ask(
        serving(RESPOND, &witness).connect(),
        &get("/app/x?y", "a.test"),
    )
    .await;
    let told = witness.told.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].names(),
        [
            "head_read",
            "binding_sought",
            "binding_found",
            "route_found",
            "handler_began",
            "handler_answered",
            "response_head",
            "first_byte",
            "last_byte",
        ]
    );
    assert_eq!((told[0].status, told[0].reason), (Some(200), None));
    let Step::HeadRead(head) = &told[0].steps[0] else {
        panic!("the head comes first");
    };
    assert_eq!(head.target.as_ref().unwrap().as_str(), "/app/x?y");
    assert_eq!(head.fields["host"], "a.test");
    assert!(matches!(told[0].steps[8], Step::LastByte { bytes: 5 }));
}

#[tokio::test]
async fn a_refusal_is_told_with_how_far_the_request_came() {
    let witness = Arc::new(Memory::default());
    let serving = serving(RESPOND, &witness);
    ask(serving.connect(), "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n").await;
    ask(serving.connect(), &get("/app", "b.test")).await;
    ask(serving.connect(), &get("/elsewhere", "a.test")).await;
    let told = witness.told.lock().unwrap();
    let ends = ["refused", "response_head", "first_byte", "last_byte"];
    let ways: [(&[&str], _, _); 3] = [
        (&["head_unread"], Reason::Header, None),
        (&["head_read", "binding_sought"], Reason::Hostname, None),
        (
            &["head_read", "binding_sought", "binding_found"],
            Reason::NoRoute,
            Some(0),
        ),
    ];
    assert_eq!(told.len(), ways.len());
    for (told, (way, reason, site)) in told.iter().zip(ways) {
        assert_eq!(told.names(), [way, &ends].concat());
        assert_eq!((told.reason, told.site), (Some(reason), site));
    }
}

#[tokio::test]
async fn whoever_waits_is_told_where_in_the_queue_and_a_client_that_goes_is_told_as_such() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = upstream.local_addr().unwrap().port();
    let proxy = format!("{{ type = \"proxy\", upstreams = [\"http://127.0.0.1:{port}\"] }}");
    let witness = Arc::new(Memory::default());
    let serving = serving(&proxy, &witness);
    let first = tokio::spawn(ask(serving.connect(), GET_APP));
    let (mut peer, _) = upstream.accept().await.unwrap();
    let mut head = [0; 64];
    assert_ne!(peer.read(&mut head).await.unwrap(), 0);
    let mut waiting = serving.connect();
    waiting.write_all(GET_APP.as_bytes()).await.unwrap();
    while serving.pool.counts().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let third = ask(serving.connect(), GET_APP).await;
    assert!(third.starts_with("HTTP/1.1 503"), "{third}");
    drop(waiting);
    peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        .await
        .unwrap();
    let answered = first.await.unwrap();
    assert!(answered.ends_with("ok"), "{answered}");
    let told = || witness.told.lock().unwrap();
    while told().len() < 3 {
        tokio::task::yield_now().await;
    }
    let told = told();
    let of = |reason| told.iter().find(|told| told.reason == reason).unwrap();
    let full = of(Some(Reason::QueueFull));
    assert_eq!(full.names()[3..5], ["route_found", "refused"]);
    let gone = of(Some(Reason::ClientReset));
    assert_eq!(
        gone.names()[3..],
        ["route_found", "queue_entered", "refused"]
    );
    assert!(matches!(
        gone.steps[4],
        Step::QueueEntered {
            position: 1,
            length: 1,
            running: 1
        }
    ));
    assert_eq!(gone.status, None);
    assert_eq!(
        of(None).names()[4..],
        [
            "handler_began",
            "attempt_began",
            "attempt_connected",
            "attempt_sent",
            "attempt_answered",
            "handler_answered",
            "response_head",
            "first_byte",
            "last_byte",
        ]
    );
}

#[tokio::test]
async fn nobody_is_told_of_what_nobody_asked_for() {
    let witness = Arc::new(Memory {
        site: Some(7),
        ..Memory::default()
    });
    let serving = serving(RESPOND, &witness);
    ask(serving.connect(), &get("/unwatched", "a.test")).await;
    ask(serving.connect(), &get("/app", "a.test")).await;
    assert!(witness.told.lock().unwrap().is_empty());
    // It has no site.
    ask(serving.connect(), &get("/app", "b.test")).await;
    assert_eq!(witness.told.lock().unwrap().len(), 1);
}

const GET_APP: &str = "GET /app HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
