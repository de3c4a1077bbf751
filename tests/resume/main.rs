//! The middleware from outside: what clients get of a scripted upstream.

#[path = "../support/mod.rs"]
mod support;

mod client_cut;
mod cursor_table;
mod head;
mod heartbeats;
mod limits;
mod named;
mod one_shot;
mod principals;
mod shared;
mod slow_reader;
mod snapshots;
mod supervision;
mod upstream_cut;
