//! A small harness: a server of one's own in a folder of one's own, and clients.

mod client;
mod server;

pub use client::{Tool, raw, tls};
pub use server::{PATIENCE, Server, Site, folder, through, wait_for};
