//! HTTP: bytes ↔ requests and responses, and the one seam, `serve`, that every version meets.
//!
//! Nothing behind the seam asks which version a request came in, except by a field of its [`Facts`](crate::model::Facts).

mod advertise;
mod authority;
mod body;
mod budget;
mod counting;
mod date;
mod drain;
mod edge;
mod extended;
mod finish;
pub mod h1;
pub mod h2;
pub mod h3;
mod multiplexed;
mod provenance;
mod recording;
mod refuse;
mod serve;
mod stall;
mod trail;
mod transport;

pub use advertise::AltSvc;
pub use drain::Drain;
pub use edge::{BoundTo, Edge, Published, Thread, ThreadEdge};
pub use multiplexed::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS_MAX};
pub use serve::method_is_taken;
pub use transport::{Transport, linger, turn_away};
