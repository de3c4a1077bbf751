//! Which server of an upstream is next.
//!
//! Two things can speak against a server. An active health check *knows* it is
//! down ([`Server::set_healthy`]); such a server is not tried. A failed
//! connect makes it *suspect* for a moment ([`Server::suspect`]); a suspect is
//! tried last, but it is tried: with no health checks, a suspicion is a guess,
//! and refusing everybody on a guess would be worse.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use prometheus_client::metrics::gauge::Gauge;

use super::config::model;

/// How long a failed connect speaks against a server.
const SUSPICION: Duration = Duration::from_secs(3);

/// The servers of one upstream and the rule that picks among them.
#[derive(Debug)]
pub struct Balance {
    policy: model::Balance,
    servers: Vec<Arc<Server>>,
    turn: AtomicUsize,
}

/// One server: where it is, and what is known about it.
pub struct Server {
    scheme: Scheme,
    authority: Authority,
    /// Responses whose body is still open, and requests without one yet.
    open: AtomicUsize,
    healthy: AtomicBool,
    /// Milliseconds after `epoch`; zero is never. An atomic cannot hold an
    /// `Instant`.
    suspect_until: AtomicU64,
    epoch: Instant,
    up: Gauge,
}

/// A place at a server. It counts as one open stream until it is dropped.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
}

// === impl Balance ===

impl Balance {
    /// A balance over `servers`, all of them taken for healthy.
    pub fn new(policy: model::Balance, servers: Vec<Server>) -> Self {
        Self {
            policy,
            servers: servers.into_iter().map(Arc::new).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// All servers, in the order of the configuration.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Whether a server is left that is not known to be down.
    pub fn is_available(&self) -> bool {
        self.servers.iter().any(|server| server.is_healthy())
    }

    /// The next server that is not known to be down and not in `tried`;
    /// suspects only when nobody else is left.
    pub fn pick(&self, now: Instant, tried: &[Arc<Server>]) -> Option<Lease> {
        let eligible = |server: &&Arc<Server>| {
            server.is_healthy() && !tried.iter().any(|t| Arc::ptr_eq(t, server))
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let server = self
            .choose(turn, |server| eligible(server) && !server.is_suspect(now))
            .or_else(|| self.choose(turn, eligible))?;
        Some(Lease::new(server))
    }

    fn choose(
        &self,
        turn: usize,
        eligible: impl Fn(&&Arc<Server>) -> bool,
    ) -> Option<&Arc<Server>> {
        // Starting one further each time is the whole of round robin; for
        // least streams it spreads the ties, which `min_by_key` gives to the
        // first it sees.
        let start = turn.checked_rem(self.servers.len())?;
        let (head, tail) = self.servers.split_at(start);
        let mut candidates = tail.iter().chain(head).filter(eligible);
        match self.policy {
            model::Balance::RoundRobin => candidates.next(),
            model::Balance::LeastStreams => candidates.min_by_key(|server| server.open()),
        }
    }
}

// === impl Server ===

impl Server {
    /// A server at the scheme and authority of `uri`; `up` shows its health.
    /// `None` if `uri` lacks either.
    pub fn new(uri: &Uri, up: Gauge) -> Option<Self> {
        up.set(1);
        Some(Self {
            scheme: uri.scheme()?.clone(),
            authority: uri.authority()?.clone(),
            open: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            suspect_until: AtomicU64::new(0),
            epoch: Instant::now(),
            up,
        })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Leases not yet dropped.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// False if an active health check found it down.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Records what an active health check found; true if that is news. Good
    /// news also clears a suspicion.
    pub fn set_healthy(&self, healthy: bool) -> bool {
        self.up.set(i64::from(healthy));
        if healthy {
            self.suspect_until.store(0, Ordering::Relaxed);
        }
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// Records a failed connect.
    pub fn suspect(&self, now: Instant) {
        self.suspect_until
            .store(self.millis(now + SUSPICION), Ordering::Relaxed);
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.millis(now) < self.suspect_until.load(Ordering::Relaxed)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("authority", &self.authority)
            .field("open", &self.open())
            .field("healthy", &self.is_healthy())
            .finish_non_exhaustive()
    }
}

// === impl Lease ===

impl Lease {
    fn new(server: &Arc<Server>) -> Self {
        server.open.fetch_add(1, Ordering::Relaxed);
        Self {
            server: Arc::clone(server),
        }
    }

    /// The server this is a place at.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use model::Balance::{LeastStreams, RoundRobin};

    fn balance(policy: model::Balance, servers: usize) -> Balance {
        let server = |i| {
            let uri: Uri = format!("http://s{i}:80").parse().unwrap();
            Server::new(&uri, Gauge::default()).unwrap()
        };
        Balance::new(policy, (0..servers).map(server).collect())
    }

    fn name(lease: &Lease) -> &str {
        lease.server().authority().host()
    }

    #[test]
    fn round_robin_takes_turns() {
        let balance = balance(RoundRobin, 3);
        let now = Instant::now();
        let picked: Vec<_> = (0..6).map(|_| balance.pick(now, &[]).unwrap()).collect();
        let names: Vec<_> = picked.iter().map(name).collect();
        assert_eq!(names, ["s0", "s1", "s2", "s0", "s1", "s2"]);
    }

    #[test]
    fn least_streams_counts_until_the_lease_is_dropped() {
        let balance = balance(LeastStreams, 2);
        let now = Instant::now();
        let first = balance.pick(now, &[]).unwrap();
        let second = balance.pick(now, &[]).unwrap();
        assert_ne!(name(&first), name(&second));
        let gone = name(&first).to_owned();
        drop(first);
        for _ in 0..5 {
            assert_eq!(name(&balance.pick(now, &[]).unwrap()), gone);
        }
    }

    #[test]
    fn a_suspect_is_last_but_not_excluded_and_forgiven_in_time() {
        let balance = balance(RoundRobin, 2);
        let now = Instant::now();
        balance.servers()[0].suspect(now);
        for _ in 0..4 {
            assert_eq!(name(&balance.pick(now, &[]).unwrap()), "s1");
        }
        balance.servers()[1].suspect(now);
        assert!(balance.pick(now, &[]).is_some(), "all suspect: fail open");
        let later = now + SUSPICION;
        let names: Vec<_> = (0..2)
            .map(|_| name(&balance.pick(later, &[]).unwrap()).to_owned())
            .collect();
        assert!(names.contains(&"s0".into()) && names.contains(&"s1".into()));
    }

    #[test]
    fn a_server_known_to_be_down_is_not_tried() {
        let balance = balance(RoundRobin, 2);
        let now = Instant::now();
        assert!(balance.servers()[0].set_healthy(false), "news");
        assert!(!balance.servers()[0].set_healthy(false), "no news");
        assert_eq!(name(&balance.pick(now, &[]).unwrap()), "s1");
        assert!(balance.is_available());
        balance.servers()[1].set_healthy(false);
        assert!(balance.pick(now, &[]).is_none());
        assert!(!balance.is_available());
    }

    proptest! {
        /// Whatever the state, all untried healthy servers are offered once
        /// each, those not suspect first, and then none.
        #[test]
        fn every_healthy_server_is_offered_once(
            states in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..8),
            least in any::<bool>(),
            turns in 0_usize..20,
        ) {
            let balance = balance(if least { LeastStreams } else { RoundRobin }, states.len());
            let now = Instant::now();
            for _ in 0..turns {
                drop(balance.pick(now, &[]));
            }
            for (server, (healthy, suspect)) in balance.servers().iter().zip(&states) {
                server.set_healthy(*healthy);
                if *suspect {
                    server.suspect(now);
                }
            }
            let mut tried: Vec<Arc<Server>> = Vec::new();
            while let Some(lease) = balance.pick(now, &tried) {
                prop_assert!(lease.server().is_healthy());
                tried.push(Arc::clone(lease.server()));
            }
            let expected = states.iter().filter(|(healthy, _)| *healthy).count();
            prop_assert_eq!(tried.len(), expected);
            prop_assert!(tried.is_sorted_by_key(|server| server.is_suspect(now)));
            prop_assert!(balance.servers().iter().all(|server| server.open() == 0));
        }
    }
}
