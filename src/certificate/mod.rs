//! Certificates: what lies in files, whether it can be shown, and what is to be said of it before a client says it.
//!
//! Nothing here knows of connections: `tls` shows what this room has.

mod choice;
pub mod dev;
mod error;
mod files;
mod findings;
mod folder;
mod kept;
mod pair;
mod set;
mod staple;
#[cfg(test)]
mod tests;
mod ticket_key;

pub use choice::{Choice, Offered};
pub use error::CertificateError;
pub use files::{Content, Files};
pub use findings::Finding;
pub use folder::Folder;
pub use kept::{Kept, Look, News, Occasion, Scope, Worse};
pub use pair::{Certificate, ChainFault};
pub use set::{Certificates, Looked, Source};
pub use ticket_key::{TicketKey, TicketKeyError, TicketKeys};
