//! Where an upstream's name leads, looked up again and again for as long as each answer is good.
//!
//! No request waits for a name server but the first. A name that cannot be looked up any more leads where it led last.

mod asking;
pub mod message;
mod system;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::asking::Lookup;
use self::message::Service;

/// A name that is looked after, and where it leads.
pub(super) struct Names {
    host: String,
    /// The port of its addresses; none: it is the name of a service, and they have their own.
    port: Option<u16>,
    lookup: Lookup,
    state: watch::Sender<State>,
    /// Changes whenever the addresses do: what a request looks at.
    generation: AtomicU64,
    /// Whether a task looks after it. Its thread may end before the others.
    looked_after: AtomicBool,
}

/// One place where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Those with a lower number are tried first (RFC 2782); a name that is no service's has one alone.
    pub(super) priority: u16,
    /// Its share of the connections among those of its priority; never 0.
    pub(super) weight: u32,
    pub(super) address: SocketAddr,
}

#[derive(Clone, Default)]
struct State {
    spots: Arc<[Spot]>,
    /// Why there is none, if none was found yet.
    failed: Option<String>,
}

/// Where a connection leads to, and whether its upstream's name does so still.
#[derive(Clone)]
pub(in crate::handler) struct Origin(Option<Named>);

#[derive(Clone)]
struct Named {
    names: Arc<Names>,
    address: SocketAddr,
    generation: u64,
}

impl Names {
    pub(super) fn new(host: String, port: Option<u16>, lookup: Lookup) -> Arc<Self> {
        Arc::new(Self {
            host,
            port,
            lookup,
            state: watch::Sender::default(),
            generation: AtomicU64::new(0),
            looked_after: AtomicBool::new(false),
        })
    }

    /// Where the name leads: at once, but for the first time.
    pub(super) async fn spots(self: &Arc<Self>) -> Result<Arc<[Spot]>, String> {
        if !self.looked_after.swap(true, Relaxed) {
            let watch = Watch(Arc::downgrade(self));
            tokio::spawn(watch.look_after());
        }
        let mut known = self.state.subscribe();
        let known = known.wait_for(|state| state.failed.is_some() || !state.spots.is_empty());
        let state = known.await.map_err(|_| "nobody looks it up".to_owned())?;
        match &state.failed {
            Some(why) if state.spots.is_empty() => Err(why.clone()),
            _ => Ok(Arc::clone(&state.spots)),
        }
    }

    /// The origin of a connection to one of its addresses.
    pub(super) fn origin(self: &Arc<Self>, address: SocketAddr) -> Origin {
        Origin(Some(Named {
            names: Arc::clone(self),
            address,
            // If the name has led elsewhere meanwhile, that is seen when the connection is to be used again.
            generation: 0,
        }))
    }

    /// Takes note of an answer.
    fn take(&self, mut spots: Vec<Spot>) {
        spots.sort_unstable();
        spots.dedup();
        self.state.send_if_modified(|state| {
            let changed = *state.spots != *spots;
            if changed {
                tracing::debug!(
                    name = self.host,
                    addresses = ?spots.iter().map(|spot| spot.address).collect::<Vec<_>>(),
                    "an upstream's name leads elsewhere"
                );
                state.spots = spots.into();
                self.generation.fetch_add(1, Relaxed);
            }
            state.failed = None;
            changed
        });
    }

    /// Takes note that there was no answer; whether that is news.
    fn miss(&self, why: String) {
        let mut is_news = false;
        let mut known = 0;
        self.state.send_modify(|state| {
            is_news = state.failed.is_none();
            known = state.spots.len();
            state.failed = Some(why.clone());
        });
        if is_news {
            let name = &self.host;
            match known {
                0 => tracing::warn!(name, why, "an upstream's name cannot be looked up"),
                _ => tracing::warn!(
                    name,
                    why,
                    "an upstream's name cannot be looked up; it leads where it led last"
                ),
            }
        }
    }
}

impl Origin {
    /// An upstream that is always where it is.
    pub(super) fn fixed() -> Self {
        Self(None)
    }

    /// Whether the upstream's name leads here still. Asked for each request: it costs a look at a number that rarely changes.
    pub(in crate::handler) fn stands(&mut self) -> bool {
        let Some(named) = &mut self.0 else {
            return true;
        };
        let generation = named.names.generation.load(Relaxed);
        if generation == named.generation {
            return true;
        }
        let state = named.names.state.borrow();
        let leads_here = state.spots.iter().any(|spot| spot.address == named.address);
        drop(state);
        if leads_here {
            named.generation = generation;
        }
        leads_here
    }
}

/// The task that looks after a name for as long as somebody has it.
struct Watch(Weak<Names>);

impl Watch {
    async fn look_after(self) {
        let mut pause = PAUSE_MIN;
        // Whoever has the name meanwhile is not kept by us.
        while let Some((host, port, lookup)) =
            (self.0.upgrade()).map(|names| (names.host.clone(), names.port, names.lookup.clone()))
        {
            let found = look_up(&lookup, &host, port).await;
            let Some(names) = self.0.upgrade() else {
                return;
            };
            let next = match found {
                Ok((spots, ttl)) => {
                    names.take(spots);
                    pause = PAUSE_MIN;
                    ttl
                }
                Err(why) => {
                    names.miss(why);
                    let next = pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                    next
                }
            };
            drop(names);
            tokio::time::sleep(next).await;
        }
    }
}

async fn look_up(
    lookup: &Lookup,
    name: &str,
    port: Option<u16>,
) -> Result<(Vec<Spot>, Duration), String> {
    let Some(port) = port else {
        let found = lookup.find_service(name).await?;
        return Ok((found.spots, found.ttl));
    };
    let found = lookup.find(name).await?;
    let spot = |ip| Spot::new(SocketAddr::new(ip, port));
    Ok((found.addresses.into_iter().map(spot).collect(), found.ttl))
}

impl Spot {
    /// An address as good as every other.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            priority: 0,
            weight: 1,
            address,
        }
    }

    /// The addresses of one that has a service, which share its weight.
    fn all(service: &Service, addresses: &[IpAddr]) -> impl Iterator<Item = Self> {
        let share = u32::from(service.weight) * WEIGHT_UNITS;
        // One of no weight gets a connection now and then (RFC 2782).
        let weight = (share / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1)).max(1);
        addresses.iter().map(move |ip| Self {
            priority: service.priority,
            weight,
            address: SocketAddr::new(*ip, service.port),
        })
    }
}

/// What one of weight 1 counts, so that it can be shared.
const WEIGHT_UNITS: u32 = 64;

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(names) = self.0.upgrade() {
            names.looked_after.store(false, Relaxed);
        }
    }
}

/// Between two look-ups that fail: at first, and at last.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
