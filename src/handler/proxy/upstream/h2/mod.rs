//! HTTP/2 to an upstream, over `h2c://` or where ALPN settles on it: many requests share a connection of their data thread.
//!
//! The connection is moved along by a task of its own, since no request owns it. A stream is reset with CANCEL when whoever has
//! its request or its response lets go of it: when the client has gone, that is.

mod download;
mod exchange;
mod head;
mod pump;
mod session;
mod watched;

use std::sync::atomic::Ordering::Relaxed;

use http::Response;
use tokio::time::Instant;

use self::exchange::{Failed, exchange};
use self::session::Place;
pub(super) use self::session::Sessions;
use super::{Attempt, Ends, Offer, Stream, Upstream};
use crate::config::UpstreamScheme;
use crate::handler::notes::Notes;
use crate::handler::proxy::outbound::Outbound;
use crate::model::journal::AttemptStep;
use crate::model::{Body, Reason, Refusal};

/// What a request without a session can go by.
enum Joined {
    Session(Place),
    /// The upstream speaks HTTP/1.1 after all.
    Stream(Stream),
}

impl Upstream {
    /// Sends the request over HTTP/2, or over HTTP/1.1 if that is what an `https://` upstream speaks.
    pub(super) async fn over_http2(
        &self,
        outbound: &mut Outbound,
    ) -> Result<Response<Body>, Attempt> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let place = match self.sessions.mine().place() {
                Some(place) => {
                    outbound.notes.note(|| AttemptStep::Kept);
                    place
                }
                None => {
                    if self.scheme == Some(UpstreamScheme::Https)
                        && let Some(head) = self.over_kept(outbound).await?
                    {
                        return self.answer(head, outbound);
                    }
                    let began = Instant::now();
                    let joined = self.join(outbound.ends, &outbound.notes);
                    let joined = self.within_connect_timeout(joined).await?;
                    outbound.notes.connected(began.elapsed());
                    match joined {
                        Joined::Session(place) => place,
                        Joined::Stream(stream) => {
                            let head = self.over_new(stream, outbound).await?;
                            return self.answer(head, outbound);
                        }
                    }
                }
            };
            match exchange(place, outbound, self).await {
                Ok(response) => return Ok(response),
                Err(Failed::Again(refusal)) => {
                    outbound.notes.note(|| AttemptStep::Stale);
                    last = Some(refusal);
                }
                Err(Failed::Final(refusal)) => return Err(Attempt::Final(refusal)),
            }
        }
        Err(Attempt::Elsewhere(last.unwrap_or_else(|| {
            Refusal::new(Reason::Internal, "a request was tried not once")
        })))
    }

    /// A place on a session. Whoever comes while one is being made waits for it, and most likely shares it.
    async fn join(&self, ends: Option<Ends>, notes: &Notes) -> Result<Joined, Refusal> {
        let sessions = self.sessions.mine();
        // An upstream that speaks HTTP/1.1, or is told of clients, needs a connection for each: nobody waits for another.
        let _turn = match self.prefers_http1.load(Relaxed) || self.connector.announces() {
            true => None,
            false => Some(sessions.turn().await),
        };
        if let Some(place) = sessions.place() {
            notes.note(|| AttemptStep::Kept);
            return Ok(Joined::Session(place));
        }
        let stream = (self.connector).connect(&self.name, Offer::Any, ends, notes);
        let stream = stream.await?;
        let http1 = self.scheme == Some(UpstreamScheme::Https) && !stream.settled_on_http2();
        if self.prefers_http1.load(Relaxed) != http1 {
            self.prefers_http1.store(http1, Relaxed);
        }
        if http1 {
            return Ok(Joined::Stream(stream));
        }
        match sessions.add(stream).await {
            Ok(place) => Ok(Joined::Session(place)),
            Err(error) => {
                let detail = format!("{}: {}", self.name, super::failure::told(&error));
                Err(Refusal::new(Reason::UpstreamConnect, detail))
            }
        }
    }
}

/// Sessions that a request is given to before it is given up: all but the last may have been at their end without our knowing.
const TRIES_MAX: usize = 4;
