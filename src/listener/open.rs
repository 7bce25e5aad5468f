//! The connections of one data thread that are open, for whoever asks. A connection enters once, says once what it speaks, and
//! leaves once; what it does meanwhile is counted in its own [`Activity`](crate::model::Activity).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use slab::Slab;

use crate::model::{ClientAddr, Connection, LocalAddr, Protocol};

/// The connections of one data thread.
#[derive(Debug, Default)]
pub struct OpenConnections(Mutex<Slab<OpenConnection>>);

/// A connection.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// Who is at its other end.
    pub client: ClientAddr,
    /// Where of ours it came to.
    pub local: LocalAddr,
    /// What it speaks, or is about to.
    pub protocol: Protocol,
    /// Since when it is open.
    pub since: Instant,
    /// Once it speaks HTTP: its facts.
    pub connection: Option<Arc<Connection>>,
    /// What counts its bytes where that is QUIC.
    quic: Option<quinn::Connection>,
}

/// Which connections are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Which {
    /// No more than so many of each data thread: those that have been open for longest.
    pub max: usize,
    /// Those of one client alone.
    pub client: Option<IpAddr>,
}

/// What a data thread's connections are.
#[derive(Debug, Default)]
pub struct Listed {
    /// All that speak HTTP.
    pub speaking: usize,
    /// Those that were asked for, were there no bound.
    pub matching: usize,
    /// Those that were asked for, within it.
    pub connections: Vec<OpenConnection>,
}

/// A connection's place among those that are open. Dropping it leaves.
#[derive(Debug)]
pub(super) struct OpenPlace {
    all: Arc<OpenConnections>,
    place: usize,
}

impl OpenConnections {
    pub(super) fn enter(
        self: &Arc<Self>,
        client: ClientAddr,
        local: LocalAddr,
        protocol: Protocol,
    ) -> OpenPlace {
        let place = self.lock().insert(OpenConnection {
            client,
            local,
            protocol,
            since: Instant::now(),
            connection: None,
            quic: None,
        });
        OpenPlace {
            all: Arc::clone(self),
            place,
        }
    }

    /// Those that are asked for. A data thread that opens or closes a connection waits while its places are looked through, and
    /// again while those that are listed are copied.
    pub fn list(&self, which: Which) -> Listed {
        let mut found: Vec<(Instant, usize)> = Vec::new();
        let mut listed = Listed::default();
        for (place, open) in self.lock().iter() {
            listed.speaking += usize::from(open.connection.is_some());
            if which.client.is_none_or(|ip| open.client.ip() == ip) {
                found.push((open.since, place));
            }
        }
        listed.matching = found.len();
        if which.max < found.len() {
            found.select_nth_unstable(which.max);
            found.truncate(which.max);
        }
        let all = self.lock();
        let still_there = |(since, place): (Instant, usize)| {
            let open = all.get(place)?;
            (open.since == since).then(|| open.clone())
        };
        listed.connections = found.into_iter().filter_map(still_there).collect();
        listed
    }

    fn lock(&self) -> MutexGuard<'_, Slab<OpenConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// Bytes that came and that were sent; over QUIC with all that it needs for itself.
    pub fn bytes(&self) -> (u64, u64) {
        if let Some(quic) = &self.quic {
            let counted = quic.stats();
            return (counted.udp_rx.bytes, counted.udp_tx.bytes);
        }
        (self.connection.as_ref()).map_or((0, 0), |connection| connection.activity.bytes())
    }
}

impl OpenPlace {
    /// It speaks HTTP from now on.
    pub(super) fn speaks(&self, connection: &Arc<Connection>, protocol: Protocol) {
        self.change(|open| {
            open.connection = Some(Arc::clone(connection));
            open.protocol = protocol;
        });
    }

    /// The same over QUIC, which counts by itself.
    pub(super) fn speaks_quic(&self, connection: &Arc<Connection>, quic: quinn::Connection) {
        self.change(|open| {
            open.connection = Some(Arc::clone(connection));
            open.protocol = Protocol::Http3;
            open.quic = Some(quic);
        });
    }

    fn change(&self, change: impl FnOnce(&mut OpenConnection)) {
        if let Some(open) = self.all.lock().get_mut(self.place) {
            change(open);
        }
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let left = self.all.lock().try_remove(self.place);
        debug_assert!(left.is_some(), "a connection leaves once");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn enter(all: &Arc<OpenConnections>, client: &str) -> OpenPlace {
        let client: SocketAddr = client.parse().expect("an address");
        let local = LocalAddr::new(SocketAddr::from(([127, 0, 0, 1], 443)));
        all.enter(ClientAddr::new(client), local, Protocol::Tls)
    }

    fn clients(all: &OpenConnections, max: usize, client: Option<&str>) -> (usize, Vec<u16>) {
        let client = client.map(|it| it.parse().expect("an address"));
        let listed = all.list(Which { max, client });
        let mut ports: Vec<u16> = (listed.connections.iter())
            .map(|open| open.client.port())
            .collect();
        ports.sort_unstable();
        (listed.matching, ports)
    }

    #[test]
    fn the_oldest_are_listed_and_those_of_one_client() {
        let all = Arc::new(OpenConnections::default());
        let first = enter(&all, "192.0.2.1:1");
        let _others: Vec<_> = (2..=9)
            .map(|port| enter(&all, &format!("192.0.2.{}:{port}", port % 2)))
            .collect();
        assert_eq!(clients(&all, 3, None), (9, vec![1, 2, 3]));
        assert_eq!(clients(&all, 99, Some("192.0.2.0")), (4, vec![2, 4, 6, 8]));
        assert_eq!(clients(&all, 1, Some("192.0.2.0")), (4, vec![2]));
        drop(first);
        // The place that it left is given to a younger one.
        let _late = enter(&all, "192.0.2.7:70");
        assert_eq!(clients(&all, 2, None), (9, vec![2, 3]));
    }
}
