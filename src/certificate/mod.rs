//! Certificates: what lies in files, whether it can be shown, and what is to be said of it before a client says it.
//!
//! Nothing here knows of connections: `tls` shows what this room has.

mod access;
mod chain;
mod details;
pub mod dev;
mod findings;
mod folder;
mod inventory;
mod pair;
mod pem;
mod set;
mod staple;
mod trust;

pub use chain::{Added, Chain};
pub use details::{Details, KeyKind, Signature};
pub use findings::Finding;
pub use folder::Folder;
pub use inventory::{Entry, Fault, Inventory, Shown};
pub use pair::{Certificate, CertificateError, ChainFault};
pub use set::{Certificates, Source};
pub use trust::{Trust, TrustFault, Verdict};
