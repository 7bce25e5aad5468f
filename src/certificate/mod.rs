//! Certificates: what lies in files, whether it can be shown, and what is to be said of it before a client says it.
//!
//! Nothing here knows of connections: `tls` shows what this room has.

mod access;
mod chain;
mod choice;
mod clients;
mod details;
pub mod dev;
mod error;
mod files;
mod findings;
mod folder;
mod inventory;
mod kept;
mod keys;
mod pair;
mod pem;
mod pkcs12;
mod placeholder;
mod set;
mod source;
mod staple;
#[cfg(test)]
mod tests;
mod ticket_key;
mod trust;
mod usage;

pub use chain::{Added, Chain};
pub use choice::{Choice, Offered};
pub use clients::{
    ClientCa, ClientCaError, ClientCas, ClientNews, RevocationList, date, describe, describe_chain,
};
pub use details::{Details, KeyKind, Signature};
pub use error::CertificateError;
pub use files::{Content, Files};
pub use findings::Finding;
pub use folder::Folder;
pub use inventory::{Entry as InventoryEntry, Fault, Inventory, Shown};
pub use kept::{Kept, Look, News, Occasion, Scope, Worse};
pub use pair::{Certificate, ChainFault};
pub use set::{Certificates, Looked};
pub use source::Source;
pub use ticket_key::{TicketKey, TicketKeyError, TicketKeys};
pub use trust::{Trust, TrustFault, Verdict};
pub use usage::{Validity, validity};
