//! Upstreams by name, asked of a name server that says what a test wants.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::scripted::Peer;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A name server: each question for A is answered by the next of its answers, the last of them for good; AAAA has none.
struct NameServer {
    address: SocketAddr,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: mpsc::UnboundedReceiver<()>,
}

#[derive(Clone)]
enum Answer {
    Addresses(u32, Vec<Ipv4Addr>),
    Code(u8),
    /// Over UDP it is cut short; over TCP it is this.
    Long(Vec<Ipv4Addr>),
}

impl NameServer {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = tcp.local_addr().expect("an address");
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (sender, asked) = mpsc::unbounded_channel();
        let script = Arc::clone(&answers);
        tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, client) = udp.recv_from(&mut question).await.expect("a question");
                let reply = reply(&question[..length], &script, false);
                if question[length - 3] == 1 {
                    let _ = sender.send(());
                }
                udp.send_to(&reply, client).await.expect("an answer");
            }
        });
        let script = Arc::clone(&answers);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.expect("a connection");
                let length = stream.read_u16().await.expect("a length");
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.expect("a question");
                let reply = reply(&question, &script, true);
                stream
                    .write_u16(reply.len() as u16)
                    .await
                    .expect("a length");
                stream.write_all(&reply).await.expect("an answer");
            }
        });
        Self {
            address,
            answers,
            asked,
        }
    }

    fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.answers.lock().expect("a lock") = answers.into_iter().collect();
    }

    /// Waits until it is asked for A once more.
    async fn is_asked(&mut self) {
        self.asked.recv().await.expect("a question");
    }
}

fn reply(question: &[u8], script: &Mutex<VecDeque<Answer>>, over_tcp: bool) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] = 0x81;
    message[3] = 0x80;
    if question[question.len() - 3] != 1 {
        return message;
    }
    let mut script = script.lock().expect("a lock");
    let answer = match &script[0] {
        Answer::Long(_) if !over_tcp => {
            message[2] |= 0x02;
            return message;
        }
        _ if script.len() > 1 => script.pop_front().expect("an answer"),
        last => last.clone(),
    };
    let (ttl, addresses) = match answer {
        Answer::Code(code) => {
            message[3] |= code;
            return message;
        }
        Answer::Addresses(ttl, addresses) => (ttl, addresses),
        Answer::Long(addresses) => (60, addresses),
    };
    message[7] = addresses.len() as u8;
    for address in addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend([0, 4]);
        message.extend(address.octets());
    }
    message
}

/// The same port of several addresses of this machine.
async fn listeners<const N: usize>() -> ([TcpListener; N], [Ipv4Addr; N], u16) {
    'ports: loop {
        let mut port = 0;
        let mut all = Vec::new();
        let addresses: [Ipv4Addr; N] =
            std::array::from_fn(|at| Ipv4Addr::new(127, 0, 7, at as u8 + 1));
        for address in addresses {
            let Ok(listener) = TcpListener::bind((address, port)).await else {
                continue 'ports;
            };
            port = listener.local_addr().expect("an address").port();
            all.push(listener);
        }
        let all = all.try_into().expect("as many");
        return (all, addresses, port);
    }
}

fn by_name(server: &NameServer, port: u16) -> Proxy {
    let upstream = config::Upstream::Net {
        scheme: config::UpstreamScheme::Http,
        host: "app.test".to_owned(),
        port,
    };
    proxy_with([upstream], |proxy| proxy.resolvers = vec![server.address])
}

async fn serve(listener: &TcpListener) -> Peer {
    let mut peer = Peer::new(listener.accept().await.expect("a connection").0);
    peer.head().await;
    peer.say(OK).await;
    peer
}

#[tokio::test]
async fn an_upstreams_name_is_looked_up_once_and_not_for_each_connection() {
    let ([listener], addresses, port) = listeners::<1>().await;
    let mut server = NameServer::start([Answer::Addresses(300, addresses.to_vec())]).await;
    let proxy = by_name(&server, port);
    for _ in 0..3 {
        let (outcome, peer) = tokio::join!(ask(&proxy, get("/")), serve(&listener));
        assert_eq!(outcome.expect("a response").status(), 200);
        drop(peer);
    }
    server.is_asked().await;
    assert!(server.asked.try_recv().is_err());
}

#[tokio::test]
async fn connections_are_spread_over_all_addresses_of_a_name() {
    let ([one, two], addresses, port) = listeners::<2>().await;
    let server = NameServer::start([Answer::Addresses(300, addresses.to_vec())]).await;
    let proxy = by_name(&server, port);
    let serve = async { (serve(&one).await, serve(&two).await) };
    let (first, second, _peers) = tokio::join!(ask(&proxy, get("/")), ask(&proxy, get("/")), serve);
    assert_eq!(first.expect("a response").status(), 200);
    assert_eq!(second.expect("a response").status(), 200);
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let ([one, two], addresses, port) = listeners::<2>().await;
    drop(one);
    let server = NameServer::start([Answer::Addresses(300, addresses.to_vec())]).await;
    let proxy = by_name(&server, port);
    for _ in 0..2 {
        let (outcome, _) = tokio::join!(ask(&proxy, get("/")), serve(&two));
        assert_eq!(outcome.expect("a response").status(), 200);
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_takes_its_kept_connections_along() {
    let ([one, two], addresses, port) = listeners::<2>().await;
    let mut server = NameServer::start([Answer::Addresses(1, vec![addresses[0]])]).await;
    let proxy = by_name(&server, port);
    let (outcome, mut old) = tokio::join!(ask(&proxy, get("/")), serve(&one));
    outcome.expect("a response");
    server.is_asked().await;
    server.then([Answer::Addresses(1, vec![addresses[1]])]);
    // The second question comes when the first answer is too old; the third, when the second answer was taken.
    server.is_asked().await;
    server.is_asked().await;
    let (outcome, _new) = tokio::join!(ask(&proxy, get("/")), serve(&two));
    outcome.expect("a response");
    old.closed().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_any_more_leads_where_it_led_last() {
    let ([listener], addresses, port) = listeners::<1>().await;
    let mut server = NameServer::start([Answer::Addresses(1, addresses.to_vec())]).await;
    let proxy = by_name(&server, port);
    let (outcome, peer) = tokio::join!(ask(&proxy, get("/")), serve(&listener));
    outcome.expect("a response");
    drop(peer);
    server.is_asked().await;
    server.then([Answer::Code(3)]);
    server.is_asked().await;
    server.is_asked().await;
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), serve(&listener));
    assert_eq!(outcome.expect("a response").status(), 200);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_502_and_says_why() {
    for (code, says) in [
        (3, "there is no such name"),
        (2, "SERVFAIL"),
        (5, "REFUSED"),
    ] {
        let server = NameServer::start([Answer::Code(code)]).await;
        let proxy = by_name(&server, 80);
        // The second one is told at once.
        for _ in 0..2 {
            let refusal = refused(ask(&proxy, get("/")).await);
            assert_eq!(refusal.reason, Reason::UpstreamConnect);
            assert!(refusal.detail.contains(says), "{}", refusal.detail);
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let ([listener], addresses, port) = listeners::<1>().await;
    let server = NameServer::start([Answer::Long(addresses.to_vec())]).await;
    let proxy = by_name(&server, port);
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), serve(&listener));
    assert_eq!(outcome.expect("a response").status(), 200);
}

#[tokio::test]
async fn without_resolvers_the_systems_own_files_are_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let upstream = config::Upstream::Net {
        scheme: config::UpstreamScheme::Http,
        host: "localhost".to_owned(),
        port,
    };
    let proxy = proxy([upstream]);
    let (outcome, _) = tokio::join!(ask(&proxy, get("/")), serve(&listener));
    assert_eq!(outcome.expect("a response").status(), 200);
}
