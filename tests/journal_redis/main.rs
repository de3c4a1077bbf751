//! The journal in Redis, against real servers that the tests start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "how a test fails"
)]

mod following;
mod hostile;
mod keeping;
mod loss;
mod owning;
mod relay;
mod secure;
mod server;
mod support;
mod topology;

pub(crate) use relay::{Relay, Weather};
pub(crate) use server::{Directory, Server, free_port};
pub(crate) use support::*;
