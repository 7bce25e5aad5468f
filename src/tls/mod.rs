//! TLS: who may speak.

pub mod hello;
pub mod ja4;
