use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::journal::OnLoss;

/// Where Redis is, and what is to be done when it is not.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://` (TLS) URLs with user, password and database
    /// where needed. One for a standalone server; all Sentinels; or some nodes
    /// of a cluster, which tell of the others. User, password, database and TLS
    /// in the first Sentinel's URL are those of the servers it watches.
    pub urls: Vec<String>,
    /// What these URLs are the addresses of.
    pub topology: Topology,
    /// What the Sentinels themselves are asked with, if they ask for a password.
    pub sentinel_password: Option<String>,
    /// Within this time an owner that died is replaced. 1 s to 60 s, default
    /// 5 s. Shorter means more requests, and that a shorter silence of Redis
    /// already costs the upstream connections.
    pub lease: Duration,
    /// What all keys and channels begin with (after a `{`), default `sse`:
    /// letters, digits, `-`, `_`, `.` and `:`.
    pub prefix: String,
    /// With this, names and principals are hashed. The same for all processes
    /// that share streams; derived from configured text and never in Redis.
    pub secret: [u8; 32],
    /// A PEM file of the authorities that certificates are checked against,
    /// instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What happens to streams while Redis is out of reach.
    pub on_loss: OnLoss,
    /// How long an answer is waited for, default 2 s.
    pub timeout: Duration,
}

/// What the URLs are the addresses of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// Sentinels, which know the master of this name.
    Sentinel {
        /// What the Sentinels call it.
        service: String,
    },
    /// Nodes of a Redis Cluster.
    Cluster,
}

impl RedisSettings {
    /// A standalone server at `url`, everything else as by default.
    pub fn new(url: impl Into<String>, secret: [u8; 32]) -> Self {
        Self {
            urls: vec![url.into()],
            topology: Topology::Standalone,
            sentinel_password: None,
            lease: Duration::from_secs(5),
            prefix: "sse".to_owned(),
            secret,
            ca_file: None,
            on_loss: OnLoss::Pause,
            timeout: Duration::from_secs(2),
        }
    }

    /// What is wrong with them, as far as they can tell by themselves.
    pub(super) fn check(&self) -> Result<(), String> {
        let in_alphabet = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if self.urls.is_empty() {
            return Err("no URL of a Redis server is given".to_owned());
        }
        if self.urls.len() > 1 && self.topology == Topology::Standalone {
            return Err("several URLs are given for one standalone server".to_owned());
        }
        if self.prefix.is_empty() || !self.prefix.chars().all(in_alphabet) {
            return Err("the prefix must be of letters, digits, `-`, `_`, `.`, `:`".to_owned());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.lease) {
            return Err("the lease must be from 1 s to 60 s".to_owned());
        }
        if self.timeout.is_zero() {
            return Err("the timeout must not be zero".to_owned());
        }
        Ok(())
    }
}

// URLs hold passwords, and the secret is one.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("urls", &self.urls.len())
            .field("topology", &self.topology)
            .field("lease", &self.lease)
            .field("prefix", &self.prefix)
            .field("ca_file", &self.ca_file)
            .field("on_loss", &self.on_loss)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
