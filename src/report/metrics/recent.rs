//! What was refused last, for whoever asks what is behind a number: requests, and handshakes that failed.
//!
//! Each data thread remembers its own, in two rings, so that a flood of the one kind leaves the other be. A ring that is full
//! writes over its oldest entry, in that one's memory: a server that sheds load does not allocate for it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::{PerThread, Protocol, Reason};
use crate::report::Refused;

/// What each thread remembers.
#[derive(Debug)]
pub(super) struct Recent(PerThread<Mutex<Mine>>);

#[derive(Debug, Default)]
struct Mine {
    handshakes: VecDeque<PastRefusal>,
    requests: VecDeque<PastRefusal>,
}

/// Something that was refused. A text that is empty is not known.
#[derive(Clone, Debug)]
pub struct PastRefusal {
    /// When.
    pub time: SystemTime,
    /// What it counts as.
    pub reason: Reason,
    /// What was spoken.
    pub protocol: Protocol,
    /// Where the client connected from.
    pub client: IpAddr,
    /// Where of ours it connected to.
    pub local: SocketAddr,
    /// Whether TLS was spoken, or was meant to be.
    pub over_tls: bool,
    /// The status of the response; none when the client saw no response.
    pub status: Option<u16>,
    /// The server name that it asked for.
    pub sni: String,
    /// The fingerprint of its ClientHello, of a handshake that failed.
    pub ja4: String,
    /// The host asked for.
    pub host: String,
    /// The method.
    pub method: String,
    /// The path, as it came; without its query, which may be nobody's business.
    pub path: String,
    /// The site's name.
    pub site: String,
    /// The pool's name.
    pub pool: String,
    /// What `X-Request-Id` says.
    pub request_id: String,
    /// The id of the trace that the request is part of.
    pub trace_id: String,
    /// What went wrong, for a person.
    pub detail: String,
}

impl Recent {
    pub(super) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| Mutex::default()))
    }

    pub(super) fn add(&self, refused: &Refused<'_>) {
        let mut mine = lock(self.0.mine());
        match refused.protocol {
            Protocol::Tls | Protocol::Quic => put(&mut mine.handshakes, HANDSHAKES_MAX, refused),
            _ => put(&mut mine.requests, REFUSALS_MAX, refused),
        }
    }

    /// The handshakes that are remembered, the latest first.
    pub(super) fn handshakes(&self) -> Vec<PastRefusal> {
        self.latest(|mine, all| all.extend(mine.handshakes.iter().cloned()))
    }

    /// All that is remembered and asked for, the latest first.
    pub(super) fn refusals(&self, wanted: impl Fn(&PastRefusal) -> bool) -> Vec<PastRefusal> {
        self.latest(|mine, all| {
            let both = mine.handshakes.iter().chain(&mine.requests);
            all.extend(both.filter(|it| wanted(it)).cloned());
        })
    }

    fn latest(&self, take: impl Fn(&Mine, &mut Vec<PastRefusal>)) -> Vec<PastRefusal> {
        let mut all = Vec::new();
        for thread in self.0.iter() {
            take(&lock(thread), &mut all);
        }
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.time));
        all
    }
}

fn put(ring: &mut VecDeque<PastRefusal>, max: usize, refused: &Refused<'_>) {
    let place = match ring.len() >= max {
        true => ring.pop_front(),
        false => None,
    };
    let mut place = place.unwrap_or_else(|| PastRefusal::blank(refused));
    place.fill(refused);
    ring.push_back(place);
}

impl PastRefusal {
    fn blank(refused: &Refused<'_>) -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            reason: refused.reason,
            protocol: refused.protocol,
            client: refused.client.ip(),
            local: local_of(refused),
            over_tls: false,
            status: None,
            sni: String::new(),
            ja4: String::new(),
            host: String::new(),
            method: String::new(),
            path: String::new(),
            site: String::new(),
            pool: String::new(),
            request_id: String::new(),
            trace_id: String::new(),
            detail: String::new(),
        }
    }

    fn fill(&mut self, refused: &Refused<'_>) {
        self.time = SystemTime::now();
        self.reason = refused.reason;
        self.protocol = refused.protocol;
        self.client = refused.client.ip();
        self.local = local_of(refused);
        self.over_tls = refused.tls_version.is_some()
            || matches!(refused.protocol, Protocol::Tls | Protocol::Quic);
        self.status = refused.status;
        for (kept, said) in [
            (&mut self.sni, refused.sni),
            (&mut self.ja4, refused.ja4),
            (&mut self.host, refused.host),
            (&mut self.method, refused.method),
            (&mut self.path, refused.path),
            (&mut self.site, refused.site),
            (&mut self.pool, refused.pool),
            (&mut self.request_id, refused.request_id),
            (&mut self.trace_id, refused.trace_id),
            (&mut self.detail, refused.detail),
        ] {
            kept.clear();
            kept.push_str(short(said.unwrap_or_default()));
        }
    }

    /// The server name that the client asked for, if it asked for one.
    pub fn server_name(&self) -> Option<&str> {
        Some(&*self.sni).filter(|sni| !sni.is_empty())
    }
}

fn local_of(refused: &Refused<'_>) -> SocketAddr {
    SocketAddr::new(refused.local.ip(), refused.local.port())
}

/// A name has 255 bytes at most; what clients send beyond that is not worth remembering.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Nothing is left half done under this lock.
fn lock(mine: &Mutex<Mine>) -> MutexGuard<'_, Mine> {
    mine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handshakes that each data thread remembers; of more the oldest are forgotten.
pub const HANDSHAKES_MAX: usize = 256;

/// The same, of all else that was refused: connections and requests.
pub const REFUSALS_MAX: usize = 1000;

/// Kept of each text.
const TEXT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientAddr, LocalAddr};

    fn refused(reason: Reason, protocol: Protocol) -> Refused<'static> {
        let address = "127.0.0.1:1".parse().expect("an address");
        Refused::new(
            reason,
            ClientAddr::new(address),
            LocalAddr::new(address),
            protocol,
        )
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_other_and_is_bounded() {
        let recent = Recent::new(1);
        recent.add(&refused(Reason::TlsNotTls, Protocol::Tls));
        for _ in 0..3 * REFUSALS_MAX {
            recent.add(&refused(Reason::QueueFull, Protocol::Http2));
        }
        assert_eq!(recent.handshakes().len(), 1);
        assert_eq!(recent.refusals(|_| true).len(), REFUSALS_MAX + 1);
        let tls = recent.refusals(|it| it.reason == Reason::TlsNotTls);
        assert_eq!(tls.len(), 1);
    }

    #[test]
    fn what_is_written_over_leaves_nothing_behind() {
        let recent = Recent::new(1);
        let long = "ä".repeat(1000);
        for _ in 0..REFUSALS_MAX {
            recent.add(&Refused {
                host: Some(&long),
                pool: Some("shop"),
                ..refused(Reason::QueueFull, Protocol::Http1)
            });
        }
        let all = recent.refusals(|it| it.pool == "shop");
        assert_eq!(all.len(), REFUSALS_MAX);
        assert_eq!(all[0].host, "ä".repeat(TEXT_BYTES_MAX / 2));
        for _ in 0..REFUSALS_MAX {
            recent.add(&refused(Reason::NoRoute, Protocol::Http1));
        }
        let all = recent.refusals(|_| true);
        assert!(
            all.iter()
                .all(|it| it.host.is_empty() && it.pool.is_empty())
        );
    }
}
