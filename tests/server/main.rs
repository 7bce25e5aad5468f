//! The whole process, on ports that the system chooses, against real clients: curl, openssl, h2load, nginx, Chromium, and raw
//! sockets.
//!
//! One binary for all: linking is most of what a test binary costs. Each file is named for what it proves.

mod basics;
mod support;
