//! The life of a stream: its session, its pump, and the registry of all.

#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

mod backpressure;
mod lifecycle;
mod pump;
mod registry;
mod session;
mod support;
