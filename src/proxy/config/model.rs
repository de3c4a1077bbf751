//! The configuration after it was read: types that cannot be wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, Uri};

pub use super::secret::Secret;
use crate::resume::settings::{Coding, Settings};

/// A whole, valid `proxy.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect. At least one.
    pub listeners: Vec<Listener>,
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
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// With it, TLS only; without it, cleartext HTTP/1.1 and h2c.
    pub tls: Option<Tls>,
}

/// PEM files of one TLS listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// If set, clients must present a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// How the process ends on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// One-shot streams and plain requests may finish until then. Default 30 s.
    pub deadline: Duration,
    /// Live GET streams are closed at random moments within it. Default 10 s.
    pub spread: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            spread: Duration::from_secs(10),
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffered_bytes: 1 << 30,
            connections: 100_000,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
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
    /// Time to establish a connection, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// Time to the response head; `None` waits for ever. Default 60 s.
    pub response_timeout: Option<Duration>,
    /// Active checks, if any.
    pub health_check: Option<HealthCheck>,
}

impl Upstream {
    /// These servers, and the default of everything else.
    pub fn new(servers: Vec<Uri>) -> Self {
        Self {
            servers,
            balance: Balance::default(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Some(Duration::from_secs(60)),
            health_check: None,
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

/// An active health check: GET, healthy on 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query asked for.
    pub path: String,
    /// Time between checks, and the timeout of one. Default 5 s.
    pub interval: Duration,
}

impl HealthCheck {
    /// Time between checks if none is configured.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
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
    /// Stream settings, defaults applied.
    pub sse: Settings,
    /// Compresses answers that are no event streams, for clients that accept it.
    pub compress: Option<Coding>,
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
