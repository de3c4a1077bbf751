//! The proxy over real sockets: one scenario per file.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

mod harness;
#[path = "../support/upstream.rs"]
mod upstream;

mod acme;
mod admin;
mod bind;
mod bytes;
mod certificates;
mod client_certificates;
mod direct;
mod drain;
mod errors;
mod failover;
mod handover;
mod headers;
mod health;
mod http2;
mod https_upstream;
mod limits;
mod patience;
mod pebble;
mod redirect;
mod streams;
mod tls;
