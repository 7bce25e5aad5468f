//! Those who listen to what happens (`GET /v1/events`, server-sent events): few, each with a queue of its own that is short. Who
//! does not take what he is sent has his connection closed, and comes again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{Notify, mpsc};

/// The listeners of one admin socket.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<Listener>>);

struct Listener {
    queue: mpsc::Sender<Bytes>,
    /// Closes the connection.
    hang_up: Arc<Notify>,
    /// The session that it listens by, where there are sessions.
    session: Option<String>,
}

/// The content of an answer that goes on.
pub(super) struct Stream(mpsc::Receiver<Bytes>);

impl Listeners {
    /// One more, who is told `first` at once; none where there are as many as may be.
    pub(super) fn join(
        &self,
        first: Bytes,
        hang_up: &Arc<Notify>,
        session: Option<&str>,
    ) -> Option<Stream> {
        let mut all = self.lock();
        all.retain(|listener| !listener.queue.is_closed());
        if all.len() >= LISTENERS_MAX {
            return None;
        }
        let (queue, stream) = mpsc::channel(QUEUE_MAX);
        // It is new, and has room.
        let _ = queue.try_send(first);
        all.push(Listener {
            queue,
            hang_up: Arc::clone(hang_up),
            session: session.map(str::to_owned),
        });
        Some(Stream(stream))
    }

    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        let mut all = self.lock();
        all.retain(|listener| !listener.queue.is_closed());
        all.is_empty()
    }

    /// Tells all who still may listen; the connections of others, and of those whose queue is full, are closed.
    pub(super) fn tell(&self, event: &Bytes, may_listen: impl Fn(Option<&str>) -> bool) {
        self.lock().retain(|listener| {
            let told = may_listen(listener.session.as_deref())
                && listener.queue.try_send(event.clone()).is_ok();
            if !told {
                listener.hang_up.notify_one();
            }
            told
        });
    }

    /// Nothing is left half done under this lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event as it is sent. `data` has no line ends but its last.
pub(super) fn event(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {}\n\n", data.trim_end()))
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(context);
        next.map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A comment, which is for the connection alone.
pub(super) const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");
/// Pages that are open at once.
pub(super) const LISTENERS_MAX: usize = 8;
/// Events that wait for a listener, beside what the connection holds.
const QUEUE_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn first() -> Bytes {
        event("state", "{}\n")
    }

    #[test]
    fn there_are_no_more_listeners_than_may_be() {
        let (listeners, hang_up) = (Listeners::default(), Arc::new(Notify::new()));
        let join = || listeners.join(first(), &hang_up, None);
        let mut all: Vec<_> = (0..LISTENERS_MAX).filter_map(|_| join()).collect();
        assert_eq!(all.len(), LISTENERS_MAX);
        assert!(join().is_none());
        // One who has gone makes room.
        all.pop();
        assert!(join().is_some());
    }

    #[tokio::test]
    async fn who_does_not_take_what_he_is_sent_is_dropped_and_others_are_not() {
        let (listeners, slow, quick) = (Listeners::default(), Arc::default(), Arc::default());
        let _silent = listeners.join(first(), &slow, None).expect("room");
        let mut takes = listeners.join(first(), &quick, None).expect("room");
        for _ in 0..QUEUE_MAX {
            listeners.tell(&STILL_HERE, |_| true);
            takes.frame().await.expect("an event").expect("infallible");
        }
        slow.notified().await;
        listeners.tell(&STILL_HERE, |_| true);
        takes.frame().await.expect("an event").expect("infallible");
        drop(takes);
        assert!(listeners.is_empty());
    }

    #[tokio::test]
    async fn who_is_logged_out_hears_no_more() {
        let (listeners, hang_up) = (Listeners::default(), Arc::default());
        let mut stream = listeners
            .join(first(), &hang_up, Some("mine"))
            .expect("room");
        let told = stream.frame().await.expect("an event").expect("infallible");
        let told = told.into_data().expect("content");
        assert_eq!(told, "event: state\ndata: {}\n\n");
        listeners.tell(&STILL_HERE, |session| session != Some("mine"));
        hang_up.notified().await;
        assert!(stream.frame().await.is_none());
    }
}
