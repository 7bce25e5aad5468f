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

/// A name that is looked after, and where it leads.
pub(super) struct Names {
    host: String,
    lookup: Lookup,
    state: watch::Sender<State>,
    /// Changes whenever the addresses do: what a request looks at.
    generation: AtomicU64,
    /// Whether a task looks after it. Its thread may end before the others.
    looked_after: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    addresses: Arc<[IpAddr]>,
    /// Why there is none, if none was found yet.
    failed: Option<String>,
}

/// Where a connection leads to, and whether its upstream's name does so still.
#[derive(Clone)]
pub(in crate::handler) struct Origin(Option<Named>);

#[derive(Clone)]
struct Named {
    names: Arc<Names>,
    address: IpAddr,
    generation: u64,
}

impl Names {
    pub(super) fn new(host: String, lookup: Lookup) -> Arc<Self> {
        Arc::new(Self {
            host,
            lookup,
            state: watch::Sender::default(),
            generation: AtomicU64::new(0),
            looked_after: AtomicBool::new(false),
        })
    }

    /// Where the name leads: at once, but for the first time.
    pub(super) async fn addresses(self: &Arc<Self>) -> Result<Arc<[IpAddr]>, String> {
        if !self.looked_after.swap(true, Relaxed) {
            let watch = Watch(Arc::downgrade(self));
            tokio::spawn(watch.look_after());
        }
        let mut known = self.state.subscribe();
        let known = known.wait_for(|state| state.failed.is_some() || !state.addresses.is_empty());
        let state = known.await.map_err(|_| "nobody looks it up".to_owned())?;
        match &state.failed {
            Some(why) if state.addresses.is_empty() => Err(why.clone()),
            _ => Ok(Arc::clone(&state.addresses)),
        }
    }

    /// The origin of a connection to one of its addresses.
    pub(super) fn origin(self: &Arc<Self>, address: SocketAddr) -> Origin {
        Origin(Some(Named {
            names: Arc::clone(self),
            address: address.ip(),
            // If the name has led elsewhere meanwhile, that is seen when the connection is to be used again.
            generation: 0,
        }))
    }

    /// Takes note of an answer.
    fn take(&self, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        self.state.send_if_modified(|state| {
            let changed = *state.addresses != *addresses;
            if changed {
                tracing::debug!(
                    name = self.host,
                    ?addresses,
                    "an upstream's name leads elsewhere"
                );
                state.addresses = addresses.into();
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
            known = state.addresses.len();
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
        let leads_here = (named.names.state.borrow().addresses).contains(&named.address);
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
        while let Some((host, lookup)) =
            (self.0.upgrade()).map(|names| (names.host.clone(), names.lookup.clone()))
        {
            let found = lookup.find(&host).await;
            let Some(names) = self.0.upgrade() else {
                return;
            };
            let next = match found {
                Ok(found) => {
                    names.take(found.addresses);
                    pause = PAUSE_MIN;
                    found.ttl
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
