//! How many connections may be open, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The connections that are open, and how many may be.
#[derive(Debug)]
pub struct ConnectionLimits {
    max: AtomicUsize,
    max_per_ip: AtomicUsize,
    open: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    none_left: Notify,
    farewells: AtomicUsize,
}

/// One open connection's place. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    limits: Arc<ConnectionLimits>,
    /// None where connections of one address are not counted.
    ip: Option<IpAddr>,
}

/// One client that is told why it is turned away.
#[derive(Debug)]
pub struct Farewell(Arc<ConnectionLimits>);

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// `limits.max_connections`
    Total,
    /// `limits.max_connections_per_ip`
    PerIp,
}

impl ConnectionLimits {
    /// With these limits; `None`: no limit.
    pub fn new(max: Option<usize>, max_per_ip: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max.unwrap_or(usize::MAX)),
            max_per_ip: AtomicUsize::new(max_per_ip.unwrap_or(usize::MAX)),
            open: AtomicUsize::new(0),
            by_ip: Mutex::default(),
            none_left: Notify::new(),
            farewells: AtomicUsize::new(0),
        })
    }

    /// Other limits, for connections to come.
    pub fn set(&self, max: Option<usize>, max_per_ip: Option<usize>) {
        self.max.store(max.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.max_per_ip
            .store(max_per_ip.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many may be open; none: any number.
    pub fn max(&self) -> Option<usize> {
        let max = self.max.load(Ordering::Relaxed);
        (max != usize::MAX).then_some(max)
    }

    /// A place for one more connection.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let mut place = self.enter_unnamed()?;
        place.name(ip)?;
        Ok(place)
    }

    /// A place for one more connection whose address is told later.
    pub fn enter_unnamed(self: &Arc<Self>) -> Result<Place, Full> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place {
            limits: Arc::clone(self),
            ip: None,
        };
        if open > self.max.load(Ordering::Relaxed) {
            return Err(Full::Total);
        }
        Ok(place)
    }

    /// A place among the clients that are told why they are turned away; none when [`FAREWELLS_MAX`] are being told.
    pub fn turn_away(self: &Arc<Self>) -> Option<Farewell> {
        let farewell = Farewell(Arc::clone(self));
        (self.farewells.fetch_add(1, Ordering::Relaxed) < FAREWELLS_MAX).then_some(farewell)
    }

    /// Waits until no connection is open.
    pub async fn none_left(&self) {
        loop {
            let notified = self.none_left.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Place {
    /// Counts the connection as one of this address, once.
    pub fn name(&mut self, ip: IpAddr) -> Result<(), Full> {
        let max_per_ip = self.limits.max_per_ip.load(Ordering::Relaxed);
        if max_per_ip == usize::MAX {
            return Ok(());
        }
        let by_ip = self.limits.by_ip.lock();
        let mut by_ip = by_ip.unwrap_or_else(PoisonError::into_inner);
        let of_ip = by_ip.entry(group(ip)).or_default();
        if *of_ip >= max_per_ip {
            return Err(Full::PerIp);
        }
        *of_ip += 1;
        self.ip = Some(group(ip));
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ip) = self.ip {
            let mut by_ip = self
                .limits
                .by_ip
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(of_ip) = by_ip.get_mut(&ip) {
                *of_ip -= 1;
                if *of_ip == 0 {
                    by_ip.remove(&ip);
                }
            }
        }
        if self.limits.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.limits.none_left.notify_waiters();
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.farewells.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whoever has one IPv6 address has the whole /64 around it.
fn group(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Clients over plain HTTP that are told at once that there is no place for them. Each holds one of the 64 file descriptors
/// at least that are kept free for other things than connections; the rest is closed without a word.
pub const FAREWELLS_MAX: usize = 32;

#[cfg(test)]
mod tests;
