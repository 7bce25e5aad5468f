//! Asking name servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::Spot;
use super::message::{self, Kind, Reply, Service};
use super::system::{self, Servers};

/// Where names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::handler::proxy::upstream) enum Lookup {
    /// As everything on this system does: `/etc/hosts`, the name servers of `/etc/resolv.conf`, and what else the system knows.
    System,
    /// These name servers alone.
    Servers(Vec<SocketAddr>),
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    /// For how long that is good.
    pub(super) ttl: Duration,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundService {
    pub(super) spots: Vec<Spot>,
    /// For how long that is good.
    pub(super) ttl: Duration,
}

/// What a server said of a name, both kinds of addresses together.
enum Said {
    Found(Found),
    /// There is no such name, or it has no address.
    Nothing,
}

impl Lookup {
    async fn servers(&self) -> Servers {
        match self {
            Self::Servers(servers) => Servers::named(servers.clone()),
            Self::System => {
                let text = tokio::fs::read_to_string("/etc/resolv.conf").await;
                Servers::parse(&text.unwrap_or_default())
            }
        }
    }

    /// Looks up who has a service, and where each of them is (RFC 2782), or says why that cannot be done.
    pub(super) async fn find_service(&self, name: &str) -> Result<FoundService, String> {
        let (services, good) = ask_for_service(&self.servers().await, name).await?;
        let mut ttl = seconds(good);
        let targets = services.iter().filter(|service| !service.target.is_empty());
        let targets: Vec<&Service> = targets.take(TARGETS_MAX).collect();
        let found = join_all(targets.iter().map(|service| self.find(&service.target))).await;
        let mut why = "its records say that the service is not there".to_owned();
        let mut spots = Vec::new();
        for (service, found) in targets.into_iter().zip(found) {
            match found {
                Ok(found) => {
                    ttl = ttl.min(found.ttl);
                    spots.extend(Spot::all(service, &found.addresses));
                }
                Err(error) => why = format!("{}: {error}", service.target),
            }
        }
        spots.truncate(ADDRESSES_MAX);
        match spots.is_empty() {
            true => Err(why),
            false => Ok(FoundService { spots, ttl }),
        }
    }

    /// Looks a name up, or says why that cannot be done.
    pub(super) async fn find(&self, name: &str) -> Result<Found, String> {
        if *self == Self::System {
            let hosts = tokio::fs::read_to_string("/etc/hosts").await;
            let addresses = system::in_hosts(&hosts.unwrap_or_default(), name);
            if !addresses.is_empty() {
                let ttl = FILE_TTL;
                return Ok(Found { addresses, ttl });
            }
        }
        let asked = ask_all(&self.servers().await, name).await;
        match (self, asked) {
            (_, Ok(Said::Found(found))) => Ok(found),
            (Self::Servers(_), Ok(Said::Nothing)) => Err("there is no such name".to_owned()),
            (Self::Servers(_), Err(why)) => Err(why),
            (Self::System, asked) => {
                let why = asked.err();
                by_system(name)
                    .await
                    .ok_or_else(|| why.unwrap_or_else(|| "there is no such name".to_owned()))
            }
        }
    }
}

/// What the system finds that is neither in its files nor in DNS (nsswitch.conf: mDNS, LDAP). It blocks, on a thread that is
/// there for it; each name has one such look-up at a time.
async fn by_system(name: &str) -> Option<Found> {
    let found = lookup_host((name, 0)).await.ok()?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    let ttl = FILE_TTL;
    (!addresses.is_empty()).then_some(Found { addresses, ttl })
}

/// Asks for everything that a name may mean.
async fn ask_all(servers: &Servers, name: &str) -> Result<Said, String> {
    let mut failed = None;
    for name in servers.meanings(name) {
        match ask_both(servers, &name).await {
            Ok(Said::Found(found)) => return Ok(Said::Found(found)),
            Ok(Said::Nothing) => {}
            Err(why) => failed = Some(why),
        }
    }
    failed.map_or(Ok(Said::Nothing), Err)
}

async fn ask_both(servers: &Servers, name: &str) -> Result<Said, String> {
    let (four, six) = tokio::join!(
        ask_each(servers, name, Kind::A),
        ask_each(servers, name, Kind::Aaaa)
    );
    let mut all = Vec::new();
    let mut ttl = u32::MAX;
    let mut failed = None;
    for answer in [six, four] {
        match answer {
            Ok(None) => {}
            Ok(Some((addresses, good))) => {
                all.extend(addresses);
                ttl = ttl.min(good);
            }
            Err(why) => failed = Some(why),
        }
    }
    match failed {
        // Some servers fail on AAAA for names that have none: what the other question found is good.
        Some(why) if all.is_empty() => Err(why),
        None if all.is_empty() => Ok(Said::Nothing),
        _ => {
            all.truncate(ADDRESSES_MAX);
            Ok(Said::Found(Found {
                addresses: all,
                ttl: seconds(ttl),
            }))
        }
    }
}

type Answer = Option<(Vec<IpAddr>, u32)>;

/// Who has a service; nobody is an error.
async fn ask_for_service(servers: &Servers, name: &str) -> Result<(Vec<Service>, u32), String> {
    let mut why = "there is no such service".to_owned();
    for name in servers.meanings(name) {
        match ask_servers(servers, &name, Kind::Srv).await {
            Ok(Some(Reply::Services(services, ttl))) if !services.is_empty() => {
                return Ok((services, ttl));
            }
            Ok(_) => {}
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The addresses of a name; none where there are none.
async fn ask_each(servers: &Servers, name: &str, kind: Kind) -> Result<Answer, String> {
    Ok(match ask_servers(servers, name, kind).await? {
        Some(Reply::Addresses(addresses, ttl)) if !addresses.is_empty() => Some((addresses, ttl)),
        _ => None,
    })
}

/// Asks one server after the other, until one answers; none where there is no such name.
async fn ask_servers(servers: &Servers, name: &str, kind: Kind) -> Result<Option<Reply>, String> {
    let mut why = "no name server is known".to_owned();
    for _ in 0..servers.attempts {
        for server in &servers.servers {
            match ask(*server, name, kind, servers.timeout).await {
                Ok(reply @ (Reply::Addresses(..) | Reply::Services(..))) => return Ok(Some(reply)),
                Ok(Reply::NoName) => return Ok(None),
                Ok(Reply::Truncated) => why = format!("{server} cuts its answer short"),
                Ok(Reply::Failed(code)) => why = format!("{server} says {}", rcode(code)),
                Err(error) => why = format!("{server} does not answer: {error}"),
            }
        }
    }
    Err(why)
}

/// How long an answer is good for, within reason.
fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into()).clamp(TTL_MIN, TTL_MAX)
}

fn rcode(code: u8) -> String {
    match code {
        2 => "SERVFAIL".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("that it failed (code {code})"),
    }
}

async fn ask(server: SocketAddr, name: &str, kind: Kind, timeout: Duration) -> io::Result<Reply> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random number"))?;
    let question = message::question(u16::from_be_bytes(id), name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"))?;
    let asking = async {
        match over_udp(server, &question).await? {
            Reply::Truncated => over_tcp(server, &question).await,
            reply => Ok(reply),
        }
    };
    tokio::time::timeout(timeout, asking)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket for each question has a port for each, which whoever forges an answer must guess (RFC 5452).
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut came = [0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut came).await?;
        // What is no reply to this question is somebody else's; the right one may come still.
        if let Ok(reply) = message::reply(question, &came[..length]) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut sent = length.to_be_bytes().to_vec();
    sent.extend(question);
    stream.write_all(&sent).await?;
    let length = stream.read_u16().await?;
    let mut came = vec![0; length.into()];
    stream.read_exact(&mut came).await?;
    message::reply(question, &came)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it answers something else"))
}

/// What a question without EDNS may be answered with (RFC 1035 section 4.2.1), and some servers' idea of it.
const UDP_BYTES_MAX: usize = 4096;

/// A name that is good for no time at all is asked for once a second.
const TTL_MIN: Duration = Duration::from_secs(1);

/// What is said to be good for longer is asked for all the same: somebody may have made a mistake.
const TTL_MAX: Duration = Duration::from_secs(3600);

/// Files and the like say nothing of how long they are good.
const FILE_TTL: Duration = Duration::from_secs(30);

/// Targets of a service whose addresses are asked for.
const TARGETS_MAX: usize = 16;

/// Addresses that are kept of a name.
const ADDRESSES_MAX: usize = 64;
