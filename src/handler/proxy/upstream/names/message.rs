//! The messages of DNS (RFC 1035 section 4): a question, and what is in a reply to it. Nothing else of DNS is spoken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6 (RFC 3596).
    Aaaa,
    /// Where a service is (RFC 2782).
    Srv,
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The addresses, and for how many seconds they are good; there may be none.
    Addresses(Vec<IpAddr>, u32),
    /// Where the service is, and for how many seconds that is good; there may be nobody.
    Services(Vec<Service>, u32),
    /// There is no such name.
    NoName,
    /// It did not fit; it is to be asked for over TCP.
    Truncated,
    /// It failed or would not say: its code (RFC 1035 section 4.1.1, RCODE).
    Failed(u8),
}

/// One who has a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Those with a lower number are asked first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name, without a dot at its end; empty: the service is decidedly not there.
    pub target: String,
}

/// What came is no reply to the question, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAReply;

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => SRV,
        }
    }
}

/// A question for a name that begins at the root. None if the name cannot be written.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    // One question; recursion is desired.
    message.extend([0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if length == 0 || length > LABEL_MAX {
            return None;
        }
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() - HEADER > NAME_MAX {
        return None;
    }
    message.extend(kind.number().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(message)
}

/// Reads what came in reply to `question`.
pub fn reply(question: &[u8], message: &[u8]) -> Result<Reply, NotAReply> {
    let mut reader = Reader { message, at: 0 };
    let mut asked = Reader {
        message: question,
        at: HEADER,
    };
    let id = reader.number()?;
    let flags = reader.number()?;
    let counts = [reader.number()?, reader.number()?];
    reader.take(4)?;
    // Somebody who does not see our questions must guess the id, and from which port it was asked.
    let is_ours = question.get(..2) == Some(&id.to_be_bytes()[..]);
    if !is_ours || flags & IS_REPLY == 0 || flags & OPCODE != 0 || counts[0] != 1 {
        return Err(NotAReply);
    }
    let name = asked.name()?;
    let (kind, class) = (asked.number()?, asked.number()?);
    if reader.name()? != name || reader.number()? != kind || reader.number()? != class {
        return Err(NotAReply);
    }
    match (flags & RCODE) as u8 {
        _ if flags & IS_TRUNCATED != 0 => return Ok(Reply::Truncated),
        0 => {}
        NXDOMAIN => return Ok(Reply::NoName),
        code => return Ok(Reply::Failed(code)),
    }
    let mut records = Vec::new();
    for _ in 0..counts[1] {
        records.push(reader.record()?);
    }
    Ok(at_the_end(name, kind, &records))
}

/// What is at the end of a name's aliases; good for as long as all that led to it.
fn at_the_end(mut name: Vec<u8>, kind: u16, records: &[Record<'_>]) -> Reply {
    let mut ttl = u32::MAX;
    for _ in 0..ALIASES_MAX {
        let alias = records
            .iter()
            .find(|record| record.kind == CNAME && record.owner == name);
        let Some(alias) = alias else { break };
        let mut reader = Reader {
            message: alias.message,
            at: alias.at,
        };
        let Ok(target) = reader.name() else { break };
        ttl = ttl.min(alias.ttl);
        name = target;
    }
    let (mut addresses, mut services) = (Vec::new(), Vec::new());
    for record in records {
        if record.kind != kind || record.owner != name {
            continue;
        }
        let found = match kind {
            SRV => record.service().map(|service| services.push(service)),
            _ => record.address().map(|address| addresses.push(address)),
        };
        if found.is_some() {
            ttl = ttl.min(record.ttl);
        }
    }
    match kind {
        SRV => Reply::Services(services, ttl),
        _ => Reply::Addresses(addresses, ttl),
    }
}

struct Record<'m> {
    message: &'m [u8],
    owner: Vec<u8>,
    kind: u16,
    ttl: u32,
    /// Where its data begin; a name in them may point to before.
    at: usize,
    data: &'m [u8],
}

impl Record<'_> {
    /// A target whose name nobody could ask for is none.
    fn service(&self) -> Option<Service> {
        let mut reader = Reader {
            message: self.message,
            at: self.at,
        };
        let (priority, weight) = (reader.number().ok()?, reader.number().ok()?);
        let port = reader.number().ok()?;
        let name = reader.name().ok()?;
        if reader.at != self.at + self.data.len() {
            return None;
        }
        Some(Service {
            priority,
            weight,
            port,
            target: dotted(&name)?,
        })
    }

    fn address(&self) -> Option<IpAddr> {
        match self.kind {
            1 => <[u8; 4]>::try_from(self.data)
                .ok()
                .map(|octets| Ipv4Addr::from(octets).into()),
            _ => <[u8; 16]>::try_from(self.data)
                .ok()
                .map(|octets| Ipv6Addr::from(octets).into()),
        }
    }
}

/// A name as people write it.
fn dotted(name: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = name;
    while let Some((length, more)) = rest.split_first() {
        let (label, behind) = more.split_at_checked(usize::from(*length))?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !label.iter().all(plain) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
        rest = behind;
    }
    Some(text)
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Result<&'m [u8], NotAReply> {
        let end = self.at.checked_add(length).ok_or(NotAReply)?;
        let taken = self.message.get(self.at..end).ok_or(NotAReply)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NotAReply> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self) -> Result<u16, NotAReply> {
        let taken = self.take(2)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// A name in lower case, its labels each behind its length. A pointer leads backwards alone, so that none leads in a circle.
    fn name(&mut self) -> Result<Vec<u8>, NotAReply> {
        let mut name = Vec::new();
        let mut before = self.at;
        let mut behind = None;
        loop {
            let length = self.byte()?;
            match length {
                0 => break,
                1..=LABEL_MAX => {
                    name.push(length);
                    name.extend(self.take(length.into())?.to_ascii_lowercase());
                    if name.len() > NAME_MAX {
                        return Err(NotAReply);
                    }
                }
                POINTER.. => {
                    let target = usize::from(length & !POINTER) << 8 | usize::from(self.byte()?);
                    behind.get_or_insert(self.at);
                    if target >= before {
                        return Err(NotAReply);
                    }
                    before = target;
                    self.at = target;
                }
                _ => return Err(NotAReply),
            }
        }
        if let Some(behind) = behind {
            self.at = behind;
        }
        Ok(name)
    }

    fn record(&mut self) -> Result<Record<'m>, NotAReply> {
        let owner = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let ttl = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        let length = self.number()?;
        let at = self.at;
        Ok(Record {
            message: self.message,
            owner,
            // Of another class it is nothing to us.
            kind: if class == CLASS_IN { kind } else { 0 },
            // RFC 2181 section 8: one with the highest bit set is none.
            ttl: if ttl >> 31 == 0 { ttl } else { 0 },
            at,
            data: self.take(length.into())?,
        })
    }
}

const HEADER: usize = 12;
const LABEL_MAX: u8 = 63;
/// RFC 1035 section 2.3.4.
const NAME_MAX: usize = 255;
const POINTER: u8 = 0xc0;
const CLASS_IN: u16 = 1;
const CNAME: u16 = 5;
const SRV: u16 = 33;
const IS_REPLY: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const IS_TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;
const NXDOMAIN: u8 = 3;

/// Names that lead to names that lead to addresses: nobody means more than these.
const ALIASES_MAX: usize = 16;
