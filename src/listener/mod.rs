//! The listener: sockets, accepting, and how many connections may be open.

mod accept;
mod connection;
mod datagrams;
mod handshakes;
mod inherit;
mod limits;
mod open;
mod owner;
pub mod proxied;
mod quic;
mod sockets;
mod sys;
mod worker;

pub use datagrams::{Group, bind};
pub use handshakes::{HANDSHAKES_MAX, UNVALIDATED_MAX};
pub use inherit::{Inherited, inherit};
pub use limits::{ConnectionLimits, FAREWELLS_MAX, Farewell, Full, Place};
pub use open::{Listed, OpenConnection, OpenConnections, Which};
pub use sockets::{BindError, Listening, SocketKey, Transport, adopt, listen, try_to_bind};
pub use worker::{Command, DataThread, Sockets, Worker};
