//! The configuration: text → raw (every value with its place) → [`Config`] (checked and complete).
//!
//! A [`Config`] cannot hold nonsense: names are resolved to indices, durations and sizes are numbers, conflicts are gone.
//! Nothing behind it checks again.

mod acme;
mod admin;
mod audit;
mod balance;
mod certificate_files;
mod check;
mod clients;
mod conflicts;
mod defaults;
mod diagnostic;
mod failed_requests;
mod fastcgi;
mod fields;
mod handlers;
mod hostname;
mod keys;
mod load;
mod networks;
mod process;
mod raw;
mod reader;
mod render;
mod routes;
mod service;
mod settings;
mod source;
mod suites;
mod telling;
#[cfg(test)]
mod tests;
mod tls;
mod traces;
mod trusted;
mod upgrades;
mod upstream;
mod values;
mod wrong;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use rustls::{CipherSuite, NamedGroup};

use crate::model::{BindingKey, HostPattern, Scheme, TrustedProxies};

pub use acme::{Acme, AcmeChallenge, AcmeKey, ExternalAccount};
pub use admin::Admin;
pub use audit::Audit;
pub use balance::{
    Balance, Ejection, HashBy, Health, Hedge, Member, Policy, Queue, Retry, SameSite, Sticky,
};
pub use certificate_files::{CertificateFiles, is_pkcs12};
pub use clients::{ClientCertificates, ClientFields, ClientMode, Doubt};
pub use diagnostic::{Diagnostic, Related, Severity};
pub use failed_requests::{FailedRequests, FailedRule};
#[cfg(test)]
pub(crate) use fastcgi::OURS;
pub use fastcgi::{FastCgi, FastCgiTerms, Scripts};
pub use load::{Loaded, load, parse, server_of};
pub use process::{
    AtLimit, IdleAction, Ping, Process, RapidFail, Recycle, StartMode, TimeOfDay, WorkerLimits,
    WorkerListen, WorkerProtocol,
};
pub use routes::{ErrorPage, ErrorStatuses, Hsts, Route, RouteKeys, Site, SiteKeys};
pub use service::ServiceName;
pub use source::Source;
pub use suites::{group_name, spoken_versions, suite_name};
pub use telling::{ForwardedFields, ProxyProtocol, Telling};
pub use traces::{Secret, Traces};
pub use trusted::RequestIds;
pub use upgrades::Upgrades;
pub use upstream::{ClientCertificate, Keeping, Upstream, UpstreamScheme, UpstreamTls};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that it was read from.
    pub file: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[failed_requests]`
    pub failed_requests: FailedRequests,
    /// `[traces]`; none where nothing is traced.
    pub traces: Option<Traces>,
    /// `[tls]`: the certificate folder.
    pub certificate_folder: PathBuf,
    /// `[acme]`; none where nothing is ordered.
    pub acme: Option<Acme>,
    /// `[tls]`: whom clients are taken to trust when chains are looked at.
    pub trust: TrustSource,
    /// `[[certificate]]`
    pub certificates: Vec<NamedCertificate>,
    /// `[[binding]]`
    pub bindings: Vec<Binding>,
    /// `[[site]]`
    pub sites: Vec<Site>,
    /// `[[pool]]`
    pub pools: Vec<Pool>,
}

/// Where in the file something was written.
///
/// Any two places are equal: a place is no part of what a configuration says, so that a reload which only moves lines finds
/// nothing changed. Compare line and column where the place itself matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// `[server]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Data threads; 0: one for each core that this process may use.
    pub threads: usize,
    /// Where an administrator asks.
    pub admin: Admin,
    /// Where anybody on this machine may read metrics and health; none: nowhere but where an administrator asks.
    pub metrics: Option<SocketAddr>,
    /// Run as this user once the sockets are bound; empty: stay.
    pub user: String,
    /// Run as this group once the sockets are bound; empty: the user's own.
    pub group: String,
    /// Where what must outlive a restart is kept: accounts, orders and certificates of ACME, staples.
    pub state_dir: PathBuf,
    /// How long a stop waits for requests in flight.
    pub drain_timeout: Duration,
    /// The Server field; empty: none.
    pub server_header: String,
    /// What responses that Portunus makes itself say.
    pub verbosity: Verbosity,
    /// Who is believed of whom a request is from, where a binding does not say.
    pub trusted_proxies: Option<TrustedProxies>,
    /// What is done with `X-Request-Id`.
    pub request_ids: RequestIds,
    /// Whether each request has a `traceparent`.
    pub traceparent: bool,
}

/// What responses that Portunus makes itself say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// The status only.
    Limited,
    /// The reason too.
    Full,
}

/// `[limits]`; a limit of `None` is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections open at once; `None`: as many as file descriptors allow.
    pub max_connections: Option<usize>,
    /// Connections open at once from one address.
    pub max_connections_per_ip: Option<usize>,
    /// Until the whole request head has arrived.
    pub header_wait: Duration,
    /// Keep-alive without a request.
    pub idle_connection: Duration,
    /// The longest gap between two pieces of a request body.
    pub entity_body: Duration,
    /// Bytes a second that a client must take, averaged over 10 s.
    pub min_send_rate: Option<u64>,
    /// Request line and all fields, in bytes.
    pub max_request_bytes: usize,
    /// Fields of a request.
    pub max_header_fields: usize,
    /// The request target, in bytes.
    pub max_uri_bytes: usize,
    /// A request's body, in bytes.
    pub max_body_bytes: Option<u64>,
    /// Until a TLS handshake is done.
    pub tls_handshake: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Of the server's own log.
    pub format: LogFormat,
    /// Of the server's own log, as `tracing` spells it.
    pub level: String,
    /// Where the access log goes.
    pub access: LogTarget,
    /// How an access is written.
    pub access_format: AccessFormat,
    /// Where the error log goes.
    pub errors: LogTarget,
    /// Where the audit log goes.
    pub audit: Audit,
}

/// How the server's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// How an access is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// A JSON object a line.
    Json,
    /// W3C extended.
    W3c,
    /// NCSA common.
    Common,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// Whom clients are taken to trust when chains are looked at before they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// The roots that this system trusts.
    System,
    /// The certificates of a PEM file: a private CA's, say.
    File(PathBuf),
}

/// `[[certificate]]`: a certificate that bindings point at by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCertificate {
    /// Its name.
    pub name: String,
    /// The files.
    pub files: CertificateFiles,
    /// Those of a certificate with another kind of key, for the same names.
    pub alternative: Option<CertificateFiles>,
    /// Where it was written.
    pub place: Place,
}

/// `[[binding]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// Cleartext or TLS.
    pub scheme: Scheme,
    /// The local address; `None`: every IPv4 and IPv6 address.
    pub ip: Option<IpAddr>,
    /// The TCP port; with `h3` the UDP port too.
    pub port: u16,
    /// The hosts that it takes.
    pub hostname: HostPattern,
    /// What ALPN offers, in order of preference.
    pub protocols: Vec<AlpnProtocol>,
    /// An https binding's TLS policy; none for http.
    pub tls: Option<BindingTls>,
    /// The balancers that say who their clients are, by the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Who is believed of whom a request is from; none: nobody.
    pub trusted_proxies: Option<TrustedProxies>,
    /// The site, by its index in [`Config::sites`].
    pub site: usize,
    /// Where it was written.
    pub place: Place,
}

impl Binding {
    /// What tells it from others, as every command and log names it.
    pub fn key(&self) -> BindingKey {
        BindingKey {
            scheme: self.scheme,
            ip: self.ip,
            port: self.port,
            hostname: self.hostname.clone(),
        }
    }
}

/// The TLS policy of an https binding.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingTls {
    /// The least version that is accepted.
    pub min_version: TlsVersion,
    /// The cipher suites that may be agreed on.
    pub cipher_suites: Vec<CipherSuite>,
    /// The groups that keys may be agreed in.
    pub groups: Vec<NamedGroup>,
    /// The certificate to show.
    pub certificate: CertificateSource,
    /// Whether it is ordered: `certificate` is then the folder that [`Acme::certificates`] names.
    pub acme: bool,
    /// How long a ticket key encrypts, and how long a ticket lives; zero: no session is resumed.
    pub ticket_rotation: Duration,
    /// Files of ticket keys that other machines have too; the first encrypts. None: keys of this process' own.
    pub ticket_keys: Vec<PathBuf>,
    /// How long a client may remember that the binding speaks HTTP/3 (Alt-Svc, RFC 7838); zero: it is not told.
    pub alt_svc_max_age: Duration,
    /// What is asked of the certificates of clients; none: nothing.
    pub client_certificates: Option<ClientCertificates>,
    /// Whether the OCSP responses of its certificates are fetched and stapled.
    pub ocsp_stapling: bool,
}

/// Where a binding's certificate comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateSource {
    /// A named certificate, by its index in [`Config::certificates`].
    Named(usize),
    /// A folder of certificates named after their host.
    Folder(PathBuf),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// What a binding speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlpnProtocol {
    /// `http/1.1`
    Http1,
    /// `h2`
    H2,
    /// `h3`, over QUIC on the UDP port of the same number.
    H3,
}

/// `[[pool]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Requests waiting, not those running.
    pub queue_length: usize,
    /// Requests running at once.
    pub concurrency: usize,
    /// How long a request may wait.
    pub queue_timeout: Duration,
    /// What a request sees that the queue has no room for.
    pub on_overflow: Overflow,
    /// Who does the work.
    pub handler: Handler,
    /// Where it was written.
    pub place: Place,
}

/// What a request sees that a pool's queue has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// 503 with Retry-After.
    Respond503,
    /// The connection is reset, so that a balancer in front tries another machine.
    Reset,
}

/// `[pool.handler]`
#[derive(Clone, Debug, PartialEq)]
pub enum Handler {
    /// A fixed response.
    Respond(Respond),
    /// Files of a folder.
    Files(Files),
    /// A redirect.
    Redirect(Redirect),
    /// A reverse proxy.
    Proxy(Proxy),
    /// An application that speaks FastCGI.
    FastCgi(FastCgi),
    /// An application that Portunus starts itself.
    Process(Box<Process>),
    /// The program that Portunus is a library of brings the handler itself.
    Library,
}

/// `type = "respond"`
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The status; 200 to 599.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The content.
    pub body: String,
    /// How long to wait before the answer.
    pub delay: Duration,
}

/// `type = "files"`
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// The folder.
    pub root: PathBuf,
    /// The files that stand for their folder, first found first.
    pub index: Vec<String>,
    /// Whether a folder without an index file is listed.
    pub listing: bool,
    /// Cache-Control; empty: none is sent.
    pub cache_control: String,
    /// Whether `name.zst`, `name.br` and `name.gz` beside `name` are served to clients that take them.
    pub precompressed: bool,
}

/// `type = "redirect"`
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The target, with `{uri}`, `{host}`, `{path}` and `{query}`.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// `type = "proxy"`
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// Where requests go.
    pub upstreams: Vec<Upstream>,
    /// Which of them a request goes to.
    pub balance: Box<Balance>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until the response's head.
    pub response_timeout: Duration,
    /// The longest gap between two pieces of the response's body.
    pub body_timeout: Duration,
    /// How connections are kept.
    pub keeping: Keeping,
    /// How upstreams of `https://` are met.
    pub tls: UpstreamTls,
    /// The name servers that are asked for upstreams; none: as this system looks names up.
    pub resolvers: Vec<SocketAddr>,
    /// What upstreams are told of clients.
    pub telling: Telling,
    /// What clients may leave HTTP for.
    pub upgrade: Upgrades,
}
