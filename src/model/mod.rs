//! The nouns that every room shares. Nothing here waits, reads a clock, or touches a socket.

mod activity;
mod addr;
pub(crate) mod base64;
mod body;
mod causes;
mod client;
mod facts;
mod hops;
mod host;
mod interim;
pub mod journal;
mod name_map;
mod path;
mod plain;
mod provenance;
mod reached;
mod refusal;
mod rewrite;
mod rules;
pub mod template;
mod thread;
mod trace;

pub use activity::{Activity, Doing, InFlight, Noted, PoolMark, Stand};
pub use addr::{ClientAddr, LocalAddr, write_ip};
pub use body::{Body, BodyError, BodyWatch};
pub use causes::causes;
pub use client::{
    AlternativeName, ClientCertificate, ClientCertificateParts, ClientIdentity, ClientTerms, Judge,
};
pub use facts::{BindingKey, Connection, Facts, Protocol, Scheme, TlsFacts};
pub use hops::{HopField, Hops, TrustedProxies};
pub use host::{HostError, HostName, HostPattern, certificate_name_covers, split_authority};
pub use interim::Interim;
pub use name_map::NameMap;
pub use path::{PathError, RoutePath};
pub use plain::{plain, plain_json, plain_lines};
pub use provenance::{Ids, Provenance, RequestId, TraceParent};
pub use reached::{Reached, SentOn, Took};
pub use refusal::{Blame, Reason, Refusal};
pub use rewrite::{Rewrite, RewriteHost, encoded};
pub use rules::{FieldChanges, FieldText, RouteRules};
pub use thread::{Count, PerThread, PerThreadLazily, enter_data_thread, thread_index};
pub use trace::{ChildSpan, Handshake, SpanContext, trace_state};
