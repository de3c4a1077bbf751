//! The proxy over real sockets: one scenario per file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop there"
)]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/browser.rs"]
mod browser;
mod harness;
#[path = "../support/patience.rs"]
mod patience;
#[path = "../support/pebble.rs"]
mod pebble;
mod process;
#[path = "../support/upstream.rs"]
mod upstream;

mod access;
mod access_log;
mod acme;
mod admin;
mod bind;
mod bytes;
mod certificates;
mod check;
mod choice;
mod client_certificates;
mod compress;
mod direct;
mod downstream;
mod drain;
mod errors;
mod failover;
mod farewell;
mod feed;
mod handover;
mod hangup;
mod headers;
mod health;
mod hostile;
mod http2;
mod http2_upstream;
mod https_upstream;
mod limits;
mod moving;
mod redirect;
mod reload;
mod restart;
mod streams;
mod tail;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod upstream_tls;
