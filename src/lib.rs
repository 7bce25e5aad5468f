//! Portunus: one listener that owns the ports, settles who may speak, whom a request is for, and hands it to whoever does
//! the work. A request that fails anywhere on the way is never silent.
//!
//! ```text
//! socket ─► tls ─► http1 | http2 | http3 ─► binding ─► site ─► pool ─► handler
//! ```
//!
//! Data flows left to right, and so do the imports; `tests/tidy.rs` keeps it so. Each room says at its head what it holds;
//! `docs/architecture.md` has them in the order of who may know whom.

pub mod acme;
pub mod admin;
pub mod binding;
pub mod certificate;
pub mod chunked;
pub mod cli;
pub mod clock;
pub mod config;
pub mod draft;
pub mod handler;
pub mod http;
pub mod listener;
pub mod model;
pub mod ocsp;
pub mod pool;
pub mod report;
pub mod server;
pub mod site;
pub mod tls;
pub mod traces;
pub mod worker;
