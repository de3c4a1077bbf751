//! Resumable Server-Sent Events.
//!
//! Event streams break in the middle: proxies buffer them, idle timeouts cut
//! them, one 503 during a deploy ends an `EventSource` for good, and most
//! backends send no ids, so what was missed is lost. This crate goes in between
//! and mends that, without a change on either side.
//!
//! * [`SseLayer`] is a Tower layer for services written in Rust.
//! * `sse-proxy` (feature `proxy`) is a reverse proxy for everything else. It is
//!   a tower stack around the same layer.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_sse::SseLayer;
//! # async fn events() {}
//!
//! let app: Router = Router::new()
//!     .route("/events", get(events))
//!     .layer(SseLayer::new());
//! ```
//!
//! # Reading order
//!
//! The modules follow a byte from the upstream to the client, each importing
//! only from those before it:
//!
//! 1. [`observe`]: what can be counted.
//! 2. [`wire`]: bytes ⇄ blocks; no I/O, no clock.
//! 3. [`log`]: one stream's bounded memory; cursors instead of queues.
//! 4. [`journal`]: where a log outlives its process.
//! 5. [`stream`]: the life of a stream; the pure session and the pump it drives.
//! 6. [`resume`]: the middleware; what a client is told.
//! 7. `proxy`: configuration, forwarding, TLS, metrics.
//!
//! # What it is not
//!
//! Not a message broker: nobody publishes to it, it only passes on. Not a
//! store: a buffer is bounded, in memory and in a journal. And not a way to
//! get back what a backend never sent: where loss cannot be ruled out, it is
//! reported, never hidden.
//!
//! # Features
//!
//! None by default: the layer alone. `disk` and `redis` add journals, by which
//! streams outlive the process and are shared by several. `gzip` compresses
//! them, once for all who read them. `proxy` adds the `proxy` module and the
//! binary; `full` is everything.

pub mod journal;
pub mod log;
pub mod observe;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod resume;
pub mod stream;
pub mod wire;

pub use resume::{Engine, SseLayer};

/// The README's example, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
