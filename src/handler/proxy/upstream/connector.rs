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
use crate::model::{Reason, Refusal};

/// Makes connections to an upstream.
pub(super) struct Connector {
    place: Place,
    tls: Option<Tls>,
    /// How a connection begins by saying who its client is.
    announced: Option<ProxyProtocol>,
}

enum Place {
    Address(SocketAddr),
    Name {
        names: Arc<Names>,
        port: u16,
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
        let (place, tls) = match name {
            config::Upstream::Unix(path) => (Place::Unix(path.clone()), None),
            config::Upstream::Net { scheme, host, port } => {
                let tls = match (scheme, clients) {
                    (config::UpstreamScheme::Https, Some(clients)) => {
                        let server = proxy.tls.server_name.as_ref().unwrap_or(host);
                        Some(Tls {
                            clients: clients.clone(),
                            server: tls::server_name(server),
                        })
                    }
                    _ => None,
                };
                (Place::new(host, *port, &proxy.resolvers), tls)
            }
        };
        Self {
            place,
            tls,
            announced: proxy.telling.proxy_protocol,
        }
    }

    /// Whether each connection is one client's.
    pub(super) fn announces(&self) -> bool {
        self.announced.is_some()
    }

    /// A connection: to the first of its addresses that takes one, and with a handshake where there has to be one.
    pub(super) async fn connect(
        &self,
        name: &config::Upstream,
        offer: Offer,
        ends: Option<Ends>,
    ) -> Result<Stream, Refusal> {
        let cannot = |why: String| {
            let detail = format!("{name} cannot be connected to: {why}");
            Refusal::new(Reason::UpstreamConnect, detail)
        };
        let refused = |error: io::Error| cannot(error.to_string());
        let (mut stream, origin) = match &self.place {
            Place::Unix(path) => {
                let mut stream = UnixStream::connect(path).await.map_err(refused)?;
                self.announce(&mut stream, ends).await.map_err(refused)?;
                return Ok(Stream::new(Carrier::Unix(stream), Origin::fixed()));
            }
            Place::Address(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                (stream, Origin::fixed())
            }
            Place::Name { names, port, turn } => {
                let addresses = names.addresses().await;
                let addresses = addresses
                    .map_err(|why| cannot(format!("its name cannot be looked up: {why}")))?;
                let turn = turn.fetch_add(1, Relaxed);
                let stream = dial(&addresses, turn, *port).await.map_err(refused)?;
                let address = stream.peer_addr().map_err(refused)?;
                (stream, names.origin(address))
            }
        };
        // Heads and pieces are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        // Before the handshake: what stands between reads it, and not the TLS.
        self.announce(&mut stream, ends).await.map_err(refused)?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::new(Carrier::Tcp(stream), origin));
        };
        match tls.clients.connect(&tls.server, offer, stream).await {
            Ok(stream) => Ok(Stream::new(Carrier::Tls(Box::new(stream)), origin)),
            Err(error) => Err(tls::refusal(name, &tls.server, &error)),
        }
    }
}

impl Connector {
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
    fn new(host: &str, port: u16, resolvers: &[SocketAddr]) -> Self {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Self::Address(SocketAddr::new(ip, port));
        }
        let lookup = match resolvers {
            [] => Lookup::System,
            servers => Lookup::Servers(servers.to_vec()),
        };
        Self::Name {
            names: Names::new(host.to_owned(), lookup),
            port,
            turn: AtomicUsize::new(0),
        }
    }
}
