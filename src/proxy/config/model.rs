//! The configuration after it was read: types that cannot be wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Uri};

pub use super::access::{
    Access, AllowedHeaders, Cors, ForwardAuth, Jwt, JwtKey, KeySource, Origin, Origins,
};
pub use super::network::Networks;
pub use super::operation::{AccessFormat, AccessLog, Operations, Reload};
pub use super::secret::Secret;
pub use super::tls::{Acme, CertificateFiles, Challenge, ClientCertificates, Tls, TlsVersion};
pub use super::upstream::model::{Identity, Passive, Pool, Protocol, Sticky, UpstreamTls};
use crate::resume::settings::{Coding, Settings};

/// A whole, valid `proxy.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect. At least one.
    pub listeners: Vec<Listener>,
    /// Proxies before this one, whose word for a client's address is believed.
    pub trusted_proxies: Networks,
    /// Where operators connect: health, readiness, metrics.
    pub admin: Option<SocketAddr>,
    /// Where streams outlive their connections.
    pub journal: JournalSettings,
    /// What happens on SIGTERM.
    pub drain: Drain,
    /// Bounds for the whole process.
    pub limits: Limits,
    /// Backends by name. An upstream given in place as a URL is named by it.
    pub upstreams: BTreeMap<String, Upstream>,
    /// First match wins. At least one.
    pub routes: Vec<Route>,
    /// How the process is run and watched.
    pub operations: Operations,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// With it, TLS only; without it, cleartext HTTP/1.1 and h2c.
    pub tls: Option<Tls>,
    /// Another process may listen at the same address. Default: no.
    pub reuse_port: bool,
    /// In clear only: clients are sent to this port of the same host over TLS.
    pub redirect_to_https: Option<u16>,
    /// Who begins connections here with a header of the PROXY protocol; nobody
    /// else is served then.
    pub proxy_protocol: Option<Networks>,
}

impl Listener {
    /// Where clients look for TLS if they are told nothing else.
    pub const HTTPS_PORT: u16 = 443;
}

/// How the process ends on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// One-shot streams and plain requests may finish until then. Default 30 s.
    pub deadline: Duration,
    /// Live GET streams are closed at random moments within it. Default 10 s.
    pub spread: Duration,
    /// From when to when their clients are told, each at random, to come back:
    /// the last thing they are sent. Default: they are not told.
    pub retry: Option<(Duration, Duration)>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            spread: Duration::from_secs(10),
            retry: None,
        }
    }
}

/// Bounds for the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes retained for replay over all streams. Default 1 GiB.
    pub buffered_bytes: usize,
    /// Client connections open at a time. Default 100 000.
    pub connections: usize,
    /// Time a client has to send its request head. Default 30 s.
    pub header_timeout: Duration,
    /// Time a write to a client may make no progress. Default 30 s.
    pub write_timeout: Duration,
    /// Connections of one address. Default: any number.
    pub connections_per_address: Option<usize>,
    /// Event streams and tunnels of one address. Default: any number.
    pub streams_per_address: Option<usize>,
    /// Event streams and tunnels of one principal. Default: any number.
    pub streams_per_principal: Option<usize>,
    /// Bytes of a request's head. Default 32 KiB.
    pub header_bytes: usize,
    /// Headers of a request. Default 100.
    pub headers: usize,
    /// Bytes of a request's body. Default: any number.
    pub request_body: Option<usize>,
    /// Time a request's body may make no progress. Default: any time.
    pub body_timeout: Option<Duration>,
    /// Time a connection may wait for its next request. Default: over HTTP/1.1
    /// the header timeout, over HTTP/2 any time.
    pub idle_timeout: Option<Duration>,
    /// Time a tunnel may carry nothing either way. Default 1 h.
    pub tunnel_idle: Option<Duration>,
    /// Age at which a connection is closed, and its GET streams are ended; give
    /// or take a tenth. Default: any age.
    pub max_connection_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffered_bytes: 1 << 30,
            connections: 100_000,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            connections_per_address: None,
            streams_per_address: None,
            streams_per_principal: None,
            header_bytes: 32 << 10,
            headers: 100,
            request_body: None,
            body_timeout: None,
            idle_timeout: None,
            tunnel_idle: Some(Duration::from_secs(60 * 60)),
            max_connection_age: None,
        }
    }
}

/// A named group of equal servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `http://` or `https://` with authority, and nothing else.
    pub servers: Vec<Uri>,
    /// Which of them is next.
    pub balance: Balance,
    /// What decides it instead, where a request has it.
    pub sticky: Option<Sticky>,
    /// Time to establish a connection, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// Time to the response head; `None` waits for ever. Default 60 s.
    pub response_timeout: Option<Duration>,
    /// What is spoken to them. Default HTTP/1.1.
    pub protocol: Protocol,
    /// How `https` servers are verified; `None`: by the system's authorities.
    pub tls: Option<UpstreamTls>,
    /// Connections kept, and how many there may be.
    pub pool: Pool,
    /// How long the addresses of a name are good for; `None`: for one connect.
    pub resolve: Option<Duration>,
    /// Active checks, if any.
    pub health_check: Option<HealthCheck>,
    /// What makes a server pass for down without a check, if anything.
    pub passive: Option<Passive>,
    /// Time in which a server that came back gets its full share. Default 0.
    pub slow_start: Duration,
    /// Time in which the live streams of a server that is down move to others;
    /// `None`: they stay. Default 5 s.
    pub move_streams: Option<Duration>,
}

impl Upstream {
    /// These servers, and the default of everything else.
    pub fn new(servers: Vec<Uri>) -> Self {
        Self {
            servers,
            balance: Balance::default(),
            sticky: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Some(Duration::from_secs(60)),
            protocol: Protocol::default(),
            tls: None,
            pool: Pool::default(),
            resolve: None,
            health_check: None,
            passive: None,
            slow_start: Duration::ZERO,
            move_streams: Some(Duration::from_secs(5)),
        }
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with the fewest open responses.
    LeastStreams,
}

/// An active health check by GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query asked for.
    pub path: String,
    /// Time between checks. Default 5 s.
    pub interval: Duration,
    /// Time to the head of the answer. Default: the interval.
    pub timeout: Duration,
    /// The statuses of a healthy server. Default 200 to 299.
    pub expect: RangeInclusive<u16>,
    /// So many successes in a row bring a server up again. Default 1.
    pub healthy: u32,
    /// So many failures in a row take it down. Default 2: one lost answer is an
    /// accident.
    pub unhealthy: u32,
}

impl HealthCheck {
    /// Time between checks if none is configured.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

    /// This path, so often, and the default of everything else.
    pub fn new(path: String, interval: Duration) -> Self {
        Self {
            path,
            interval,
            timeout: interval,
            expect: 200..=299,
            healthy: 1,
            unhealthy: 2,
        }
    }
}

/// One route: what it matches, where it leads, how its streams behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Exact host, or `*.suffix`; `None` matches any. Lower case, no port.
    pub host: Option<String>,
    /// Prefix by segment: `/a` matches `/a` and `/a/b`, not `/ab`.
    pub path: String,
    /// `None` matches any.
    pub methods: Option<Vec<Method>>,
    /// A key of [`Config::upstreams`].
    pub upstream: String,
    /// How often it may be asked. All of them must allow a request.
    pub rate_limit: Vec<RateLimit>,
    /// Protocols that a connection may be upgraded to. Default `websocket`.
    pub upgrade: Vec<String>,
    /// Who may use it.
    pub access: Access,
    /// Stream settings, defaults applied.
    pub sse: Settings,
    /// Compresses answers that are no event streams, for clients that accept it.
    pub compress: Option<Coding>,
}

/// How often a route may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub per: Per,
    /// So many requests, at least 1, in each window on average.
    pub requests: u32,
    /// At most a day. Default 1 s.
    pub window: Duration,
    /// So many at once, at least 1. Default: as `requests`.
    pub burst: u32,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Those of a client's address; of IPv6, its /64.
    Address,
    /// Those with the same credentials. Without any, those of an address.
    Principal,
}

/// Where streams outlive their connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalSettings {
    /// Nowhere but in this process.
    #[default]
    Memory,
    /// In a directory of this machine.
    Disk(DiskJournal),
    /// In Redis or Valkey, for all replicas.
    Redis(RedisJournal),
}

/// A journal in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskJournal {
    /// The directory, absolute. It need not exist.
    pub path: PathBuf,
    /// When what was written is safe from a loss of power.
    pub sync: DiskSync,
    /// The most it may take, in bytes. Default 1 GiB.
    pub max_bytes: usize,
}

impl DiskJournal {
    /// This directory, and the default of everything else.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            sync: DiskSync::default(),
            max_bytes: 1 << 30,
        }
    }
}

/// When what was written is safe from a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSync {
    /// Before it is passed on.
    Always,
    /// This much later at most. Default, with 1 s.
    Interval(Duration),
    /// When the kernel thinks fit.
    Never,
}

impl Default for DiskSync {
    fn default() -> Self {
        Self::Interval(Duration::from_secs(1))
    }
}

/// A journal in Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisJournal {
    /// `redis://` or `rediss://` URLs of the servers, or of the sentinels; at
    /// least one, and only one if standalone. They differ in host and port only.
    pub urls: Vec<Secret<String>>,
    /// How the servers belong together. Default: there is one.
    pub topology: RedisTopology,
    /// The key by which names and principals are hashed: SHA-256 of what is
    /// configured.
    pub secret: Secret<[u8; 32]>,
    /// How long an owner that is not heard of stays owner. Default 5 s, from
    /// 1 s to 60 s.
    pub lease: Duration,
    /// What all keys begin with: letters, digits, `-_.:`. Default `sse`.
    pub prefix: String,
    /// What streams do while the servers are away.
    pub on_loss: OnJournalLoss,
    /// PEM file of the authorities that vouch for the servers, in place of the
    /// system's.
    pub ca: Option<PathBuf>,
}

impl RedisJournal {
    /// These servers and this secret, and the default of everything else.
    pub fn new(urls: Vec<Secret<String>>, secret: Secret<[u8; 32]>) -> Self {
        Self {
            urls,
            topology: RedisTopology::default(),
            secret,
            lease: Duration::from_secs(5),
            prefix: "sse".to_owned(),
            on_loss: OnJournalLoss::default(),
            ca: None,
        }
    }
}

/// How servers of Redis belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedisTopology {
    /// There is one.
    #[default]
    Standalone,
    /// Sentinels know which one is the master.
    Sentinel {
        /// What they call it.
        service: String,
    },
    /// Each has a part of the keys.
    Cluster,
}

/// What a stream does while its journal is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnJournalLoss {
    /// Its clients get heartbeats, and events when the journal is back.
    #[default]
    Pause,
    /// Each process goes on by itself, under ids of its own.
    Continue,
}
