//! How an upstream is reached.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::stream::Stream;
use super::tls::{self, Offer, TlsClients};
use crate::config;
use crate::model::{Reason, Refusal};

/// Makes connections to an upstream.
pub(super) struct Connector {
    place: Place,
    tls: Option<Tls>,
}

enum Place {
    Net { host: String, port: u16 },
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
                let (host, port) = (host.clone(), *port);
                (Place::Net { host, port }, tls)
            }
        };
        Self { place, tls }
    }

    /// A connection: to the first of its addresses that takes one, and with a handshake where there has to be one.
    pub(super) async fn connect(
        &self,
        name: &config::Upstream,
        offer: Offer,
    ) -> Result<Stream, Refusal> {
        let refused = |error: io::Error| {
            let detail = format!("{name} cannot be connected to: {error}");
            Refusal::new(Reason::UpstreamConnect, detail)
        };
        let (host, port) = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(refused)?;
                return Ok(Stream::Unix(stream));
            }
            Place::Net { host, port } => (host.as_str(), *port),
        };
        let stream = dial(host, port).await.map_err(refused)?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::Tcp(stream));
        };
        match tls.clients.connect(&tls.server, offer, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(tls::refusal(name, &tls.server, &error)),
        }
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Stream::tcp(stream)),
            Err(error) => last = error,
        }
    }
    Err(last)
}
