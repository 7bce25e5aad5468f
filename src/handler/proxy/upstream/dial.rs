//! Connecting to one of several addresses (RFC 8305, section 5): the next is tried when one fails, and also when it is slow.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::names::Spot;

/// Connects to the first of `spots` that takes the connection. `turn` counts up, and each begins with another one.
pub(super) async fn dial(spots: &[Spot], turn: usize) -> io::Result<TcpStream> {
    let mut waiting = order(spots, turn).into_iter();
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
                if let Some(address) = waiting.next() {
                    under_way.push(async move {
                        TcpStream::connect(address).await.map_err(|error| (address, error))
                    });
                    next = Instant::now() + STAGGER;
                }
            }
        }
    }
}

/// In which order they are tried: those of a priority before those of the next, and among them as their weights say.
fn order(spots: &[Spot], turn: usize) -> Vec<SocketAddr> {
    let alike =
        |one: &Spot, other: &Spot| (one.priority, one.weight) == (other.priority, other.weight);
    if spots.windows(2).all(|pair| alike(&pair[0], &pair[1])) {
        let mut ordered = in_turn(spots, turn);
        ordered.truncate(TRIED_MAX);
        return ordered;
    }
    let mut chance = turn as u64;
    // They come sorted.
    let by_priority = spots.chunk_by(|one, other| one.priority == other.priority);
    let mut ordered: Vec<Vec<SocketAddr>> = by_priority
        .map(|group| by_weight(group, &mut chance))
        .collect();
    // The next priority is reached even where many of the first do not answer.
    for (at, group) in ordered.iter_mut().enumerate() {
        group.truncate(TRIED_MAX >> at.min(3));
    }
    ordered.concat()
}

/// RFC 2782: each is drawn with its share of what the weights of those that are left make together.
fn by_weight(group: &[Spot], chance: &mut u64) -> Vec<SocketAddr> {
    let mut left = group.to_vec();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total: u64 = left.iter().map(|spot| u64::from(spot.weight)).sum();
        let mut drawn = draw(chance) % total.max(1);
        let at = left.iter().position(|spot| {
            let weight = u64::from(spot.weight);
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        });
        ordered.push(left.remove(at.unwrap_or(0)).address);
    }
    ordered
}

/// Numbers without a pattern (splitmix64). No secret hangs on them.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The addresses from the one whose turn it is on, the two families in turn: when one of them leads nowhere, the other is near.
fn in_turn(spots: &[Spot], turn: usize) -> Vec<SocketAddr> {
    let Some(first) = turn.checked_rem(spots.len()) else {
        return Vec::new();
    };
    let turned = spots[first..].iter().chain(&spots[..first]);
    let leads = spots[first].address.is_ipv6();
    let (mut one, mut other): (Vec<SocketAddr>, Vec<SocketAddr>) = turned
        .map(|spot| spot.address)
        .partition(|address| address.is_ipv6() == leads);
    let mut ordered = Vec::with_capacity(spots.len());
    one.reverse();
    other.reverse();
    while let Some(address) = one.pop() {
        ordered.push(address);
        ordered.extend(other.pop());
    }
    other.reverse();
    ordered.extend(other);
    ordered
}

/// RFC 8305 section 8, the Connection Attempt Delay.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that one connection is tried with; of lower priorities half as many each.
const TRIED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::IpAddr;

    use super::*;

    fn ips(text: &[&str]) -> Vec<IpAddr> {
        text.iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect()
    }

    fn spots(ips: &[IpAddr], port: u16) -> Vec<Spot> {
        let spot = |ip: &IpAddr| Spot::new(SocketAddr::new(*ip, port));
        ips.iter().map(spot).collect()
    }

    fn order(ips: &[IpAddr], turn: usize) -> Vec<IpAddr> {
        let ordered = super::order(&spots(ips, 80), turn);
        ordered.iter().map(SocketAddr::ip).collect()
    }

    #[test]
    fn a_lower_priority_is_tried_first_and_each_as_often_as_its_weight_says() {
        let spot = |priority, weight, ip: [u8; 4]| Spot {
            priority,
            weight,
            address: SocketAddr::from((ip, 80)),
        };
        let all = [
            spot(1, 64, [10, 0, 0, 1]),
            spot(1, 192, [10, 0, 0, 2]),
            spot(2, 64, [10, 0, 0, 3]),
        ];
        let mut first: HashMap<SocketAddr, u32> = HashMap::new();
        for turn in 0..10_000 {
            let ordered = super::order(&all, turn);
            assert_eq!(ordered.len(), 3);
            assert_eq!(ordered[2], all[2].address);
            *first.entry(ordered[0]).or_default() += 1;
        }
        assert!(
            (2_300..2_700).contains(&first[&all[0].address]),
            "{first:?}"
        );
        // Many that do not answer do not hide those behind them.
        let many: Vec<Spot> = (0..40)
            .map(|n| spot(n / 20, 64, [10, 0, 1, n as u8]))
            .collect();
        assert_eq!(super::order(&many, 0).len(), 12);
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
        let stream = dial(&spots(&all, port), 0).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address").ip(), all[2]);
        let error = dial(&spots(&all[..2], port), 0)
            .await
            .expect_err("nobody listens");
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
        let stream = dial(&spots(&all, port), 0).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address").ip(), all[1]);
    }
}
