//! How this system looks names up: `/etc/resolv.conf` and `/etc/hosts`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Whom to ask, and how (resolv.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers {
    pub(super) servers: Vec<SocketAddr>,
    /// What is put behind names that are not whole.
    pub(super) search: Vec<String>,
    /// A name with so many dots is tried as it is first.
    pub(super) dots: usize,
    /// How long each server is waited for.
    pub(super) timeout: Duration,
    /// How often each is asked.
    pub(super) attempts: u32,
}

impl Servers {
    /// Those that the configuration names: what they are asked for is whole.
    pub(super) fn named(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            search: Vec::new(),
            dots: 0,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
        }
    }

    /// Reads `resolv.conf`. What cannot be understood is passed over, as everybody does.
    pub(super) fn parse(text: &str) -> Self {
        let mut read = Self {
            dots: 1,
            ..Self::named(Vec::new())
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    read.servers
                        .extend(address.map(|ip| SocketAddr::new(ip, PORT)));
                }
                Some("search" | "domain") => {
                    read.search = words.take(SEARCH_MAX).map(str::to_owned).collect();
                }
                Some("options") => words.for_each(|word| read.option(word)),
                _ => {}
            }
        }
        read.servers.truncate(SERVERS_MAX);
        if read.servers.is_empty() {
            read.servers
                .push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        read
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match name {
            "ndots" => self.dots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The whole names that a name may mean, in the order of asking.
    pub(super) fn meanings(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut names: Vec<String> = searched.collect();
        match name.bytes().filter(|&byte| byte == b'.').count() >= self.dots {
            true => names.insert(0, name.to_owned()),
            false => names.push(name.to_owned()),
        }
        names
    }
}

/// The addresses that `/etc/hosts` gives a name.
pub(super) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(address)
    });
    let mut found: Vec<IpAddr> = Vec::new();
    for address in lines {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

const PORT: u16 = 53;

/// resolv.conf(5) waits for 5 s, which is all that a first request has (`connect_timeout`); name servers are near.
const TIMEOUT: Duration = Duration::from_secs(2);

/// As resolv.conf(5).
const ATTEMPTS: u32 = 2;

/// As glibc.
const SERVERS_MAX: usize = 3;

/// As glibc before it had no bound.
const SEARCH_MAX: usize = 6;
