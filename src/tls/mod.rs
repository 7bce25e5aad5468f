//! TLS: ClientHello → the binding's policy and certificate → a connection, or one line that says why not.

mod accept;
mod clients;
mod compress;
mod failure;
pub mod hello;
pub mod ja4;
mod policy;
mod quic;
mod records;
mod table;
mod tickets;

pub use accept::Handshake;
pub use clients::Clients;
pub use failure::Traced;
pub use policy::{Handshakes, Policy};
pub use quic::{QuicHandshake, QuicKeys};
pub use records::TlsStream;
pub use table::{Chosen, TlsTable};
