//! Tickets: sessions that clients keep for us, encrypted.
//!
//! ```text
//! name (16) │ nonce (12) │ encrypted: issued (8), session │ tag (16)
//! ```
//!
//! - A key belongs to one binding and to what that binding asks of a handshake ([`Identity`]): a session of one never resumes
//!   in another (CVE-2025-23419), and not after a reload that asks for something else.
//! - A key of our own encrypts for one rotation and is known for one more; a ticket lives for one rotation. So each ticket
//!   lives as long as it says, and no longer. Keys turn when the first handshake after their time comes.
//! - Keys from files are derived for each binding, and do not turn: whoever put the files there does that.
//! - AES-256-GCM-SIV (RFC 8452) with random nonces: unlike GCM it survives that two are alike, which machines that share a key
//!   for months come to.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::certificate::TicketKey;
use crate::model::BindingKey;

/// Whose a session is: a binding, and all that it asks of a handshake. Two that differ in anything share no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity(Vec<u8>);

/// How a binding resumes sessions. What stays the same over a reload keeps its keys.
pub(super) struct Sessions {
    identity: Identity,
    rotation: Duration,
    shared: Vec<Arc<TicketKey>>,
    /// None where no session is resumed.
    tickets: Option<Arc<Tickets>>,
}

/// Makes tickets, and reads them.
pub(super) struct Tickets {
    lifetime: u64,
    keys: ArcSwap<Keys>,
    /// Held while keys turn, so that they do so once.
    turning: Mutex<()>,
    clock: Clock,
}

/// The first encrypts, all decrypt.
struct Keys {
    known: Vec<Arc<Key>>,
    /// Since when the first encrypts; none where keys do not turn.
    since: Option<u64>,
}

struct Key {
    name: [u8; NAME_BYTES],
    aead: LessSafeKey,
}

/// Seconds since 1970.
type Clock = fn() -> u64;

impl Identity {
    /// A binding's, of which nothing is asked yet.
    pub(super) fn of(binding: &BindingKey) -> Self {
        Self(Vec::new()).and("binding", binding.to_string())
    }

    /// With one thing more that its binding asks of a handshake.
    pub(super) fn and(mut self, what: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [what.as_bytes(), value.as_ref()] {
            // With its length before it, no value can be taken for another.
            self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
            self.0.extend_from_slice(part);
        }
        self
    }
}

impl Sessions {
    /// Sessions of a binding; `old` is what the same binding had before.
    pub(super) fn new(
        identity: Identity,
        rotation: Duration,
        shared: Vec<Arc<TicketKey>>,
        old: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let old = old.filter(|old| old.identity == identity && old.shared == shared);
        let tickets = match old {
            _ if rotation.is_zero() => None,
            Some(old) if old.rotation == rotation => old.tickets.clone(),
            old => {
                let keys = match old.and_then(|old| old.tickets.as_ref()) {
                    Some(tickets) => tickets.keys.load_full(),
                    None => Arc::new(Keys::new(&identity, &shared, wall_clock())?),
                };
                Some(Arc::new(Tickets::new(keys, rotation, wall_clock)))
            }
        };
        Ok(Self {
            identity,
            rotation,
            shared,
            tickets,
        })
    }

    /// What makes the tickets; none where no session is resumed.
    pub(super) fn ticketer(&self) -> Option<Arc<dyn ProducesTickets>> {
        let tickets = self.tickets.as_ref()?;
        Some(Arc::clone(tickets) as Arc<dyn ProducesTickets>)
    }
}

impl Tickets {
    fn new(keys: Arc<Keys>, rotation: Duration, clock: Clock) -> Self {
        Self {
            lifetime: rotation.as_secs(),
            keys: ArcSwap::new(keys),
            turning: Mutex::default(),
            clock,
        }
    }

    /// The keys of this moment.
    fn keys(&self, now: u64) -> Guard<Arc<Keys>> {
        let keys = self.keys.load();
        if !keys.are_due(now, self.lifetime) {
            return keys;
        }
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys.load();
        if keys.are_due(now, self.lifetime)
            // Without randomness nothing is encrypted anyhow; the next handshake tries again.
            && let Ok(turned) = keys.turned(now, self.lifetime)
        {
            self.keys.store(Arc::new(turned));
        }
        self.keys.load()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > SESSION_BYTES_MAX {
            return None;
        }
        let now = (self.clock)();
        self.keys(now).known.first()?.seal(now, session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > SESSION_BYTES_MAX + OVERHEAD_BYTES {
            return None;
        }
        let now = (self.clock)();
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let keys = self.keys(now);
        let key = keys.known.iter().find(|key| key.name == *name)?;
        let opened = key.open(rest)?;
        let (issued, session) = opened.split_first_chunk::<ISSUED_BYTES>()?;
        let issued = u64::from_be_bytes(*issued);
        let lives = now < issued.saturating_add(self.lifetime) && issued <= now + CLOCK_SKEW;
        lives.then(|| session.to_vec())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl Keys {
    fn new(
        identity: &Identity,
        shared: &[Arc<TicketKey>],
        now: u64,
    ) -> Result<Self, rustls::Error> {
        let unusable = |_| rustls::Error::General("no ticket key can be made".to_owned());
        let mut known = Vec::new();
        for file in shared {
            let key = Key::derived(file.secret(), identity).map_err(unusable)?;
            known.push(Arc::new(key));
        }
        let since = known.is_empty().then_some(now);
        if known.is_empty() {
            known.push(Arc::new(Key::random().map_err(unusable)?));
        }
        Ok(Self { known, since })
    }

    /// Whether the first has encrypted for long enough. A clock that was set back must not keep it for longer.
    fn are_due(&self, now: u64, rotation: u64) -> bool {
        self.since
            .is_some_and(|since| now >= since + rotation || now + CLOCK_SKEW < since)
    }

    /// With a fresh one before the first; what was before that is forgotten, and so is the first, once no ticket of its lives.
    fn turned(&self, now: u64, rotation: u64) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut known = vec![Arc::new(Key::random()?)];
        let lived = now.saturating_sub(self.since.unwrap_or(now));
        if lived < rotation * 2 {
            known.extend(self.known.first().cloned());
        }
        Ok(Self {
            known,
            since: Some(now),
        })
    }
}

impl Key {
    fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = Zeroizing::new([0; KEY_MATERIAL_BYTES]);
        rand::fill(&mut *bytes)?;
        Self::of(&bytes)
    }

    /// From what a file holds, for one binding alone (HKDF, RFC 5869).
    fn derived(secret: &[u8], whose: &Identity) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = Zeroizing::new([0; KEY_MATERIAL_BYTES]);
        Salt::new(HKDF_SHA256, b"Portunus session tickets, 1")
            .extract(secret)
            .expand(&[&whose.0], KeyMaterial)?
            .fill(&mut *bytes)?;
        Self::of(&bytes)
    }

    fn of(material: &[u8; KEY_MATERIAL_BYTES]) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let (name, key) = material.split_at(NAME_BYTES);
        let mut own = [0; NAME_BYTES];
        own.copy_from_slice(name);
        Ok(Self {
            name: own,
            aead: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key)?),
        })
    }

    fn seal(&self, now: u64, session: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(session.len() + OVERHEAD_BYTES);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(session);
        let (_, secret) = ticket.split_at_mut(NAME_BYTES + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .aead
            .seal_in_place_separate_tag(nonce, Aad::from(self.name), secret)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// What a ticket holds behind its name, if it is one of ours: when it was issued, and the session.
    fn open(&self, rest: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, secret) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = Zeroizing::new(secret.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .aead
            .open_in_place(nonce, Aad::from(self.name), &mut opened)
            .ok()?
            .len();
        opened.truncate(plain);
        Some(opened)
    }
}

/// How much is derived for a key.
struct KeyMaterial;

impl KeyType for KeyMaterial {
    fn len(&self) -> usize {
        KEY_MATERIAL_BYTES
    }
}

fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

const NAME_BYTES: usize = 16;
const ISSUED_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const KEY_MATERIAL_BYTES: usize = NAME_BYTES + 32;
const OVERHEAD_BYTES: usize = NAME_BYTES + NONCE_LEN + ISSUED_BYTES + TAG_BYTES;

/// A session is about a hundred bytes, and the certificates of a client that has shown some. One that has more is not resumed:
/// it would send all of them back in its ClientHello.
const SESSION_BYTES_MAX: usize = 8 << 10;

/// By how much the clocks of machines that share keys may differ.
const CLOCK_SKEW: u64 = 300;

#[cfg(test)]
mod tests;
