//! The whole process, on ports that the system chooses, against real clients: curl, openssl, h2load, nginx, Chromium, and raw
//! sockets.
//!
//! One binary for all: linking is most of what a test binary costs. Each file is named for what it proves.

#![allow(
    unreachable_pub,
    reason = "the harness is written as a library is, and nothing is exported from a test"
)]

mod abuse;
mod acme;
mod admin;
mod balance;
mod balancers;
mod basics;
mod browser;
mod certificates;
mod client_certificates;
mod commands;
mod dashboard;
mod error_pages;
mod explain;
mod failed_requests;
mod failures;
mod fastcgi;
mod fields;
mod forwarded;
mod grpc;
mod hedging;
mod hostile_http1;
mod hostile_http2;
mod http1;
mod http2;
mod http3;
mod key_files;
mod life;
mod logs;
mod metrics;
mod ocsp;
mod overload;
mod pools;
mod proxy;
mod reached;
mod reload;
mod renewal;
mod restarts;
mod resting;
mod rewriting;
mod runbooks;
mod sites;
mod steps;
mod support;
mod tls;
mod top;
mod traces;
mod upstreams;
mod websockets;
mod worker_applications;
mod worker_launch;
mod workers;
