//! The middleware from outside: what clients get of a scripted upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod attach;
mod client_cut;
#[cfg(feature = "gzip")]
mod compress;
mod cursor_table;
mod drain;
mod head;
mod heartbeats;
mod journal;
mod journal_behind;
mod journal_chaos;
mod journal_fences;
mod journal_names;
mod journal_roles;
mod limits;
mod mcp;
mod named;
mod one_shot;
mod passthrough;
mod principals;
mod retries;
mod shared;
mod slow_reader;
mod snapshots;
mod sockets;
mod stacks;
mod supervision;
mod upstream_cut;
