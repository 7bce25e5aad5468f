//! Connecting to one of several addresses (RFC 8305, section 5): the next is tried when one fails, and also when it is slow.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Connects to the first of `addresses` that takes the connection, beginning with the one at `first`.
pub(super) async fn dial(addresses: &[IpAddr], first: usize, port: u16) -> io::Result<TcpStream> {
    let mut waiting = order(addresses, first).into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut next = Instant::now();
    loop {
        let more = waiting.len() > 0;
        if !more && under_way.is_empty() {
            return Err(last);
        }
        tokio::select! {
            biased;
            Some(connected) = under_way.next(), if !under_way.is_empty() => match connected {
                Ok(stream) => return Ok(stream),
                Err((address, error)) => {
                    let error: io::Error = error;
                    last = io::Error::new(error.kind(), format!("{address}: {error}"));
                    next = Instant::now();
                }
            },
            () = sleep_until(next), if more => {
                if let Some(ip) = waiting.next() {
                    let address = SocketAddr::new(ip, port);
                    under_way.push(async move {
                        TcpStream::connect(address).await.map_err(|error| (address, error))
                    });
                    next = Instant::now() + STAGGER;
                }
            }
        }
    }
}

/// The addresses from the one at `first` on, the two families in turn: when one of them leads nowhere, the other is near.
fn order(addresses: &[IpAddr], first: usize) -> Vec<IpAddr> {
    let Some(first) = first.checked_rem(addresses.len()) else {
        return Vec::new();
    };
    let turned = addresses[first..].iter().chain(&addresses[..first]);
    let leads = addresses[first].is_ipv6();
    let (mut one, mut other): (Vec<IpAddr>, Vec<IpAddr>) = turned
        .copied()
        .partition(|address| address.is_ipv6() == leads);
    let mut ordered = Vec::with_capacity(addresses.len());
    one.reverse();
    other.reverse();
    while let Some(address) = one.pop() {
        ordered.push(address);
        ordered.extend(other.pop());
    }
    other.reverse();
    ordered.extend(other);
    ordered.truncate(TRIED_MAX);
    ordered
}

/// RFC 8305 section 8, the Connection Attempt Delay.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that one connection is tried with.
const TRIED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &[&str]) -> Vec<IpAddr> {
        text.iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect()
    }

    #[test]
    fn each_begins_with_another_address_and_families_take_turns() {
        let all = ips(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "::2"]);
        assert_eq!(
            order(&all, 0),
            ips(&["10.0.0.1", "::1", "10.0.0.2", "::2", "10.0.0.3"])
        );
        assert_eq!(
            order(&all, 4),
            ips(&["::2", "10.0.0.1", "::1", "10.0.0.2", "10.0.0.3"])
        );
        assert_eq!(order(&all, 7)[0], all[2]);
        assert!(order(&[], 3).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_no_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let all = ips(&["127.0.0.3", "127.0.0.4", "127.0.0.2"]);
        let stream = dial(&all, 0, port).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address").ip(), all[2]);
        let error = dial(&all[..2], 0, port).await.expect_err("nobody listens");
        assert!(error.to_string().contains("127.0.0.4:"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_slow_is_not_waited_for() {
        // Once the queue of a listening socket is full, Linux drops what wants to connect.
        let slow = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let slow = slow.expect("a socket");
        let any: SocketAddr = "127.0.0.5:0".parse().expect("an address");
        slow.bind(&any.into()).expect("a port");
        slow.listen(0).expect("a queue");
        let address = slow.local_addr().expect("an address");
        let _waiting: Vec<socket2::Socket> = (0..4)
            .map(|_| {
                let kind = socket2::Type::STREAM;
                let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None);
                let socket = socket.expect("a socket");
                socket.set_nonblocking(true).expect("a flag");
                let _ = socket.connect(&address);
                socket
            })
            .collect();
        let port = address.as_socket().expect("an address").port();
        let listener = tokio::net::TcpListener::bind(("127.0.0.6", port)).await;
        let _listener = listener.expect("the same port of another address");
        let all = ips(&["127.0.0.5", "127.0.0.6"]);
        let stream = dial(&all, 0, port).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address").ip(), all[1]);
    }
}
