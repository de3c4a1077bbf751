//! One server: where it is, and what is known about it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};

use super::guests::Guests;
use crate::proxy::metrics::ServerMetrics;

/// How long a failed connect speaks against a server.
pub(super) const SUSPICION: Duration = Duration::from_secs(3);

/// One server of an upstream.
pub struct Server {
    scheme: Scheme,
    authority: Authority,
    healthy: AtomicBool,
    drained: AtomicBool,
    /// Failures in a row.
    failures: AtomicU32,
    suspect_until: Moment,
    ejected_until: Moment,
    /// When it last came up, having been down.
    risen: Moment,
    epoch: Instant,
    pub(super) guests: Arc<Guests>,
    pub(super) metrics: ServerMetrics,
}

/// Milliseconds after a server's epoch; zero is never. An atomic cannot hold an
/// `Instant`.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

/// What speaks against a server that is not known to be down, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    None,
    Suspect,
    Ejected,
}

impl Server {
    /// A server at the scheme and authority of `uri`. `None` if it lacks either.
    pub fn new(uri: &Uri, metrics: ServerMetrics) -> Option<Self> {
        Some(Self {
            scheme: uri.scheme()?.clone(),
            authority: uri.authority()?.clone(),
            healthy: AtomicBool::new(true),
            drained: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            suspect_until: Moment::default(),
            ejected_until: Moment::default(),
            risen: Moment::default(),
            epoch: Instant::now(),
            guests: Arc::default(),
            metrics,
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
        usize::try_from(self.metrics.open.get()).unwrap_or(0)
    }

    /// False if an active health check found it down.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether an operator wants it spared.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Whether it may be asked, if only for want of another one.
    pub fn is_available(&self) -> bool {
        self.is_healthy() && !self.is_drained()
    }

    /// Whether it is neither known to be down, nor ejected, nor drained.
    pub fn is_up(&self, now: Instant) -> bool {
        self.is_available() && !self.is_ejected(now)
    }

    pub(super) fn doubt(&self, now: Instant) -> Doubt {
        if self.is_ejected(now) {
            Doubt::Ejected
        } else if self.is_suspect(now) {
            Doubt::Suspect
        } else {
            Doubt::None
        }
    }

    /// Records a failed connect.
    pub fn suspect(&self, now: Instant) {
        self.suspect_until.set(self.millis(now + SUSPICION));
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.millis(now) < self.suspect_until.get()
    }

    /// Its part of a full share of new streams, `0.0..=1.0`, if it takes
    /// `slow_start` to get that.
    pub(super) fn share(&self, slow_start: Duration, now: Instant) -> f64 {
        let risen = self.risen.get().max(self.ejected_until.get());
        if slow_start.is_zero() || risen == 0 {
            return 1.0;
        }
        let up = Duration::from_millis(self.millis(now).saturating_sub(risen));
        up.div_duration_f64(slow_start).min(1.0)
    }

    // === What only a balance decides ===

    pub(super) fn set_healthy(&self, healthy: bool, now: Instant) -> bool {
        if healthy {
            self.suspect_until.set(0);
        }
        let news = self.healthy.swap(healthy, Ordering::Relaxed) != healthy;
        if news && healthy {
            self.risen.set(self.millis(now));
        }
        news
    }

    pub(super) fn set_drained(&self, drained: bool, now: Instant) -> bool {
        let news = self.drained.swap(drained, Ordering::Relaxed) != drained;
        if news && !drained {
            self.risen.set(self.millis(now));
        }
        news
    }

    /// One more failure; how many they are in a row.
    pub(super) fn failed(&self) -> u32 {
        self.failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    pub(super) fn succeeded(&self) {
        // Read first: it is written by all workers, and hardly ever not zero.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn eject(&self, until: Instant) {
        self.succeeded();
        self.ejected_until.set(self.millis(until));
        self.metrics.ejections.inc();
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.millis(now) < self.ejected_until.get()
    }

    /// When its ejection ends, if it is ejected.
    pub(super) fn ejected_until(&self, now: Instant) -> Option<Instant> {
        let until = Duration::from_millis(self.ejected_until.get());
        self.is_ejected(now).then(|| self.epoch + until)
    }

    /// Milliseconds from its epoch, from 1 on.
    fn millis(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Moment {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
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
