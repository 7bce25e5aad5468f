//! One QUIC connection: its handshake, and HTTP/3 on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use quinn::{Incoming, ServerConfig};
use tokio::sync::watch;

use super::transport;
use crate::http::h3;
use crate::listener::open::OpenPlace;
use crate::listener::worker::Worker;
use crate::model::{
    Activity, ClientAddr, Connection, LocalAddr, Protocol, Reason, Refusal, TlsFacts,
};
use crate::tls::{QuicHandshake, QuicKeys, Traced};

/// A connection that arrives.
pub(super) struct Arriving {
    pub(super) worker: Arc<Worker>,
    pub(super) client: ClientAddr,
    pub(super) local: LocalAddr,
    pub(super) keys: QuicKeys,
    pub(super) config: ServerConfig,
    /// The socket's own end.
    pub(super) stop: watch::Receiver<bool>,
}

impl Arriving {
    /// The handshake, within its time and the server's own life. One that fails is told to the error log, and is none.
    pub(super) async fn handshake(
        &self,
        incoming: Incoming,
    ) -> Option<(quinn::Connection, TlsFacts)> {
        let edge = self.worker.thread.edge();
        let table = self.worker.tls.load_full();
        let handshake = QuicHandshake::new(&self.keys, table, self.local);
        let mut config = self.config.clone();
        config.crypto = handshake.crypto();
        config.transport_config(Arc::new(transport(&edge.limits)));
        let accepted = Instant::now();
        let traced = Traced::by(edge.tracer.as_deref(), accepted);
        let tell = |refusal: &Refusal| {
            handshake.tell(&edge.report, traced, self.client, refusal);
        };
        let connecting = match incoming.accept_with(Arc::new(config)) {
            Ok(connecting) => connecting,
            // Anybody can send noise under any address; the log is not theirs to fill (RFC 9001 section 5.2: it is discarded).
            Err(error) if !handshake.has_begun() => {
                tracing::debug!(%error, "a first packet that is none");
                return None;
            }
            Err(error) => {
                handshake.refusal(&error).iter().for_each(tell);
                return None;
            }
        };
        let mut drain = self.worker.thread.drain.watch();
        let begun = poll_fn(|cx| match drain.has_begun(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let timed = tokio::time::timeout(edge.limits.tls_handshake, connecting);
        let outcome = tokio::select! {
            biased;
            outcome = timed => outcome,
            () = begun => {
                let detail = "the server stops, and takes no new connection";
                tell(&Refusal::new(Reason::AppShutdown, detail));
                return None;
            }
        };
        match outcome {
            Ok(Ok(connection)) => {
                let facts = handshake.take_facts();
                debug_assert!(
                    facts.is_some(),
                    "a handshake that is done has settled something"
                );
                let mut facts = facts?;
                facts.handshake = edge.handshake(accepted);
                let report = &edge.report;
                if !report.is_own(self.client, self.local, Protocol::Quic) {
                    (report.metrics()).shook_hands(true, &facts, accepted.elapsed());
                }
                Some((connection, facts))
            }
            Ok(Err(error)) => {
                handshake.refusal(&error).iter().for_each(tell);
                None
            }
            Err(_) => {
                let detail = "the handshake was not done within limits.tls_handshake";
                tell(&Refusal::new(Reason::TlsTimeout, detail));
                None
            }
        }
    }

    /// Speaks HTTP/3.
    pub(super) async fn serve(self, quic: quinn::Connection, facts: TlsFacts, open: OpenPlace) {
        let connection = Arc::new(Connection {
            client: self.client,
            local: self.local,
            tls: Some(facts),
            activity: Activity::default(),
        });
        let thread = Arc::clone(&self.worker.thread);
        open.speaks_quic(&connection, quic.clone());
        let mut cut = self.worker.cut.subscribe();
        let driven = h3::drive(quic.clone(), thread, connection, self.stop);
        tokio::select! {
            biased;
            _ = cut.wait_for(|cut| *cut) => h3::cut(&quic),
            () = driven => {}
        }
    }
}
