//! The middleware from outside: what clients get of a scripted upstream.

#[path = "../support/mod.rs"]
mod support;

mod client_cut;
mod head;
mod heartbeats;
mod limits;
mod one_shot;
mod principals;
mod slow_reader;
mod upstream_cut;
