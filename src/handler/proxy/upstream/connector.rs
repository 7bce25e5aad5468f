//! How an upstream is reached.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::announce::{self, Ends};
use super::dial::dial;
use super::names::{Lookup, Names, Origin};
use super::stream::{Carrier, Stream};
use super::tls::{self, Offer, TlsClients};
use crate::config::{self, ProxyProtocol};
use crate::handler::notes::Notes;
use crate::model::journal::AttemptStep;
use crate::model::{Reason, Refusal};

/// Makes connections to an upstream.
pub(in crate::handler) struct Connector {
    place: Place,
    tls: Option<Tls>,
    /// How a connection begins by saying who its client is.
    announced: Option<ProxyProtocol>,
}

enum Place {
    Address(SocketAddr),
    Name {
        names: Arc<Names>,
        /// Which of its addresses is next: connections are spread over them.
        turn: AtomicUsize,
    },
    Unix(PathBuf),
}

struct Tls {
    clients: TlsClients,
    /// Whom we want to speak to: asked for by SNI, and looked for in the certificate.
    server: ServerName<'static>,
}

impl Connector {
    pub(super) fn new(
        name: &config::Upstream,
        proxy: &config::Proxy,
        clients: Option<&TlsClients>,
    ) -> Self {
        let tls = |scheme, host: &str| match (scheme, clients) {
            (config::UpstreamScheme::Https, Some(clients)) => {
                let server = proxy.tls.server_name.as_deref().unwrap_or(host);
                Some(Tls {
                    clients: clients.clone(),
                    server: tls::server_name(server),
                })
            }
            _ => None,
        };
        let tls = match name {
            config::Upstream::Unix(_) => None,
            config::Upstream::Net { scheme, host, .. } => tls(*scheme, host),
            // The names of its targets come from whoever answers for the domain: certificates are for that (RFC 6125, 6.2.1).
            config::Upstream::Service { scheme, name } => tls(*scheme, name.domain()),
        };
        Self {
            place: Place::of(name, &proxy.resolvers),
            tls,
            announced: proxy.telling.proxy_protocol,
        }
    }

    /// Whether each connection is one client's.
    pub(super) fn announces(&self) -> bool {
        self.announced.is_some()
    }

    /// Without TLS, and with names looked up as this system does.
    pub(in crate::handler) fn plain(name: &config::Upstream) -> Self {
        Self {
            place: Place::of(name, &[]),
            tls: None,
            announced: None,
        }
    }

    /// A connection without TLS.
    pub(in crate::handler) async fn connect_plain(
        &self,
        name: &config::Upstream,
        notes: &Notes,
    ) -> Result<Stream, Refusal> {
        self.connect(name, Offer::Http1, None, notes).await
    }

    /// A connection: to the first of its addresses that takes one, and with a handshake where there has to be one.
    pub(super) async fn connect(
        &self,
        name: &config::Upstream,
        offer: Offer,
        ends: Option<Ends>,
        notes: &Notes,
    ) -> Result<Stream, Refusal> {
        let cannot = |why: String| {
            let detail = format!("{name} cannot be connected to: {why}");
            Refusal::new(Reason::UpstreamConnect, detail)
        };
        let refused = |error: io::Error| cannot(error.to_string());
        let (mut stream, origin) = match &self.place {
            Place::Unix(path) => {
                let mut stream = UnixStream::connect(path).await.map_err(refused)?;
                notes.note(|| AttemptStep::Connected { to: None });
                self.announce(&mut stream, ends).await.map_err(refused)?;
                return Ok(Stream::new(Carrier::Unix(stream), Origin::fixed()));
            }
            Place::Address(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                (stream, Origin::fixed())
            }
            Place::Name { names, turn } => {
                let spots = names.spots().await;
                let spots =
                    spots.map_err(|why| cannot(format!("its name cannot be looked up: {why}")))?;
                let turn = turn.fetch_add(1, Relaxed);
                let stream = dial(&spots, turn).await.map_err(refused)?;
                let address = stream.peer_addr().map_err(refused)?;
                (stream, names.origin(address))
            }
        };
        notes.note(|| AttemptStep::Connected {
            to: stream.peer_addr().ok(),
        });
        // Heads and pieces are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        // Before the handshake: what stands between reads it, and not the TLS.
        self.announce(&mut stream, ends).await.map_err(refused)?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::new(Carrier::Tcp(stream), origin));
        };
        match tls.clients.connect(&tls.server, offer, stream).await {
            Ok(stream) => {
                notes.note(|| AttemptStep::Secured {
                    version: tls::version(stream.get_ref().1),
                });
                Ok(Stream::new(Carrier::Tls(Box::new(stream)), origin))
            }
            Err(error) => Err(tls::refusal(name, &tls.server, &error)),
        }
    }

    async fn announce(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        ends: Option<Ends>,
    ) -> io::Result<()> {
        match self.announced {
            Some(version) => stream.write_all(&announce::header(version, ends)).await,
            None => Ok(()),
        }
    }
}

impl Place {
    fn of(upstream: &config::Upstream, resolvers: &[SocketAddr]) -> Self {
        match upstream {
            config::Upstream::Unix(path) => Self::Unix(path.clone()),
            config::Upstream::Net { host, port, .. } => match host.parse::<IpAddr>() {
                Ok(ip) => Self::Address(SocketAddr::new(ip, *port)),
                Err(_) => Self::by_name(host, Some(*port), resolvers),
            },
            config::Upstream::Service { name, .. } => Self::by_name(name.as_str(), None, resolvers),
        }
    }

    fn by_name(name: &str, port: Option<u16>, resolvers: &[SocketAddr]) -> Self {
        let lookup = match resolvers {
            [] => Lookup::System,
            servers => Lookup::Servers(servers.to_vec()),
        };
        Self::Name {
            names: Names::new(name.to_owned(), port, lookup),
            turn: AtomicUsize::new(0),
        }
    }
}
