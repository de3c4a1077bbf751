//! What a run leaves behind, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One invocation.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) command: String,
    /// RFC 3339, in UTC.
    pub(crate) started: String,
    pub(crate) machine: Machine,
    /// Their names, in the order of the tables.
    pub(crate) peers: Vec<String>,
    /// By peer.
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) pinned: bool,
    /// Processor time of one bare `send`, by round.
    pub(crate) floor_ns: Vec<f64>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<Failure>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
}

/// What one peer did in one scenario, once.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) peer: String,
    pub(crate) round: usize,
    pub(crate) clients: usize,
    /// What was measured over.
    pub(crate) seconds: f64,
    /// Delivered, summed over clients.
    pub(crate) events: u64,
    pub(crate) events_per_second: f64,
    pub(crate) cpu_us_per_event: Option<f64>,
    pub(crate) events_per_cpu_second: Option<f64>,
    /// Millions of bytes of events.
    pub(crate) mb_per_second: Option<f64>,
    pub(crate) cpu_us_per_mb: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    pub(crate) kib_per_client: Option<f64>,
    pub(crate) upstream_connections: Option<u64>,
    /// Of scenarios that are over when everybody has something.
    pub(crate) elapsed_ms: Option<f64>,
    /// When half of all clients had it.
    pub(crate) median_ms: Option<f64>,
    /// Processors the peer kept busy: near 1, it could not have done more.
    pub(crate) busy: Option<f64>,
    /// The highest rate held, offered events a second.
    pub(crate) held_rate: Option<f64>,
    /// The cheapest of all rates held.
    pub(crate) best_events_per_cpu_second: Option<f64>,
    /// Processor time of a connection, where nothing else was done.
    pub(crate) cpu_us_per_client: Option<f64>,
    /// What the measuring itself cost.
    pub(crate) client_cpu_us_per_event: Option<f64>,
}

/// What broke a promise, or did not run at all.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) scenario: String,
    pub(crate) peer: String,
    pub(crate) round: usize,
    pub(crate) reason: String,
}
