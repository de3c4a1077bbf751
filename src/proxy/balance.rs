//! Which server of an upstream is next.
//!
//! Much can speak against a server. An active health check *knows* it is down
//! ([`Balance::set_healthy`]), or an operator wants it spared
//! ([`Balance::set_drained`]); such a server is not tried. Failures in a row
//! *eject* it for a while ([`Balance::failed`]), and a failed connect makes it
//! *suspect* for a moment ([`Server::suspect`]); these are tried last, but they
//! are tried: both are guesses, and refusing everybody on a guess would be worse.

mod affinity;
mod guests;
mod mover;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use self::affinity::Affinity;
pub use self::guests::Guest;
pub use self::mover::Mover;
use self::server::Doubt;
pub use self::server::Server;
use super::config::model::{self, Passive};

/// The servers of one upstream and the rule that picks among them.
#[derive(Debug)]
pub struct Balance {
    rules: Rules,
    servers: Vec<Arc<Server>>,
    turn: AtomicUsize,
    /// Held to eject: two at once could each take the other for the last resort.
    ejecting: Mutex<()>,
    /// What is known of a server changed.
    changes: watch::Sender<()>,
}

/// How a balance picks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Which of several is next.
    pub policy: model::Balance,
    /// What ejects a server.
    pub passive: Option<Passive>,
    /// How long a server that came back takes to get its full share.
    pub slow_start: Duration,
    /// Leases of one server at a time.
    pub max_open: Option<usize>,
}

/// A place at a server. It counts as one open stream until it is dropped.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
}

/// Why there is no server to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// Those not tried are down.
    Down,
    /// One of those not tried is up, and has as much to do as it may.
    Full,
}

// === impl Balance ===

impl Balance {
    /// A balance over `servers`, all of them taken for healthy.
    pub fn new(rules: Rules, servers: Vec<Server>) -> Self {
        Self {
            rules,
            servers: servers.into_iter().map(Arc::new).collect(),
            turn: AtomicUsize::new(0),
            ejecting: Mutex::new(()),
            changes: watch::Sender::new(()),
        }
    }

    /// All servers, in the order of the configuration.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Whether a server is left that is not known to be down.
    pub fn is_available(&self) -> bool {
        self.servers.iter().any(|server| server.is_available())
    }

    /// The next server that is not known to be down and not in `tried`, the one
    /// that `affinity` says, if any. Suspects only when nobody else is left, and
    /// after them the ejected.
    pub fn pick(
        &self,
        now: Instant,
        tried: &[Arc<Server>],
        affinity: Option<&Affinity>,
    ) -> Result<Lease, NoServer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried = |server: &Arc<Server>| {
            server.is_available() && !tried.iter().any(|t| Arc::ptr_eq(t, server))
        };
        for doubt in [Doubt::None, Doubt::Suspect, Doubt::Ejected] {
            let eligible = |server: &Arc<Server>| {
                self.has_room(server) && server.doubt(now) == doubt && untried(server)
            };
            let in_full = |server: &Arc<Server>| {
                eligible(server) && self.takes_part(server, turn, affinity, now)
            };
            while let Some(server) = self
                .choose(turn, affinity, in_full)
                .or_else(|| self.choose(turn, affinity, eligible))
            {
                if let Some(lease) = Lease::take(server, self.rules.max_open) {
                    return Ok(lease);
                }
            }
        }
        let full = self.servers.iter().any(untried);
        Err(if full { NoServer::Full } else { NoServer::Down })
    }

    fn choose(
        &self,
        turn: usize,
        affinity: Option<&Affinity>,
        eligible: impl Fn(&Arc<Server>) -> bool,
    ) -> Option<&Arc<Server>> {
        // Starting one further each time is the whole of round robin; for
        // least streams it spreads the ties, which `min_by_key` gives to the
        // first it sees.
        let start = turn.checked_rem(self.servers.len())?;
        let (head, tail) = self.servers.split_at(start);
        let mut candidates = tail.iter().chain(head).filter(|server| eligible(server));
        match (affinity, self.rules.policy) {
            (Some(affinity), _) => {
                candidates.max_by_key(|server| affinity.score(server.authority()).rank)
            }
            (None, model::Balance::RoundRobin) => candidates.next(),
            (None, model::Balance::LeastStreams) => candidates.min_by_key(|server| server.open()),
        }
    }

    fn has_room(&self, server: &Server) -> bool {
        self.rules.max_open.is_none_or(|max| server.open() < max)
    }

    /// Whether a server that came back a moment ago takes this one already. With
    /// an affinity, what it takes once it goes on to take.
    fn takes_part(
        &self,
        server: &Server,
        turn: usize,
        affinity: Option<&Affinity>,
        now: Instant,
    ) -> bool {
        let share = server.share(self.rules.slow_start, now);
        share >= 1.0
            || share
                > match affinity {
                    Some(affinity) => affinity.score(server.authority()).chance,
                    // Multiples of the golden ratio are spread evenly.
                    None => fraction((turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                }
    }

    // === What becomes of requests, and of servers ===

    /// Records what an active health check found; true if that is news. Good
    /// news also clears a suspicion.
    pub fn set_healthy(&self, server: &Server, healthy: bool, now: Instant) -> bool {
        self.changed(server, server.set_healthy(healthy, now), now)
    }

    /// Spares a server, or has it back; true if that is news.
    pub fn set_drained(&self, server: &Server, drained: bool, now: Instant) -> bool {
        self.changed(server, server.set_drained(drained, now), now)
    }

    fn changed(&self, server: &Server, news: bool, now: Instant) -> bool {
        if news {
            server.metrics.up.set(i64::from(server.is_up(now)));
            self.changes.send_replace(());
        }
        news
    }

    /// Records that a server did not answer, or answered for one that does not.
    /// True if that ejects it. The last one is never ejected.
    pub fn failed(&self, server: &Arc<Server>, now: Instant) -> bool {
        let Some(passive) = self.rules.passive else {
            return false;
        };
        if server.failed() < passive.failures {
            return false;
        }
        let ejecting = self.ejecting.lock();
        let _one = ejecting.unwrap_or_else(PoisonError::into_inner);
        if server.is_ejected(now) || !self.has_other(server, now) {
            return false;
        }
        server.eject(now + passive.eject);
        self.changes.send_replace(());
        true
    }

    /// Records an answer.
    pub fn succeeded(&self, server: &Server) {
        if self.rules.passive.is_some() {
            server.succeeded();
        }
    }

    /// Whether another server is up.
    pub fn has_other(&self, server: &Arc<Server>, now: Instant) -> bool {
        let mut others = self.servers.iter().filter(|o| !Arc::ptr_eq(o, server));
        others.any(|other| other.is_up(now))
    }

    /// A place for a live stream that may go on elsewhere; `None` if there is no
    /// elsewhere.
    pub fn welcome(&self, server: &Server) -> Option<Guest> {
        if self.servers.len() < 2 {
            return None;
        }
        let guest = server.guests.enter();
        if !server.is_up(Instant::now()) {
            // It went down while this one was on its way.
            self.changes.send_replace(());
        }
        Some(guest)
    }

    /// Told whenever a server goes down or comes up, the end of an ejection
    /// aside.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// From `0.0` to below `1.0`.
#[expect(clippy::cast_precision_loss, reason = "no more is wanted")]
fn fraction(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

// === impl Lease ===

impl Lease {
    /// `None` if it would be one too many.
    fn take(server: &Arc<Server>, max: Option<usize>) -> Option<Self> {
        let before = server.metrics.open.inc();
        let lease = Self {
            server: Arc::clone(server),
        };
        let fits = max.is_none_or(|max| usize::try_from(before).is_ok_and(|n| n < max));
        fits.then_some(lease)
    }

    /// The server this is a place at.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.metrics.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::metrics::ServerMetrics;
    use model::Balance::{LeastStreams, RoundRobin};

    fn servers(count: usize) -> Vec<Server> {
        let server = |i| {
            let uri: http::Uri = format!("http://s{i}:80").parse().unwrap();
            Server::new(&uri, ServerMetrics::default()).unwrap()
        };
        (0..count).map(server).collect()
    }

    fn balance(policy: model::Balance, count: usize) -> Balance {
        let rules = Rules {
            policy,
            ..Rules::default()
        };
        Balance::new(rules, servers(count))
    }

    fn name(lease: &Lease) -> &str {
        lease.server().authority().host()
    }

    #[test]
    fn round_robin_takes_turns() {
        let balance = balance(RoundRobin, 3);
        let now = Instant::now();
        let picked: Vec<_> = (0..6)
            .map(|_| balance.pick(now, &[], None).unwrap())
            .collect();
        let names: Vec<_> = picked.iter().map(name).collect();
        assert_eq!(names, ["s0", "s1", "s2", "s0", "s1", "s2"]);
    }

    #[test]
    fn least_streams_counts_until_the_lease_is_dropped() {
        let balance = balance(LeastStreams, 2);
        let now = Instant::now();
        let first = balance.pick(now, &[], None).unwrap();
        let second = balance.pick(now, &[], None).unwrap();
        assert_ne!(name(&first), name(&second));
        let gone = name(&first).to_owned();
        drop(first);
        for _ in 0..5 {
            assert_eq!(name(&balance.pick(now, &[], None).unwrap()), gone);
        }
    }

    #[test]
    fn a_suspect_is_last_but_not_excluded_and_forgiven_in_time() {
        let balance = balance(RoundRobin, 2);
        let now = Instant::now();
        balance.servers()[0].suspect(now);
        for _ in 0..4 {
            assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
        }
        balance.servers()[1].suspect(now);
        assert!(
            balance.pick(now, &[], None).is_ok(),
            "all suspect: fail open"
        );
        let later = now + server::SUSPICION;
        let names: Vec<_> = (0..2)
            .map(|_| name(&balance.pick(later, &[], None).unwrap()).to_owned())
            .collect();
        assert!(names.contains(&"s0".into()) && names.contains(&"s1".into()));
    }

    #[test]
    fn a_server_known_to_be_down_is_not_tried() {
        let balance = balance(RoundRobin, 2);
        let now = Instant::now();
        assert!(
            balance.set_healthy(&balance.servers()[0], false, now),
            "news"
        );
        assert!(
            !balance.set_healthy(&balance.servers()[0], false, now),
            "no news"
        );
        assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
        assert!(balance.is_available());
        balance.set_healthy(&balance.servers()[1], false, now);
        assert_eq!(balance.pick(now, &[], None).unwrap_err(), NoServer::Down);
        assert!(!balance.is_available());
    }

    fn passive(failures: u32) -> Rules {
        Rules {
            passive: Some(Passive {
                failures,
                eject: Duration::from_secs(10),
            }),
            ..Rules::default()
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while_and_never_the_last() {
        let balance = Balance::new(passive(2), servers(2));
        let [a, b] = balance.servers() else { panic!() };
        let now = Instant::now();
        assert!(!balance.failed(a, now));
        balance.succeeded(a);
        assert!(!balance.failed(a, now), "not in a row");
        assert!(balance.failed(a, now));
        assert!(!a.is_up(now) && balance.is_available());
        for _ in 0..4 {
            assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
            assert!(!balance.failed(b, now), "the last");
        }
        let tried = [Arc::clone(b)];
        let last = balance.pick(now, &tried, None).unwrap();
        assert_eq!(name(&last), "s0", "asked when nobody else is left");
        assert!(a.is_up(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_full_server_gets_no_more() {
        let rules = Rules {
            max_open: Some(2),
            ..Rules::default()
        };
        let balance = Balance::new(rules, servers(2));
        let now = Instant::now();
        let mut leases: Vec<_> = (0..4)
            .map(|_| balance.pick(now, &[], None).unwrap())
            .collect();
        assert_eq!(balance.pick(now, &[], None).unwrap_err(), NoServer::Full);
        assert_eq!(balance.servers()[0].open(), 2);
        // Nor if several ask at once.
        assert!(Lease::take(&balance.servers()[0], Some(2)).is_none());
        assert_eq!(balance.servers()[0].open(), 2);
        let gone = name(&leases.pop().unwrap()).to_owned();
        assert_eq!(name(&balance.pick(now, &[], None).unwrap()), gone);
    }

    /// Of so many requests, those that the server that has just come back gets,
    /// in each of the first seconds.
    fn rising(policy: model::Balance, affinity: bool) -> Vec<usize> {
        let rules = Rules {
            policy,
            slow_start: Duration::from_secs(10),
            ..Rules::default()
        };
        let balance = Balance::new(rules, servers(2));
        let back = &balance.servers()[0];
        let now = Instant::now();
        balance.set_healthy(back, false, now);
        balance.set_healthy(back, true, now);
        let sticky = model::Sticky::Header(http::header::FROM);
        let mut leases = Vec::new();
        let mut count = |second| {
            let picks = (0..1000).filter(|i| {
                let headers = http::HeaderMap::from_iter([(http::header::FROM, (*i).into())]);
                let key = affinity.then(|| Affinity::of(&sticky, &headers, None).unwrap());
                let lease = balance.pick(now + Duration::from_secs(second), &[], key.as_ref());
                leases.push(lease.unwrap());
                name(leases.last().unwrap()) == "s0"
            });
            picks.count()
        };
        (0..=10).map(&mut count).collect()
    }

    #[test]
    fn a_server_that_comes_back_gets_a_growing_share() {
        for (policy, affinity) in [
            (RoundRobin, false),
            (LeastStreams, false),
            (RoundRobin, true),
        ] {
            let shares = rising(policy, affinity);
            assert_eq!(shares[0], 0, "{shares:?}");
            assert!(shares.is_sorted(), "{shares:?}");
            assert!((25..=150).contains(&shares[1]), "{policy:?} {shares:?}");
            assert!(shares[10] >= 450, "{policy:?} {shares:?}");
        }
    }

    #[test]
    fn the_same_request_goes_to_the_same_server_and_moves_only_if_it_must() {
        let balance = balance(RoundRobin, 4);
        let now = Instant::now();
        let sticky = model::Sticky::Header(http::header::FROM);
        let of = |i: u32| {
            let headers = http::HeaderMap::from_iter([(http::header::FROM, i.into())]);
            let affinity = Affinity::of(&sticky, &headers, None).unwrap();
            name(&balance.pick(now, &[], Some(&affinity)).unwrap()).to_owned()
        };
        let before: Vec<_> = (0..400).map(of).collect();
        assert_eq!((0..400).map(of).collect::<Vec<_>>(), before);
        for server in 0..4 {
            let share = before.iter().filter(|name| **name == format!("s{server}"));
            assert!((60..140).contains(&share.count()), "{before:?}");
        }
        balance.set_healthy(&balance.servers()[2], false, now);
        for (i, before) in (0..400).zip(&before) {
            assert_eq!(of(i) == *before, before != "s2");
        }
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
                drop(balance.pick(now, &[], None));
            }
            for (server, (healthy, suspect)) in balance.servers().iter().zip(&states) {
                balance.set_healthy(server, *healthy, now);
                if *suspect {
                    server.suspect(now);
                }
            }
            let mut tried: Vec<Arc<Server>> = Vec::new();
            while let Ok(lease) = balance.pick(now, &tried, None) {
                prop_assert!(lease.server().is_healthy());
                tried.push(Arc::clone(lease.server()));
            }
            let expected = states.iter().filter(|(healthy, _)| *healthy).count();
            prop_assert_eq!(tried.len(), expected);
            prop_assert!(tried.is_sorted_by_key(|server| server.doubt(now)));
            prop_assert!(balance.servers().iter().all(|server| server.open() == 0));
        }
    }
}
