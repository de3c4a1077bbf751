//! The proxy over real sockets: one scenario per file.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

#[path = "../support/browser.rs"]
mod browser;
mod harness;
mod process;
#[path = "../support/upstream.rs"]
mod upstream;

mod access_log;
mod admin;
mod bind;
mod bytes;
mod direct;
mod drain;
mod errors;
mod failover;
mod farewell;
mod handover;
mod hangup;
mod headers;
mod health;
mod http2;
mod https_upstream;
mod limits;
mod reload;
mod restart;
mod streams;
mod tls;
#[cfg(feature = "otel")]
mod traces;
