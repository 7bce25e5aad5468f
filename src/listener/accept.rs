//! The accept loop of one socket on one data thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection::Connected;
use super::sockets::BACKLOG;
use super::worker::Worker;
use crate::model::{ClientAddr, LocalAddr, Protocol, Scheme};
use crate::report::metrics::Accepted;

/// What a failed accept calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// The connection is gone; the next one may be fine.
    Retry,
    /// The process or the system is out of something; connections that end give it back.
    BackOff,
    /// The socket itself is broken.
    Fatal,
}

fn remedy(error: &io::Error) -> Remedy {
    let Some(code) = error.raw_os_error() else {
        return Remedy::Fatal;
    };
    match Errno::from_raw(code) {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Remedy::BackOff,
        Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EOPNOTSUPP | Errno::EFAULT => {
            Remedy::Fatal
        }
        // ECONNABORTED, EINTR, EPERM (a firewall), and the network errors that accept(2) passes on from the new socket.
        _ => Remedy::Retry,
    }
}

/// Accepts until told to stop; what is queued by then is still accepted.
pub(super) async fn run(
    worker: Arc<Worker>,
    listener: TcpListener,
    scheme: Scheme,
    mut stop: watch::Receiver<bool>,
) {
    let mut back_off = BACK_OFF_MIN;
    loop {
        let accepted = tokio::select! {
            // To stop comes first: under a steady stream of connections there is always one more to accept.
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                back_off = BACK_OFF_MIN;
                begin(&worker, stream, client, scheme);
            }
            Err(error) => match remedy(&error) {
                Remedy::Retry => {
                    tracing::debug!(%error, "a connection was gone before it was accepted")
                }
                Remedy::BackOff => {
                    worker.warn_accept(&error);
                    let woken = stop.wait_for(|stop| *stop);
                    // Whichever comes first: the loop looks at `stop` again by itself.
                    let _ = tokio::time::timeout(back_off, woken).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
                Remedy::Fatal => {
                    tracing::error!(%error, address = ?listener.local_addr().ok(), "a listening socket is broken; nothing more is accepted on it");
                    return;
                }
            },
        }
    }
    // The system has told of those who came up to the last look at it; this is another look.
    tokio::task::yield_now().await;
    // No more than could have been queued when the stop came: those who come later must not keep the socket open.
    for _ in 0..BACKLOG {
        match accept_queued(&listener).await {
            Some(Ok((stream, client))) => begin(&worker, stream, client, scheme),
            Some(Err(error)) if remedy(&error) == Remedy::Retry => {}
            Some(Err(_)) | None => break,
        }
    }
}

/// A connection that is queued already; none where there is none.
async fn accept_queued(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    let queued = std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    });
    // A task that has done much is told to wait though there is something: here that would be taken for an empty queue.
    tokio::task::coop::unconstrained(queued).await
}

fn begin(worker: &Arc<Worker>, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    let client = ClientAddr::new(peer);
    // A socket that has no local address any more has no client either.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let connected = Connected {
        worker: Arc::clone(worker),
        client,
        local: LocalAddr::new(local),
        scheme,
    };
    let edge = worker.thread.edge();
    // No balancer stands before what the server says to itself, and it takes nobody's place.
    if edge.report.is_own(client, connected.local, Protocol::Tcp) {
        tokio::spawn(connected.run(stream));
        return;
    }
    let kind = match scheme {
        Scheme::Http => Accepted::Cleartext,
        Scheme::Https => Accepted::Tls,
    };
    if edge.balancers.trusts(connected.local, client.ip()) {
        match worker.limits.enter_unnamed() {
            Ok(place) => {
                edge.report.metrics().accepted(kind);
                drop(tokio::spawn(connected.run_proxied(stream, place)));
            }
            Err(full) => connected.turn_away(stream, full),
        }
        return;
    }
    match worker.limits.enter(client.ip()) {
        Ok(place) => {
            edge.report.metrics().accepted(kind);
            drop(tokio::spawn(async move {
                connected.run(stream).await;
                drop(place);
            }));
        }
        Err(full) => connected.turn_away(stream, full),
    }
}

const BACK_OFF_MIN: Duration = Duration::from_millis(5);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
