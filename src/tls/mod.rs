//! TLS: ClientHello → the binding's policy and certificate → a connection, or one line that says why not.

mod accept;
mod certificate;
pub mod dev;
mod failure;
mod findings;
mod folder;
pub mod hello;
pub mod ja4;
mod policy;
mod quic;
mod records;
mod table;

pub use accept::Handshake;
pub use certificate::{Certificate, CertificateError, ChainFault};
pub use findings::Finding;
pub use folder::Folder;
pub use policy::{Policy, Source};
pub use quic::{QuicHandshake, QuicKeys};
pub use records::TlsStream;
pub use table::{Certificates, Chosen, TlsTable};
