//! Real processes that are killed, paused, restarted and cut off, under
//! clients that come back: what each client dispatched, over all its
//! connections, is held against what is promised.
//!
//! The faults come from a seed, which each test prints: to see the same
//! schedule again, run the test alone with `JOURNALS_SEED` set to it. When they
//! hit is the machine's doing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod checker;
mod client;
mod cluster;
mod crashes;
mod crowd;
mod origin;
mod ports;
mod process;
mod redis;
mod relay;
mod seed;
mod service;
mod transcript;

#[path = "../support/browser.rs"]
mod browser;
#[path = "../clients/harness/scratch.rs"]
mod scratch;

mod chain;
mod disk_kill;
mod replicas;
