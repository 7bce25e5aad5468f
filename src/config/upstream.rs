//! A proxy's upstreams: who they are, and how each is spoken to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use toml::de::DeValue;

use super::reader::{At, Table};
use super::service::{self, ServiceName};
use super::settings::WAIT;
use super::wrong::{self, Wrong};
use super::{Member, balance, defaults, keys};
use crate::model::split_authority;

/// Where a proxy sends requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://host:port`, `https://host:port`, `h2c://host:port`
    Net {
        /// What is spoken.
        scheme: UpstreamScheme,
        /// A name or an address; an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `srv+http://_name._tcp.domain`, `srv+https://…`, `srv+h2c://…`
    Service {
        /// What is spoken.
        scheme: UpstreamScheme,
        /// Whose SRV records say where it is.
        name: ServiceName,
    },
    /// `unix:/path.sock`
    Unix(PathBuf),
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamScheme {
    /// HTTP/1.1
    Http,
    /// HTTP/2 or HTTP/1.1 over TLS, as ALPN settles it.
    Https,
    /// HTTP/2 without TLS, with prior knowledge.
    H2c,
    /// FastCGI, which no proxy speaks: a `fastcgi` handler does.
    FastCgi,
}

impl UpstreamScheme {
    const ALL: [Self; 3] = [Self::Http, Self::Https, Self::H2c];

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::FastCgi => "fastcgi",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http | Self::H2c => 80,
            // PHP's, and so everybody's.
            Self::FastCgi => 9000,
        }
    }
}

impl Upstream {
    /// Whether it is spoken to by TLS.
    pub fn is_https(&self) -> bool {
        match self {
            Self::Net { scheme, .. } | Self::Service { scheme, .. } => {
                *scheme == UpstreamScheme::Https
            }
            Self::Unix(_) => false,
        }
    }
}

/// As the configuration writes it.
impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Net { scheme, host, port } => {
                let scheme = scheme.as_str();
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}"),
                    false => write!(f, "{scheme}://{host}:{port}"),
                }
            }
            Self::Service { scheme, name } => {
                write!(f, "srv+{}://{}", scheme.as_str(), name.as_str())
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How connections to upstreams are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Idle connections to each upstream that a data thread keeps at most; 0 keeps none.
    pub idle_connections: usize,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// How long a connection is used for new requests, if there is an end to it.
    pub max_age: Option<Duration>,
    /// How many requests a connection carries, if there is an end to it.
    pub max_requests: Option<u64>,
}

/// How upstreams of `https://` are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A bundle of the authorities that are trusted; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that is asked for, and that the certificate must be for; none: the upstream's own host.
    pub server_name: Option<String>,
    /// Whether the certificate is looked at.
    pub verify: bool,
    /// What is shown to an upstream that asks who we are.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate that is shown to upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, the leaf first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A proxy's keys of how connections are kept.
pub(super) fn keeping(table: &Table<'_>) -> Keeping {
    let age = table.duration(
        "max_connection_age",
        super::settings::WAIT_OR_NONE,
        defaults::MAX_CONNECTION_AGE,
    );
    let requests = table.count(
        "max_connection_requests",
        0..=1_000_000_000,
        defaults::MAX_CONNECTION_REQUESTS,
    );
    Keeping {
        idle_connections: table.count("idle_connections", 0..=65_536, defaults::IDLE_CONNECTIONS),
        idle_timeout: table.duration("idle_timeout", WAIT, defaults::IDLE_TIMEOUT),
        max_age: (!age.is_zero()).then_some(age),
        max_requests: (requests != 0).then_some(requests as u64),
    }
}

/// A proxy's `tls`.
pub(super) fn tls(proxy: &Table<'_>) -> UpstreamTls {
    let mut tls = UpstreamTls {
        ca: None,
        server_name: None,
        verify: defaults::VERIFY,
        client_certificate: None,
    };
    let Some(table) = proxy.table("tls", &keys::UPSTREAM_TLS) else {
        return tls;
    };
    let source = table.reader.source;
    tls.ca = table.text("ca").map(|path| source.resolve(path.value));
    tls.server_name = table.read("server_name", server_name).map(|at| at.value);
    tls.verify = table.boolean("verify", defaults::VERIFY);
    if !tls.verify
        && let Some(written) = table.value("verify")
    {
        let message = "upstreams are believed whatever certificate they show: whoever can answer in their place reads and \
                       changes everything";
        let found = table
            .reader
            .warning("upstream-not-verified", &written.span(), message);
        let help = "name the authority that signed theirs, as in ca = \"upstream-ca.pem\", and remove `verify`";
        table.reader.report(found.help(help));
    }
    if let Some(pair) = table.table("client_certificate", &keys::CLIENT_CERTIFICATE) {
        let chain = pair.required("chain", "\"client.pem\"");
        let key = pair.required("key", "\"client.key\"");
        if let (Some(chain), Some(key)) = (chain, key) {
            tls.client_certificate = Some(ClientCertificate {
                chain: source.resolve(chain.value),
                key: source.resolve(key.value),
            });
        }
    }
    tls
}

/// A proxy's `resolvers`.
pub(super) fn resolvers(proxy: &Table<'_>) -> Vec<SocketAddr> {
    let Some(written) = proxy.strings("resolvers") else {
        return Vec::new();
    };
    let read = |text: &At<&str>| {
        let address = text.value.parse::<SocketAddr>().ok();
        let address = address.or_else(|| {
            let ip = text.value.trim_matches(['[', ']']).parse().ok()?;
            Some(SocketAddr::new(ip, 53))
        });
        if address.is_none() {
            let message = format!("{:?} is no address of a name server", text.value);
            let wrong = Wrong::new("bad-ip", message);
            let help = "write an address, and a port if it is not 53, as in \"192.0.2.53\" or \"127.0.0.1:5353\"";
            proxy.reader.wrong(&text.span, wrong.help(help));
        }
        address
    };
    written.value.iter().filter_map(read).collect()
}

fn server_name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = wrong::text("server_name", value)?;
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            let wrong = Wrong::new("bad-upstream", format!("{text:?} is no name of a server"));
            Err(wrong.help("write a host name or an address, without scheme and port"))
        }
    }
}

/// A proxy's `upstreams`, and what is particular to each: an upstream is a string, or a table that says more of it.
pub(super) fn read(table: &Table<'_>) -> (Vec<Upstream>, Vec<Member>) {
    let reader = table.reader;
    let written = table.read("upstreams", |value| {
        value
            .as_array()
            .ok_or_else(|| wrong::kind("upstreams", "an array", value))
    });
    let Some(written) = written else {
        return (Vec::new(), Vec::new());
    };
    if written.value.is_empty() {
        let wrong = Wrong::new("empty-value", "`upstreams` must name one upstream at least");
        reader.wrong(
            &written.span,
            wrong.help("write [\"http://127.0.0.1:5000\"]"),
        );
    }
    let mut upstreams: Vec<At<Upstream>> = Vec::new();
    let mut members = Vec::new();
    for entry in written.value.iter() {
        let (text, member) = match entry.get_ref() {
            DeValue::Table(entries) => {
                let inner = Table::open(reader, entries, &keys::UPSTREAM, entry.span());
                let url = inner.required("url", "\"http://127.0.0.1:5000\"");
                (url, balance::member(&inner))
            }
            value => match wrong::text("upstreams", value) {
                Ok(value) => {
                    let span = entry.span();
                    (Some(At { value, span }), Member::default())
                }
                Err(wrong) => {
                    reader.wrong(&entry.span(), wrong);
                    continue;
                }
            },
        };
        if let Some(upstream) = text.and_then(|text| one(table, &text, &upstreams)) {
            upstreams.push(upstream);
            members.push(member);
        }
    }
    (upstreams.into_iter().map(|at| at.value).collect(), members)
}

fn one(table: &Table<'_>, text: &At<&str>, before: &[At<Upstream>]) -> Option<At<Upstream>> {
    let reader = table.reader;
    let upstream = match parse(text.value) {
        Ok(Upstream::Unix(path)) => Upstream::Unix(reader.source.resolve(path)),
        Ok(upstream) => upstream,
        Err(wrong) => {
            reader.wrong(&text.span, wrong);
            return None;
        }
    };
    if let Some(first) = before.iter().find(|first| first.value == upstream) {
        let message = format!(
            "{:?} is named twice, and gets twice the requests",
            text.value
        );
        let found = reader.warning("duplicate-value", &text.span, message);
        let place = reader.place(&first.span);
        reader.report(found.related(place, "named here first"));
    }
    Some(At {
        value: upstream,
        span: text.span.clone(),
    })
}

fn parse(text: &str) -> Result<Upstream, Wrong> {
    let bad = || Wrong::new("bad-upstream", format!("{text:?} is no upstream"));
    let forms = "write it as \"http://host:port\", \"https://host:port\", \"h2c://host:port\", \"srv+http://_name._tcp.domain\" or \"unix:/path.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.strip_prefix("//").unwrap_or(path) {
            "" | "/" => Err(bad().help("write the socket's path, as in \"unix:/run/app.sock\"")),
            path => Ok(Upstream::Unix(path.into())),
        };
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match split_authority(text) {
            Ok((_, Some(_))) => bad().help(format!("write \"http://{text}\"")),
            _ if text.starts_with(['/', '.']) => bad().help(format!("write \"unix:{text}\"")),
            _ => bad().help(forms),
        });
    };
    let (is_service, scheme) = match scheme.strip_prefix("srv+") {
        Some(scheme) => (true, scheme),
        None => (false, scheme),
    };
    let known = UpstreamScheme::ALL
        .into_iter()
        .find(|known| known.as_str() == scheme);
    let Some(scheme) = known else {
        if scheme == "fastcgi" {
            let help = "a handler of type = \"fastcgi\" speaks to it, with its address";
            return Err(bad().help(help));
        }
        return Err(bad().help(forms));
    };
    if is_service {
        let name = service::parse(rest.strip_suffix('/').unwrap_or(rest));
        let name = name.map_err(|help| bad().help(help))?;
        return Ok(Upstream::Service { scheme, name });
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) || text.parse::<Uri>().is_err() {
        return Err(
            bad().help("an upstream is a host and a port alone: `rewrite = { add_prefix = \"/base\" }` on a route puts a path before that of its requests")
        );
    }
    match split_authority(authority) {
        Ok((_, Some(0))) => Err(bad().help("a port is from 1 to 65535")),
        Ok((host, port)) => {
            let host = host.as_str().trim_matches(['[', ']']).to_owned();
            let named = rustls::pki_types::ServerName::try_from(host.as_str()).is_ok();
            if scheme == UpstreamScheme::Https && !named {
                return Err(bad().help("no certificate can be for such a host"));
            }
            Ok(Upstream::Net {
                scheme,
                host,
                port: port.unwrap_or(scheme.default_port()),
            })
        }
        Err(error) => Err(bad().help(error.to_string())),
    }
}
