//! A small harness: a server of one's own in a folder of one's own, clients, and upstreams.

mod aioquic;
mod authority;
mod client;
pub mod collector;
pub mod frames;
mod grpc;
mod page;
pub mod pebble;
pub mod pki;
mod ports;
mod python;
pub mod quic;
mod server;
mod upstream;
mod websocket;

pub use aioquic::{aioquic, aioquic_trusting};
pub use authority::{Authority, secret};
pub use client::{Tool, raw, tls};
pub use grpc::{GrpcServer, grpc};
pub use page::Page;
pub use ports::{free_port, free_ports};
pub use python::library;
pub use server::{PATIENCE, Server, Site, folder, through, wait_for};
pub use upstream::{Gate, Nginx, Talk, Upstream};
pub use websocket::{WebSocket, WebSocketServer};
