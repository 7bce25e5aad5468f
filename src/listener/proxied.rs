//! The PROXY protocol, versions 1 and 2: what a balancer in front says of the client before the client's own bytes.
//!
//! Whoever may say it must say it, and nobody else may: guessing would let a client choose its address.
//! The format is HAProxy's `proxy-protocol.txt`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Who connects, as the balancer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// This client.
    Client(SocketAddr),
    /// The balancer itself, to see whether we are there; or a client whose address it cannot tell.
    Itself,
}

/// Why there is no header of the PROXY protocol.
#[derive(Debug, thiserror::Error)]
pub enum ProxiedError {
    /// The connection ended before it began, as a balancer's plainest look whether we are there does.
    #[error("the connection ended without a byte")]
    Nothing,
    /// It begins with something else.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    /// It begins like one.
    #[error("the header of the PROXY protocol is broken: {0}")]
    Broken(&'static str),
    /// The connection ended in it.
    #[error("the connection ended in the header of the PROXY protocol: {0}")]
    Ended(#[from] io::Error),
}

/// Reads a header, and not a byte that is behind it.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Proxied, ProxiedError> {
    let mut first = [0; FIRST_BYTES];
    let came = stream.read(&mut first).await?;
    if came == 0 {
        return Err(ProxiedError::Nothing);
    }
    stream.read_exact(&mut first[came..]).await?;
    if first.starts_with(SIGNATURE) {
        let mut header = first.to_vec();
        header.push(stream.read_u8().await?);
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > V2_REST_MAX {
            return Err(ProxiedError::Broken("it is longer than 4 KiB"));
        }
        header.resize(V2_HEAD + rest, 0);
        stream.read_exact(&mut header[V2_HEAD..]).await?;
        return parse_v2(&header);
    }
    if !first.starts_with(V1_BEGIN) {
        return Err(ProxiedError::Missing);
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX {
            return Err(ProxiedError::Broken(
                "its line does not end within 107 bytes",
            ));
        }
        // Once a connection from a balancer, and there is at most a segment to look through.
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

/// Reads a whole header, of either version, with nothing behind it.
pub fn parse(header: &[u8]) -> Result<Proxied, ProxiedError> {
    if header.starts_with(SIGNATURE) {
        parse_v2(header)
    } else if header.starts_with(V1_BEGIN) {
        parse_v1(header)
    } else {
        Err(ProxiedError::Missing)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n`
fn parse_v1(line: &[u8]) -> Result<Proxied, ProxiedError> {
    let broken = ProxiedError::Broken;
    if line.len() > V1_MAX {
        return Err(broken("its line does not end within 107 bytes"));
    }
    let text = line
        .strip_suffix(b"\r\n")
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(broken("its line is no text that ends with CR LF"))?;
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().ok_or(broken("a part of its line is missing"));
    let family = word()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Ok(Proxied::Itself);
    }
    let (source, _local) = (word()?, word()?);
    let (port, _local_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(broken("its line goes on behind the ports"));
    }
    let ip: IpAddr = match family {
        "TCP4" => source.parse::<Ipv4Addr>().map(IpAddr::from),
        "TCP6" => source.parse::<Ipv6Addr>().map(IpAddr::from),
        _ => return Err(broken("it names neither TCP4, TCP6 nor UNKNOWN")),
    }
    .map_err(|_| broken("the client's address is none of its family"))?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits);
    let port: u16 = port.ok_or(broken("the client's port is none"))?;
    Ok(Proxied::Client(SocketAddr::new(ip, port)))
}

/// Signature, version and command, family, length, addresses; TLVs behind them are left unread.
fn parse_v2(header: &[u8]) -> Result<Proxied, ProxiedError> {
    let broken = ProxiedError::Broken;
    let (head, rest) = header
        .split_at_checked(V2_HEAD)
        .ok_or(broken("it is cut short"))?;
    if rest.len() != usize::from(u16::from_be_bytes([head[14], head[15]])) {
        return Err(broken("it is not as long as it says"));
    }
    match head[12] {
        // LOCAL: a health check; the addresses are to be ignored.
        0x20 => return Ok(Proxied::Itself),
        0x21 => {}
        command if command >> 4 != 2 => return Err(broken("its version is neither 1 nor 2")),
        _ => return Err(broken("its command is neither LOCAL nor PROXY")),
    }
    let short = broken("it is too short for its addresses");
    match head[13] {
        // TCP over IPv4: source, destination, and their ports.
        0x11 => match rest {
            [a, b, c, d, _, _, _, _, high, low, _, _, ..] => Ok(Proxied::Client(SocketAddr::new(
                Ipv4Addr::new(*a, *b, *c, *d).into(),
                u16::from_be_bytes([*high, *low]),
            ))),
            _ => Err(short),
        },
        // TCP over IPv6.
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let [high, low, _, _] = rest.get(16..20).unwrap_or_default() else {
                return Err(broken("it is too short for its addresses"));
            };
            Ok(Proxied::Client(SocketAddr::new(
                Ipv6Addr::from(*source).into(),
                u16::from_be_bytes([*high, *low]),
            )))
        }
        // UNSPEC, and unix sockets: a client without an address of IP.
        0x00 | 0x31 => Ok(Proxied::Itself),
        _ => Err(broken("its addresses are not of TCP")),
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_BEGIN: &[u8] = b"PROXY ";
/// The shortest header there is: `PROXY UNKNOWN\r\n`.
const FIRST_BYTES: usize = 15;
/// `PROXY TCP6`, two addresses and two ports at their longest, as the format says.
const V1_MAX: usize = 107;
const V2_HEAD: usize = 16;
/// 216 bytes of addresses at most, and TLVs: what TLS said of a client's certificate takes a kilobyte or two.
const V2_REST_MAX: usize = 4096;

#[cfg(test)]
mod tests;
