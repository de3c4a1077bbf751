//! Scripted upstreams, and clients that read like a browser.

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod observer;
pub(crate) mod scripted;
pub(crate) mod shelf;
pub(crate) mod socket;

pub(crate) use browser::{Browser, Event};
pub(crate) use client::{App, Client, End, get, post, with_id};
pub(crate) use observer::Seen;
pub(crate) use scripted::{Call, Reply, Script, Upstream, sse, status};

use std::time::Duration;

/// Waits until every task has done what it can.
///
/// For tests with a paused clock: it stands still while anything is runnable,
/// so the millisecond passes only when all is quiet.
pub(crate) async fn quiet() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The encoded form of an event, as simple backends write it.
pub(crate) fn event(data: impl std::fmt::Display) -> String {
    format!("data: {data}\n\n")
}

/// The same with an id.
pub(crate) fn event_with_id(id: impl std::fmt::Display, data: impl std::fmt::Display) -> String {
    format!("id: {id}\ndata: {data}\n\n")
}

/// `"1"`, `"2"`, … up to and including `last`.
pub(crate) fn numbers(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// One of our ids, of a log that never was.
pub(crate) const UNKNOWN: &str = "s1.AAAAAAAAAAAAAAAAAAAAAA.3";
