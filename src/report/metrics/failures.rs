//! The last handshakes that failed, for whoever asks why a client cannot connect.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::model::{PerThread, Protocol, Reason};
use crate::report::Refused;

/// What each thread remembers.
#[derive(Debug)]
pub(super) struct Failures(PerThread<Mutex<VecDeque<HandshakeFailure>>>);

/// A handshake that failed.
#[derive(Clone, Debug)]
pub struct HandshakeFailure {
    /// When.
    pub time: SystemTime,
    /// What it counts as.
    pub reason: Reason,
    /// Over QUIC, rather than TCP.
    pub quic: bool,
    /// Where the client connected from.
    pub client: IpAddr,
    /// The server name that it asked for.
    pub sni: Option<Box<str>>,
    /// The fingerprint of its ClientHello.
    pub ja4: Option<Box<str>>,
    /// What went wrong, for a person.
    pub detail: Box<str>,
}

impl Failures {
    pub(super) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| Mutex::default()))
    }

    pub(super) fn add(&self, refused: &Refused<'_>) {
        let failure = HandshakeFailure {
            time: SystemTime::now(),
            reason: refused.reason,
            quic: refused.protocol == Protocol::Quic,
            client: refused.client.ip(),
            sni: refused.sni.map(short),
            ja4: refused.ja4.map(short),
            detail: refused.detail.map(short).unwrap_or_default(),
        };
        let mut mine = self.0.mine().lock().unwrap_or_else(PoisonError::into_inner);
        if mine.len() >= FAILURES_MAX {
            mine.pop_front();
        }
        mine.push_back(failure);
    }

    /// All that are remembered, the latest first.
    pub(super) fn latest(&self) -> Vec<HandshakeFailure> {
        let mut all = Vec::new();
        for thread in self.0.iter() {
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(thread.iter().cloned());
        }
        all.sort_by_key(|failure| std::cmp::Reverse(failure.time));
        all
    }
}

/// A name has 255 bytes at most; what clients send beyond that is not worth remembering.
fn short(text: &str) -> Box<str> {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text[..end].into()
}

/// Remembered by each data thread; of more the oldest are forgotten.
pub const FAILURES_MAX: usize = 256;

/// Kept of each text.
const TEXT_BYTES_MAX: usize = 256;
