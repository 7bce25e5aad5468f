//! What is answered to a CA that looks whether a name is ours: tokens over http, certificates over TLS.
//!
//! Written by orders, read by every data thread. Empty for all but some seconds in a month, and then one atomic says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;

use crate::model::HostName;

/// The answers that are awaited.
#[derive(Debug, Default)]
pub struct Challenges {
    count: AtomicUsize,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// By name: each token with what is answered to it. An order has one; there are two while a staging order runs.
    http: HashMap<Box<str>, Vec<Token>>,
    /// By name; the last one stands.
    tls: HashMap<Box<str>, Arc<ServerConfig>>,
}

/// A token, and what is answered to it.
type Token = (Box<str>, Arc<str>);

/// An answer that is given as long as this lives.
#[derive(Debug)]
pub(super) struct Answering {
    challenges: Arc<Challenges>,
    name: Box<str>,
    /// Of http-01; none for tls-alpn-01.
    token: Option<Box<str>>,
}

impl Challenges {
    /// Whether any answer is awaited; this costs a request nothing.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// What is answered to a request for a path of this host, if it is a challenge's (RFC 8555 section 8.3).
    pub fn http(&self, host: &HostName, path: &str) -> Option<Arc<str>> {
        if !self.any() {
            return None;
        }
        let token = path.strip_prefix(HTTP_PATH)?;
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = pending.http.get(host.as_str())?;
        let (_, answer) = tokens.iter().find(|(known, _)| **known == *token)?;
        Some(Arc::clone(answer))
    }

    /// What a handshake for this host answers that is a challenge's (RFC 8737).
    pub fn tls(&self, host: &str) -> Option<Arc<ServerConfig>> {
        if !self.any() {
            return None;
        }
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.tls.get(host).map(Arc::clone)
    }

    /// Answers a token of http-01.
    pub(super) fn answer_http(
        self: &Arc<Self>,
        name: &str,
        token: &str,
        answer: &str,
    ) -> Answering {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = pending.http.entry(name.into()).or_default();
        tokens.push((token.into(), answer.into()));
        self.answering(name, Some(token.into()))
    }

    /// Answers handshakes of tls-alpn-01.
    pub(super) fn answer_tls(self: &Arc<Self>, name: &str, config: Arc<ServerConfig>) -> Answering {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.tls.insert(name.into(), config);
        self.answering(name, None)
    }

    fn answering(self: &Arc<Self>, name: &str, token: Option<Box<str>>) -> Answering {
        self.count.fetch_add(1, Ordering::Relaxed);
        Answering {
            challenges: Arc::clone(self),
            name: name.into(),
            token,
        }
    }
}

/// Once an order has ended, nobody is answered any more.
impl Drop for Answering {
    fn drop(&mut self) {
        let lock = &self.challenges.pending;
        let mut pending = lock.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.token {
            Some(token) => {
                if let Some(tokens) = pending.http.get_mut(&self.name) {
                    tokens.retain(|(known, _)| known != token);
                    if tokens.is_empty() {
                        pending.http.remove(&self.name);
                    }
                }
            }
            None => {
                pending.tls.remove(&self.name);
            }
        }
        self.challenges.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// RFC 8555 section 8.3.
const HTTP_PATH: &str = "/.well-known/acme-challenge/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_to_its_own_host_and_only_while_its_order_lives() {
        let challenges = Arc::new(Challenges::default());
        let host = |name| HostName::parse(name).unwrap();
        let path = "/.well-known/acme-challenge/abc";
        assert!(challenges.http(&host("a.test"), path).is_none());
        let order = challenges.answer_http("a.test", "abc", "abc.thumb");
        let again = challenges.answer_http("a.test", "def", "def.thumb");
        assert_eq!(
            challenges.http(&host("a.test"), path).as_deref(),
            Some("abc.thumb")
        );
        assert!(challenges.http(&host("b.test"), path).is_none());
        assert!(
            challenges
                .http(&host("a.test"), "/.well-known/acme-challenge/ab")
                .is_none()
        );
        assert!(challenges.http(&host("a.test"), "/abc").is_none());
        drop(order);
        assert!(challenges.http(&host("a.test"), path).is_none());
        assert!(
            challenges
                .http(&host("a.test"), "/.well-known/acme-challenge/def")
                .is_some()
        );
        drop(again);
        assert!(!challenges.any());
    }
}
