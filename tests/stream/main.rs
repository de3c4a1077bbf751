//! The life of a stream: its session, its pump, and the registry of all.

mod backpressure;
mod lifecycle;
mod pump;
mod registry;
mod session;
mod support;
