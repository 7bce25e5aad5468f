//! Connections that have been idle for a while, and are taken from hyper until their client has something to say. In memory,
//! where time can be told to pass.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use portunus::http::{Published, Thread, h1};
use portunus::model::{Activity, ClientAddr, Connection, LocalAddr};
use portunus::report::Report;
use portunus::server::{LibraryHandlers, edge};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn connect() -> (DuplexStream, Arc<Thread>, JoinHandle<()>) {
    let text = "[limits]\nidle_connection = \"60s\"\nheader_wait = \"5s\"\n\
                [[binding]]\nprotocol = \"http\"\nport = 8080\nhostname = \"*\"\nsite = \"s\"\n\
                [[site]]\nname = \"s\"\n[[site.route]]\npath = \"/\"\npool = \"p\"\n\
                [[pool]]\nname = \"p\"\nhandler = { type = \"respond\" }\n";
    let config = portunus::config::parse(text, Path::new("resting.toml")).config;
    let report = Arc::new(Report::none());
    let edge = edge(&config.unwrap(), &LibraryHandlers::new(), &report).unwrap();
    let thread = Thread::new(Published::new(edge));
    let connection = Arc::new(Connection {
        client: ClientAddr::new(SocketAddr::from(([127, 0, 0, 1], 40_000))),
        local: LocalAddr::new(SocketAddr::from(([127, 0, 0, 1], 8080))),
        tls: None,
        activity: Activity::default(),
    });
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let drive = h1::drive(theirs, BytesMut::new(), Arc::clone(&thread), connection);
    (ours, thread, tokio::spawn(drive))
}

async fn is_served(client: &mut DuplexStream) -> bool {
    are_served(client, 1).await
}

async fn are_served(client: &mut DuplexStream, count: usize) -> bool {
    let mut responses = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&responses);
        if text.matches("Hello, World!").count() == count {
            return text.matches("HTTP/1.1 200 OK\r\n").count() == count;
        }
        if client.read_buf(&mut responses).await.unwrap() == 0 {
            return false;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_served_however_long_and_often_it_has_rested() {
    let (mut client, _thread, _drive) = connect();
    for seconds in [0, 1, 2, 3, 59, 3, 30] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        client.write_all(REQUEST).await.unwrap();
        assert!(is_served(&mut client).await, "after {seconds} s");
    }
    // Two at once, and one that comes in pieces.
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.write_all(&REQUEST.repeat(2)).await.unwrap();
    assert!(are_served(&mut client, 2).await);
    tokio::time::sleep(Duration::from_secs(10)).await;
    for piece in REQUEST.chunks(9) {
        client.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(is_served(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn rest_does_not_lengthen_the_time_that_a_connection_may_be_idle() {
    let (mut client, _thread, drive) = connect();
    client.write_all(REQUEST).await.unwrap();
    assert!(is_served(&mut client).await);
    let began = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), 60);
    drive.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_ends_a_rest_has_its_own_time() {
    let (mut client, _thread, drive) = connect();
    client.write_all(REQUEST).await.unwrap();
    assert!(is_served(&mut client).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    client.write_all(b"GET / HT").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(response.starts_with(b"HTTP/1.1 408 "));
    drive.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_rest() {
    let (mut client, thread, drive) = connect();
    client.write_all(REQUEST).await.unwrap();
    assert!(is_served(&mut client).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    thread.drain.begin();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    drive.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_ends_a_rest() {
    let (mut client, _thread, drive) = connect();
    client.write_all(REQUEST).await.unwrap();
    assert!(is_served(&mut client).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    drop(client);
    drive.await.unwrap();
}
