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
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
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
    /// A balance over `servers`, with what is known of them.
    pub fn new(rules: Rules, servers: Vec<Arc<Server>>) -> Self {
        Self {
            rules,
            servers,
            turn: AtomicUsize::new(0),
            ejecting: Mutex::new(()),
            changes: watch::Sender::new(()),
        }
    }

    /// Takes the place of another, some of whose servers it has. What befalls
    /// these by requests and checks of before is told here, too.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.changes = before.changes.clone();
        self
    }

    /// The server at the scheme and authority of `uri`.
    pub fn server_at(&self, uri: &Uri) -> Option<&Arc<Server>> {
        let mut servers = self.servers.iter();
        servers.find(|server| {
            uri.scheme() == Some(server.scheme()) && uri.authority() == Some(server.authority())
        })
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

    /// A place for a live stream that may go on elsewhere, if only once there is
    /// an elsewhere.
    pub fn welcome(&self, server: &Server) -> Guest {
        let guest = server.guests.enter();
        if !server.is_up(Instant::now()) {
            // It went down while this one was on its way.
            self.changes.send_replace(());
        }
        guest
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
