//! The accept loop of one socket on one data thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection::Connected;
use super::limits::Full;
use super::worker::Worker;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, Scheme};
use crate::report::Refused;

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
            biased;
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
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
                    tokio::time::sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
                Remedy::Fatal => {
                    tracing::error!(%error, address = ?listener.local_addr().ok(), "a listening socket is broken; nothing more is accepted on it");
                    return;
                }
            },
        }
    }
    while let Some(Ok((stream, client))) = accept_queued(&listener).await {
        begin(&worker, stream, client, scheme);
    }
}

/// A connection that is queued already; none where there is none.
async fn accept_queued(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        std::task::Poll::Ready(accepted) => std::task::Poll::Ready(Some(accepted)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

fn begin(worker: &Arc<Worker>, stream: TcpStream, client: SocketAddr, scheme: Scheme) {
    let client = ClientAddr::new(client);
    // A socket that has no local address any more has no client either.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let local = LocalAddr::new(local);
    match worker.limits.enter(client.ip()) {
        Ok(place) => {
            let connected = Connected {
                worker: Arc::clone(worker),
                client,
                local,
                scheme,
            };
            tokio::spawn(async move {
                connected.run(stream).await;
                drop(place);
            });
        }
        Err(full) => {
            let detail = match full {
                Full::Total => "limits.max_connections are open",
                Full::PerIp => "limits.max_connections_per_ip are open from this address",
            };
            worker.thread.edge().report.refused(&Refused {
                detail: Some(detail),
                ..Refused::new(Reason::ConnLimit, client, local, Protocol::Tcp)
            });
        }
    }
}

const BACK_OFF_MIN: Duration = Duration::from_millis(5);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
