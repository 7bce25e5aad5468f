//! The listener: sockets, accepting, and how many connections may be open.

mod accept;
mod connection;
mod handshakes;
mod inherit;
mod limits;
mod owner;
mod sockets;
mod sys;
mod worker;

pub use handshakes::HANDSHAKES_MAX;
pub use inherit::{Inherited, inherit};
pub use limits::{ConnectionLimits, FAREWELLS_MAX, Farewell, Full, Place};
pub use sockets::{BindError, Listening, SocketKey, adopt, listen};
pub use worker::{Command, DataThread, Worker};
