//! Certificates: what lies in files, whether it can be shown, and what is to be said of it before a client says it.
//!
//! Nothing here knows of connections: `tls` shows what this room has.

pub mod dev;
mod findings;
mod folder;
mod pair;
mod placeholder;
mod set;
mod staple;

pub use findings::Finding;
pub use folder::Folder;
pub use pair::{Certificate, CertificateError, ChainFault};
pub use set::{Certificates, Source};
