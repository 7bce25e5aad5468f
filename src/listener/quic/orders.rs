//! What a listener is told from outside, while it lives.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

/// What a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Take connections.
    Accept,
    /// Take no more, and end with those that there are.
    Finish {
        /// What has not finished then is cut; none: it is somebody else's to cut it.
        within: Option<Duration>,
    },
}

impl Order {
    pub(super) fn is_finish(&self) -> bool {
        matches!(self, Order::Finish { .. })
    }

    pub(super) fn within(self) -> Option<Duration> {
        match self {
            Order::Accept => None,
            Order::Finish { within } => within,
        }
    }
}

/// Waits until connections are to be taken again; for ever, if nobody is left who could say so.
pub(super) async fn resumed(orders: &mut watch::Receiver<Order>) {
    if orders.wait_for(|order| !order.is_finish()).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A listener, for whoever tells it what to do.
pub(in crate::listener) struct Handle {
    /// What it listens on.
    pub(in crate::listener) address: SocketAddr,
    orders: watch::Sender<Order>,
}

impl Handle {
    /// A handle, and where its listener hears what it is told.
    pub(super) fn new(address: SocketAddr) -> (Self, watch::Receiver<Order>) {
        let (orders, heard) = watch::channel(Order::Accept);
        (Self { address, orders }, heard)
    }

    /// Has it take no more connections, and end with the last of them; those are cut after this time, if there is one.
    pub(in crate::listener) fn finish(&self, within: Option<Duration>) {
        self.orders.send_replace(Order::Finish { within });
    }

    /// Has it take connections again; false: it has ended.
    pub(in crate::listener) fn resume(&self) -> bool {
        self.orders.send(Order::Accept).is_ok()
    }

    /// Whether it could still be told something.
    pub(in crate::listener) fn is_running(&self) -> bool {
        !self.orders.is_closed()
    }
}
