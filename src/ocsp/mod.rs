//! OCSP stapling (RFC 6960; RFC 6066 section 8; RFC 8446 section 4.4.2.1): responses are fetched from the CA's responder
//! before they are needed, verified as a client would, kept on disk, and shown with their certificates while they are current.
//!
//! ```text
//! schedule (when?) ─► fetch (http) ─► response (may it be shown?) ─► store (disk) and Certificate::staple
//! ```
//!
//! It happens on a thread of its own, `ocsp`. Nothing waits for it, and nothing that a responder does or leaves undone harms
//! more than the staples of its own certificates.

mod fetch;
mod response;
mod schedule;
mod signature;
mod stapler;
mod state;
mod store;
mod subject;
mod tell;
#[cfg(test)]
mod tests;

pub use fetch::{FETCH_TIMEOUT, RESPONSE_BYTES_MAX};
pub use response::{Revoked, Unfit, Verified, read};
pub use stapler::{Prepared, Stapler};
pub use state::{Stapling, Status};
pub use subject::{Subject, Unable};
