//! QUIC on one UDP socket of one data thread: packets become connections, each with a handshake of its own, and what is
//! agreed on is HTTP/3.

mod connection;
mod ids;
mod orders;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};
use tokio::sync::watch;

use self::connection::Arriving;
use self::ids::ThreadIds;
pub(super) use self::orders::Handle;
use self::orders::Order;
use super::datagrams::{Group, RECEIVE_BUFFER_BYTES, make_room};
use super::limits::Full;
use super::worker::Worker;
use crate::config::Limits;
use crate::http::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS_MAX, h3};
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, thread_index};
use crate::report::Refused;
use crate::report::metrics::Accepted;
use crate::tls::QuicKeys;

/// A UDP socket that connections arrive on.
pub(super) struct Listener {
    worker: Arc<Worker>,
    endpoint: Endpoint,
    address: SocketAddr,
    keys: QuicKeys,
    /// What each connection's own configuration is made from.
    config: ServerConfig,
    orders: watch::Receiver<Order>,
    /// Tells the connections of this listener to finish.
    stop: watch::Sender<bool>,
    /// Held until the last connection is gone.
    group: Arc<Group>,
}

impl Listener {
    /// Speaks QUIC on a socket, as it is told by the handle.
    pub(super) fn new(
        worker: &Arc<Worker>,
        socket: UdpSocket,
        group: Arc<Group>,
    ) -> io::Result<(Self, Handle)> {
        let address = socket.local_addr()?;
        warn_of_little_room(&socket, address);
        let keys = QuicKeys::new().map_err(io::Error::other)?;
        let mut config = ServerConfig::with_crypto(Arc::new(keys.clone()));
        config
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX);
        let index = thread_index();
        let mut endpoint = EndpointConfig::default();
        endpoint
            .cid_generator(move || Box::new(ThreadIds::new(index)))
            .supported_versions(vec![VERSION_1]);
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint, Some(config.clone()), socket, runtime)?;
        let (handle, orders) = Handle::new(address);
        let listener = Self {
            worker: Arc::clone(worker),
            endpoint,
            address,
            keys,
            config,
            orders,
            stop: watch::channel(false).0,
            group,
        };
        Ok((listener, handle))
    }

    /// Takes connections until it is told to finish, and ends with the last of them, unless it is told to take more before.
    pub(super) async fn run(mut self) {
        loop {
            if !self.accept().await {
                tracing::error!(address = %self.address, "a UDP socket is broken; nothing more is accepted on it");
                return;
            }
            self.endpoint.set_server_config(None);
            self.stop.send_replace(true);
            if self.finish().await {
                break;
            }
            self.endpoint.set_server_config(Some(self.config.clone()));
            self.stop = watch::channel(false).0;
        }
        // Nothing was waited for since the last look at the orders: one that comes from now on is told that nobody hears it.
        let group = Arc::clone(&self.group);
        drop(self);
        // The socket's own task closes it, when it has its turn; only then may others think that the port is free.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        drop(group);
    }

    /// Takes connections until it is told to finish; whether the socket is whole.
    async fn accept(&mut self) -> bool {
        loop {
            let incoming = tokio::select! {
                biased;
                _ = self.orders.wait_for(Order::is_finish) => return true,
                incoming = self.endpoint.accept() => incoming,
            };
            match incoming {
                Some(incoming) => self.begin(incoming),
                None => return false,
            }
        }
    }

    /// Waits for the connections to finish, and cuts what does not in its time; false: it is to take connections again.
    async fn finish(&mut self) -> bool {
        let within = self.orders.borrow().within();
        {
            let finished = async {
                let idle = self.endpoint.wait_idle();
                match within {
                    Some(within) => tokio::time::timeout(within, idle).await.is_ok(),
                    None => {
                        idle.await;
                        true
                    }
                }
            };
            tokio::select! {
                biased;
                () = orders::resumed(&mut self.orders) => return false,
                finished = finished => if finished {
                    return true;
                },
            }
        }
        tracing::warn!(
            address = %self.address, connections = self.endpoint.open_connections(),
            "HTTP/3 connections were cut that did not finish within server.drain_timeout: no binding has their UDP port any more"
        );
        // What is closed cannot be used again; a listener that is wanted here now is a new one.
        self.orders = watch::channel(Order::Accept).1;
        h3::cut_all(&self.endpoint);
        self.endpoint.wait_idle().await;
        true
    }

    fn begin(&self, incoming: Incoming) {
        let worker = &self.worker;
        let client = ClientAddr::new(incoming.remote_address());
        let ip = incoming.local_ip().unwrap_or(self.address.ip());
        let local = LocalAddr::new(SocketAddr::new(ip, self.address.port()));
        let mut unvalidated = None;
        if !incoming.remote_address_validated() {
            unvalidated = worker.unvalidated.enter();
            if unvalidated.is_none() {
                // An error would mean that it has shown its address already.
                let _ = incoming.retry();
                return;
            }
        }
        // What the server says to itself takes nobody's place.
        let report = &worker.thread.edge().report;
        let place = match report.is_own(client, local, Protocol::Quic) {
            true => Ok(None),
            false => worker.limits.enter(client.ip()).map(Some),
        };
        let place = match place {
            Ok(place) => place,
            Err(Full::Total) => {
                return self.refuse(incoming, client, local, "limits.max_connections are open");
            }
            Err(Full::PerIp) => {
                let detail = "limits.max_connections_per_ip are open from this address";
                return self.refuse(incoming, client, local, detail);
            }
        };
        let Some(handshake) = worker.handshakes.enter() else {
            let detail = "too many TLS handshakes are running";
            return self.refuse(incoming, client, local, detail);
        };
        if place.is_some() {
            (worker.thread.edge().report.metrics()).accepted(Accepted::Quic);
        }
        let arriving = Arriving {
            worker: Arc::clone(worker),
            client,
            local,
            keys: self.keys.clone(),
            config: self.config.clone(),
            stop: self.stop.subscribe(),
        };
        tokio::spawn(async move {
            let open = (arriving.worker.open).enter(client, local, Protocol::Quic);
            if let Some((connection, facts)) = arriving.handshake(incoming).await {
                drop((handshake, unvalidated));
                arriving.serve(connection, facts, open).await;
                drop(place);
            } else if unvalidated.is_some() {
                drop((arriving, handshake, place, open));
                // It has had its line in the error log, under an address that may be anybody's.
                tokio::time::sleep(FAILED_REST).await;
                drop(unvalidated);
            }
        });
    }

    fn refuse(&self, incoming: Incoming, client: ClientAddr, local: LocalAddr, detail: &str) {
        incoming.refuse();
        self.worker.thread.edge().report.refused(&Refused {
            detail: Some(detail),
            ..Refused::new(Reason::ConnLimit, client, local, Protocol::Quic)
        });
    }
}

/// A burst that does not fit is lost, and every loss slows its connection down.
fn warn_of_little_room(socket: &UdpSocket, address: SocketAddr) {
    match make_room(socket) {
        Ok(bytes) if bytes >= RECEIVE_BUFFER_BYTES => {}
        // One line for all threads.
        Ok(bytes) if thread_index() == 0 => tracing::warn!(
            %address, bytes, wanted = RECEIVE_BUFFER_BYTES,
            "the system gives UDP sockets little room, which costs HTTP/3 speed: sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, %address, "a UDP socket's room cannot be set"),
    }
}

/// What QUIC holds a connection to; docs/limits.md has the whole table.
fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    // Longer than the limit itself: a client that lives is told that it was idle, and why.
    let idle = limits.idle_connection.saturating_add(IDLE_GRACE);
    let idle = IdleTimeout::try_from(idle).unwrap_or_else(|_| VarInt::MAX.into());
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(ONE_WAY_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle));
    transport
}

/// First packets that wait for their turn, and what may arrive after them meanwhile; each has its turn at once.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES_MAX: u64 = 8 << 20;

/// QUIC version 1 (RFC 9000); what came before it were drafts.
const VERSION_1: u32 = 1;

/// A client has three: control, and the two of QPACK. The rest is for those that make sure that unknown ones are ignored.
const ONE_WAY_STREAMS_MAX: u32 = 8;

/// Sent and not yet acknowledged, of all streams of a connection: 160 Mbit/s over a line of 100 ms.
const SEND_WINDOW: u64 = 2 << 20;

/// How long a handshake that failed goes on to count as one with a client that has not shown its address: otherwise a flood of
/// those that fail at once would never come to be asked for it, and fill the log with addresses that are made up.
const FAILED_REST: Duration = Duration::from_secs(10);

const IDLE_GRACE: Duration = Duration::from_secs(5);

/// Turns of the runtime in which the tasks of a socket come to their end.
const TURNS: usize = 4;
