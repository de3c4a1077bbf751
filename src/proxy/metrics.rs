//! What the proxy counts, in Prometheus' terms.
//!
//! Labels are resolved when a route or an upstream is set up; on the hot path
//! a signal is an addition to an atomic. Label values come from the
//! configuration alone, so their number is bounded.

mod servers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::access::{AccessFamilies, AccessMetrics};
use super::tls::TlsMetrics;
use crate::observe::{GapReason, Observer, Signal};

use self::servers::ServerFamilies;
pub use self::servers::{ServerMetrics, UpstreamMetrics};

/// What [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const RELOADS: [&str; 2] = ["refused", "applied"];

const GAP_REASONS: [GapReason; 5] = [
    GapReason::Trimmed,
    GapReason::UnknownId,
    GapReason::MalformedId,
    GapReason::Upstream,
    GapReason::Lagged,
];

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: RouteFamilies,
    connect: Histograms,
    connect_failures: Family<Labels, Counter>,
    servers: ServerFamilies,
    requests: [Counter; 5],
    refused: Family<Labels, Counter>,
    connections: ConnectionMetrics,
    reloads: Family<Labels, Counter>,
    config: Family<Labels, Gauge>,
    access_log_dropped: Counter,
    tls: TlsMetrics,
    access: AccessFamilies,
}

/// Counts one route's signals.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    clients_open: Gauge,
    streams_open: Gauge,
    upstream_open: Gauge,
    buffered_bytes: Gauge,
    clients: Counter,
    upstream: Counter,
    reconnects: Counter,
    events_received: Counter,
    events_sent: Counter,
    events_replayed: Counter,
    heartbeats: Counter,
    compressed_from: Counter,
    compressed_to: Counter,
    /// In the order of [`GAP_REASONS`].
    gaps: [Counter; 5],
    not_durable: Gauge,
    journal_failures: Counter,
    taken_over: Counter,
    handed_over: Counter,
    retries: Counter,
    answers_complete: Counter,
    answers_cut: Counter,
    head: Histogram,
    first_byte: Histogram,
}

/// Counts client connections.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    accepted: Counter,
    open: Gauge,
}

/// One open client connection, until dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

/// Counts one upstream's connects.
#[derive(Clone, Debug)]
pub struct ConnectMetrics {
    latency: Histogram,
    failures: Counter,
}

#[derive(Debug)]
struct RouteFamilies {
    clients_open: Family<Labels, Gauge>,
    streams_open: Family<Labels, Gauge>,
    upstream_open: Family<Labels, Gauge>,
    buffered_bytes: Family<Labels, Gauge>,
    clients: Family<Labels, Counter>,
    upstream: Family<Labels, Counter>,
    reconnects: Family<Labels, Counter>,
    events_received: Family<Labels, Counter>,
    events_sent: Family<Labels, Counter>,
    events_replayed: Family<Labels, Counter>,
    heartbeats: Family<Labels, Counter>,
    compressed_from: Family<Labels, Counter>,
    compressed_to: Family<Labels, Counter>,
    gaps: Family<Labels, Counter>,
    not_durable: Family<Labels, Gauge>,
    journal_failures: Family<Labels, Counter>,
    taken_over: Family<Labels, Counter>,
    handed_over: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    answers: Family<Labels, Counter>,
    head: Histograms,
    first_byte: Histograms,
}

// === impl Metrics ===

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sse");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The version that is running", Info::new(version));
        let r = &mut registry;
        Self {
            routes: RouteFamilies::register(r),
            connect: seconds(r, "connect", "Time to connect to a server, TLS included"),
            connect_failures: plain(r, "connect_failures", "Failed connects to servers"),
            servers: ServerFamilies::register(r),
            reloads: register_reloads(r),
            config: plain(r, "config_info", "The configuration that is in force"),
            access_log_dropped: plain(r, "access_log_dropped", "Lines that were not written"),
            requests: register_requests(r),
            refused: plain(r, "refused", "What a limit kept from being served"),
            connections: ConnectionMetrics {
                accepted: plain(r, "connections_accepted", "Client connections accepted"),
                open: plain(r, "connections_open", "Client connections open"),
            },
            tls: TlsMetrics::register(r),
            access: AccessFamilies::register(r),
            registry,
        }
    }

    /// The observer of one route. Routes with the same path are counted
    /// together.
    pub fn route(&self, path: &str) -> Arc<RouteMetrics> {
        Arc::new(self.routes.at(path))
    }

    /// The connects to one upstream.
    pub fn connects(&self, upstream: &str) -> ConnectMetrics {
        let labels = vec![("upstream", upstream.to_owned())];
        ConnectMetrics {
            latency: self.connect.get_or_create_owned(&labels),
            failures: self.connect_failures.get_or_create_owned(&labels),
        }
    }

    /// What is known of one server.
    pub fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        self.servers.at(upstream, server)
    }

    /// What happens to the requests to one upstream.
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        self.servers.of(upstream)
    }

    /// Forgets a server that is no longer configured.
    pub fn server_gone(&self, upstream: &str, server: &str) {
        self.servers.forget(upstream, server);
    }

    /// Counts a reload of the configuration: applied, or refused.
    pub fn reloaded(&self, applied: bool) {
        let labels = vec![("result", RELOADS[usize::from(applied)].to_owned())];
        self.reloads.get_or_create_owned(&labels).inc();
    }

    /// Counts lines that an access log could not take.
    pub fn access_log_dropped(&self) -> &Counter {
        &self.access_log_dropped
    }

    /// Shows which configuration is in force.
    pub fn configured(&self, hash: &str) {
        self.config.clear();
        let labels = vec![("hash", hash.to_owned())];
        self.config.get_or_create_owned(&labels).set(1);
    }

    /// Who is not let in to the route with this path.
    pub(crate) fn access(&self, path: &str) -> AccessMetrics {
        self.access.at(path)
    }

    /// Client connections.
    pub fn connections(&self) -> &ConnectionMetrics {
        &self.connections
    }

    /// Certificates and handshakes.
    pub(crate) fn tls(&self) -> &TlsMetrics {
        &self.tls
    }

    /// What is refused for one reason.
    pub fn refused(&self, reason: &str) -> Counter {
        let labels = vec![("reason", reason.to_owned())];
        self.refused.get_or_create_owned(&labels)
    }

    /// Counts a response head.
    pub fn responded(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(counter) = self.requests.get(class) {
            counter.inc();
        }
    }

    /// Everything, as text of the type [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

// === impl RouteFamilies ===

impl RouteFamilies {
    fn register(r: &mut Registry) -> Self {
        let buffered_bytes = Family::default();
        r.register_with_unit(
            "buffered",
            "Bytes retained for replay",
            Unit::Bytes,
            Family::clone(&buffered_bytes),
        );
        Self {
            clients_open: plain(r, "clients_open", "Clients reading a stream"),
            streams_open: plain(r, "streams_open", "Streams in memory, live or retained"),
            upstream_open: plain(r, "upstream_streams_open", "Event streams open upstream"),
            buffered_bytes,
            clients: plain(r, "clients", "Clients that began to read a stream"),
            upstream: plain(r, "upstream_streams", "Event streams opened upstream"),
            reconnects: plain(
                r,
                "upstream_reconnects",
                "Attempts to get a lost upstream stream back",
            ),
            events_received: plain(r, "events_received", "Events from upstream"),
            events_sent: plain(r, "events_sent", "Events to clients, summed over clients"),
            events_replayed: plain(
                r,
                "events_replayed",
                "Of the events sent, those from the buffer",
            ),
            heartbeats: plain(r, "heartbeats", "Heartbeats to clients"),
            compressed_from: plain(r, "compress_input_bytes", "Bytes of events compressed"),
            compressed_to: plain(r, "compress_output_bytes", "What became of those bytes"),
            gaps: plain(r, "gaps", "Losses known or feared"),
            not_durable: plain(
                r,
                "streams_not_durable",
                "Streams that go on in memory although there is a journal",
            ),
            journal_failures: plain(r, "journal_failures", "Appends a journal did not keep"),
            taken_over: plain(
                r,
                "streams_taken_over",
                "Streams whose upstream became this process's to connect to",
            ),
            handed_over: plain(
                r,
                "streams_handed_over",
                "Streams whose upstream became another process's",
            ),
            retries: plain(
                r,
                "request_retries",
                "Requests sent again that had got no answer",
            ),
            answers: plain(
                r,
                "answers_ended",
                "One-shot streams that ended, complete or cut",
            ),
            head: seconds(r, "upstream_head", "Request upstream to its response head"),
            first_byte: seconds(r, "upstream_first_byte", "Response head to first body byte"),
        }
    }

    fn at(&self, path: &str) -> RouteMetrics {
        let labels = vec![("route", path.to_owned())];
        let gaps = GAP_REASONS.map(|reason| {
            let reason = ("reason", reason.as_str().to_owned());
            let labels = labels.iter().cloned().chain([reason]).collect();
            self.gaps.get_or_create_owned(&labels)
        });
        let answers = |end: &str| {
            let end = ("end", end.to_owned());
            let labels = labels.iter().cloned().chain([end]).collect();
            self.answers.get_or_create_owned(&labels)
        };
        RouteMetrics {
            answers_complete: answers("complete"),
            answers_cut: answers("cut"),
            clients_open: self.clients_open.get_or_create_owned(&labels),
            streams_open: self.streams_open.get_or_create_owned(&labels),
            upstream_open: self.upstream_open.get_or_create_owned(&labels),
            buffered_bytes: self.buffered_bytes.get_or_create_owned(&labels),
            clients: self.clients.get_or_create_owned(&labels),
            upstream: self.upstream.get_or_create_owned(&labels),
            reconnects: self.reconnects.get_or_create_owned(&labels),
            events_received: self.events_received.get_or_create_owned(&labels),
            events_sent: self.events_sent.get_or_create_owned(&labels),
            events_replayed: self.events_replayed.get_or_create_owned(&labels),
            heartbeats: self.heartbeats.get_or_create_owned(&labels),
            compressed_from: self.compressed_from.get_or_create_owned(&labels),
            compressed_to: self.compressed_to.get_or_create_owned(&labels),
            gaps,
            not_durable: self.not_durable.get_or_create_owned(&labels),
            journal_failures: self.journal_failures.get_or_create_owned(&labels),
            taken_over: self.taken_over.get_or_create_owned(&labels),
            handed_over: self.handed_over.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            head: self.head.get_or_create_owned(&labels),
            first_byte: self.first_byte.get_or_create_owned(&labels),
        }
    }
}

// === impl RouteMetrics ===

impl Observer for RouteMetrics {
    fn observe(&self, signal: Signal) {
        match signal {
            Signal::ClientOpened => {
                self.clients_open.inc();
                self.clients.inc();
            }
            Signal::ClientClosed => drop(self.clients_open.dec()),
            Signal::StreamOpened => drop(self.streams_open.inc()),
            Signal::StreamClosed => drop(self.streams_open.dec()),
            Signal::UpstreamOpened => {
                self.upstream_open.inc();
                self.upstream.inc();
            }
            Signal::UpstreamClosed => drop(self.upstream_open.dec()),
            Signal::UpstreamReconnect => drop(self.reconnects.inc()),
            Signal::EventsIn(events) => drop(self.events_received.inc_by(events)),
            Signal::EventsOut(events) => drop(self.events_sent.inc_by(events)),
            Signal::Replayed(events) => drop(self.events_replayed.inc_by(events)),
            Signal::Gap(reason) => self.gap(reason),
            Signal::Buffered(change) => drop(self.buffered_bytes.inc_by(change)),
            Signal::JournalFailed => drop(self.journal_failures.inc()),
            Signal::Durable(true) => drop(self.not_durable.dec()),
            Signal::Durable(false) => drop(self.not_durable.inc()),
            Signal::Owned => drop(self.taken_over.inc()),
            Signal::Disowned => drop(self.handed_over.inc()),
            Signal::Retried => drop(self.retries.inc()),
            Signal::AnswerEnded { complete: true } => drop(self.answers_complete.inc()),
            Signal::AnswerEnded { complete: false } => drop(self.answers_cut.inc()),
            Signal::Heartbeat => drop(self.heartbeats.inc()),
            Signal::Compressed { from, to } => {
                self.compressed_from.inc_by(from);
                self.compressed_to.inc_by(to);
            }
            Signal::UpstreamHead(time) => self.head.observe(time.as_secs_f64()),
            Signal::UpstreamFirstByte(time) => self.first_byte.observe(time.as_secs_f64()),
        }
    }
}

impl RouteMetrics {
    fn gap(&self, reason: GapReason) {
        for (counted, counter) in GAP_REASONS.iter().zip(&self.gaps) {
            if *counted == reason {
                counter.inc();
            }
        }
    }
}

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    /// Counts a connection, which is open until the guard is dropped.
    pub fn accepted(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

// === impl ConnectMetrics ===

impl ConnectMetrics {
    /// Counts a connection that was made.
    pub fn connected(&self, time: Duration) {
        self.latency.observe(time.as_secs_f64());
    }

    /// Counts one that was not.
    pub fn failed(&self) {
        self.failures.inc();
    }
}

fn plain<M: Metric + Clone + Default>(r: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    r.register(name, help, metric.clone());
    metric
}

fn seconds(r: &mut Registry, name: &str, help: &str) -> Histograms {
    // 1 ms to 1 min: a local backend's head at one end, a thinking model's
    // first byte at the other.
    const BOUNDS: [f64; 12] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0,
    ];
    let family: Histograms = Family::new_with_constructor(|| Histogram::new(BOUNDS));
    r.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

fn register_reloads(r: &mut Registry) -> Family<Labels, Counter> {
    let reloads: Family<Labels, Counter> = plain(r, "reloads", "Reloads of the configuration");
    for result in RELOADS {
        reloads.get_or_create_owned(&vec![("result", result.to_owned())]);
    }
    reloads
}

fn register_requests(r: &mut Registry) -> [Counter; 5] {
    let requests: Family<Labels, Counter> = plain(r, "requests", "Responses by status class");
    STATUS_CLASSES.map(|class| {
        let labels = vec![("status", class.to_owned())];
        requests.get_or_create_owned(&labels)
    })
}
