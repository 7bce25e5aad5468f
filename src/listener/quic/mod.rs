//! QUIC on one UDP socket of one data thread: packets become connections, each with a handshake of its own, and what is
//! agreed on is HTTP/3.

mod connection;
mod ids;

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
use super::datagrams::{RECEIVE_BUFFER_BYTES, make_room};
use super::limits::Full;
use super::worker::Worker;
use crate::config::Limits;
use crate::model::{ClientAddr, LocalAddr, Protocol, Reason, thread_index};
use crate::report::Refused;
use crate::tls::QuicKeys;

/// A UDP socket that connections arrive on.
pub(super) struct Listener {
    worker: Arc<Worker>,
    endpoint: Endpoint,
    address: SocketAddr,
    keys: QuicKeys,
    /// What each connection's own configuration is made from.
    config: ServerConfig,
    stop: watch::Receiver<bool>,
}

impl Listener {
    /// Speaks QUIC on a socket, until told to stop.
    pub(super) fn new(
        worker: &Arc<Worker>,
        socket: UdpSocket,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
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
        Ok(Self {
            worker: Arc::clone(worker),
            endpoint,
            address,
            keys,
            config,
            stop,
        })
    }

    /// Takes connections. Those that are there when it ends are told to finish, and keep the socket until they have.
    pub(super) async fn run(mut self) {
        loop {
            let incoming = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                incoming = self.endpoint.accept() => incoming,
            };
            match incoming {
                Some(incoming) => self.begin(incoming),
                None => {
                    tracing::error!(address = %self.address, "a UDP socket is broken; nothing more is accepted on it");
                    return;
                }
            }
        }
        self.endpoint.set_server_config(None);
        drop(self);
        // The socket's own task closes it, when it has its turn.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
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
        let place = match worker.limits.enter(client.ip()) {
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
        let arriving = Arriving {
            worker: Arc::clone(worker),
            client,
            local,
            keys: self.keys.clone(),
            config: self.config.clone(),
            stop: self.stop.clone(),
        };
        tokio::spawn(async move {
            if let Some((connection, facts)) = arriving.handshake(incoming).await {
                drop((handshake, unvalidated));
                arriving.serve(connection, facts).await;
            }
            drop(place);
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

/// As HTTP/2 has them here.
const STREAMS_MAX: u32 = 128;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A client has three: control, and the two of QPACK. The rest is for those that make sure that unknown ones are ignored.
const ONE_WAY_STREAMS_MAX: u32 = 8;

/// Sent and not yet acknowledged, of all streams of a connection: 160 Mbit/s over a line of 100 ms.
const SEND_WINDOW: u64 = 2 << 20;

const IDLE_GRACE: Duration = Duration::from_secs(5);

/// Turns of the runtime in which the tasks of a socket come to their end.
const TURNS: usize = 4;
