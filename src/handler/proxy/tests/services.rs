//! Upstreams by their SRV records.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;

use tokio::net::{TcpListener, UdpSocket};

use super::scripted::Peer;
use super::*;
use crate::handler::proxy::upstream::dns;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// Priority, weight, port, and the target's label before `app.test`.
type Record = (u16, u16, u16, &'static str);

/// A name server of `_http._tcp.app.test`, whose targets all are at 127.0.0.1; `gone.app.test` has no address.
async fn name_server(ttl: u32, records: Arc<Mutex<Vec<Record>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut question = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut question).await.expect("a question");
            let mut reply = question[..length].to_vec();
            reply[2..4].copy_from_slice(&[0x81, 0x80]);
            let mut add = |kind: u8, data: &[u8]| {
                reply[7] += 1;
                reply.extend([0xc0, 12, 0, kind, 0, 1]);
                reply.extend(ttl.to_be_bytes());
                reply.extend((data.len() as u16).to_be_bytes());
                reply.extend(data);
            };
            let gone = question[..length]
                .windows(5)
                .any(|part| part == b"\x04gone");
            match question[length - 3] {
                1 if !gone => add(1, &Ipv4Addr::LOCALHOST.octets()),
                33 => {
                    for (priority, weight, port, target) in &*records.lock().expect("a lock") {
                        let mut data = Vec::new();
                        for number in [priority, weight, port] {
                            data.extend(number.to_be_bytes());
                        }
                        data.push(target.len() as u8);
                        data.extend(target.as_bytes());
                        data.extend(b"\x03app\x04test\x00");
                        add(33, &data);
                    }
                }
                _ => {}
            }
            socket.send_to(&reply, client).await.expect("an answer");
        }
    });
    address
}

fn by_service(server: SocketAddr) -> Proxy {
    let text = "[[binding]]\nprotocol = \"http\"\nhostname = \"*\"\nsite = \"a\"\n[[site]]\nname = \"a\"\n\
                [[site.route]]\npool = \"a\"\n[[pool]]\nname = \"a\"\n\
                handler = { type = \"proxy\", upstreams = [\"srv+http://_http._tcp.app.test\"] }\n";
    let loaded = config::parse(text, Path::new("/etc/portunus/bindings.toml"));
    let config = loaded.config.expect("a good file");
    let config::Handler::Proxy(read) = &config.pools[0].handler else {
        panic!("no proxy");
    };
    proxy_with(read.upstreams.clone(), |proxy| {
        proxy.resolvers = vec![server];
    })
}

/// Answers one request at each connection for good; how many came, by port.
async fn listener(count: Arc<Mutex<HashMap<u16, usize>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let mut peer = Peer::new(listener.accept().await.expect("a connection").0);
            peer.head().await;
            *count.lock().expect("a lock").entry(port).or_default() += 1;
            peer.say(OK).await;
        }
    });
    port
}

async fn served(proxy: &Proxy) {
    let response = ask(proxy, get("/")).await.expect("a response");
    assert_eq!(text(response).await.expect("content"), "ok");
}

#[tokio::test]
async fn connections_go_to_the_ports_of_a_service_as_its_weights_say() {
    let count: Arc<Mutex<HashMap<u16, usize>>> = Arc::default();
    let (one, two) = (listener(count.clone()).await, listener(count.clone()).await);
    let records = vec![(10, 1, one, "one"), (10, 3, two, "two"), (10, 9, 9, "gone")];
    let proxy = by_service(name_server(300, Arc::new(Mutex::new(records))).await);
    for _ in 0..100 {
        served(&proxy).await;
    }
    let count = count.lock().expect("a lock");
    assert_eq!(count[&one] + count[&two], 100);
    assert!((10..40).contains(&count[&one]), "{count:?}");
}

#[tokio::test]
async fn those_of_the_next_priority_serve_when_none_of_the_first_does() {
    let count: Arc<Mutex<HashMap<u16, usize>>> = Arc::default();
    let (first, second) = (listener(count.clone()).await, listener(count.clone()).await);
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = closed.local_addr().expect("an address").port();
    drop(closed);
    let records = Arc::new(Mutex::new(vec![
        (1, 1, first, "one"),
        (1, 5, nobody, "two"),
        (2, 9, second, "three"),
    ]));
    let proxy = by_service(name_server(1, Arc::clone(&records)).await);
    for _ in 0..10 {
        served(&proxy).await;
    }
    assert_eq!(count.lock().expect("a lock").get(&first), Some(&10));
    // The records change, and are asked for again by their time to live.
    records.lock().expect("a lock")[0].2 = nobody;
    while count.lock().expect("a lock").get(&second).is_none() {
        served(&proxy).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_502_and_says_why() {
    for (records, says) in [
        (vec![], "there is no such service"),
        (
            vec![(1, 1, 80, "gone")],
            "gone.app.test: there is no such name",
        ),
    ] {
        let proxy = by_service(name_server(300, Arc::new(Mutex::new(records))).await);
        let refusal = refused(ask(&proxy, get("/")).await);
        assert_eq!(refusal.reason, Reason::UpstreamConnect);
        assert!(refusal.detail.contains(says), "{}", refusal.detail);
        assert!(
            refusal.detail.contains("srv+http://_http._tcp.app.test"),
            "{}",
            refusal.detail
        );
    }
}

#[test]
fn what_a_server_says_of_a_service_is_read() {
    let question = dns::question(1, "_http._tcp.app.test", dns::Kind::Srv).expect("a question");
    assert!(question.ends_with(b"\x04test\x00\x00\x21\x00\x01"));
}
