//! The log: an obvious model beside it, and what the model cannot say.

#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

mod memory;
mod model;
mod support;
mod units;
mod wakes;
