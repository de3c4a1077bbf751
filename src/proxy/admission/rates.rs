//! A route's rate limit.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{HashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use super::super::config::model::RateLimit;

/// Clients remembered at a time, at about 100 bytes each.
const MOST: usize = 100_000;

/// Those who have their whole allowance again are forgotten this often.
const SWEEP: Duration = Duration::from_secs(60);

/// And this often at most while there is no room.
const FULL_SWEEP: Duration = Duration::from_secs(1);

/// Time between two requests, and until a whole burst is there again.
const SHORTEST: Duration = Duration::from_nanos(1);
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

type Limiter<K, C> = RateLimiter<Option<K>, Clients<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One limit, and what each client has left of it.
pub(crate) struct Rates<K: Clone + Eq + Hash, C: Clock = DefaultClock> {
    limiter: Limiter<K, C>,
    clock: C,
    most: usize,
    swept: Mutex<Instant>,
}

/// What clients have left.
struct Clients<K> {
    /// `None`: of everybody there was no room for.
    known: HashMapStateStore<Option<K>>,
    most: usize,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    pub(super) fn new(limit: &RateLimit) -> Self {
        Self::with_clock(limit, DefaultClock::default(), MOST)
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Rates<K, C> {
    fn with_clock(limit: &RateLimit, clock: C, most: usize) -> Self {
        Self {
            limiter: RateLimiter::new(quota(limit), Clients::new(most), clock.clone()),
            clock,
            most,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Takes one request off a client's allowance; an error says how long until
    /// there is one again.
    ///
    /// Past [`MOST`] clients all new ones share one allowance until there is room again:
    /// whoever has that many addresses would else have no limit at all.
    pub(super) fn take(&self, key: K) -> Result<(), Duration> {
        let full = self.limiter.len() >= self.most;
        self.sweep(if full { FULL_SWEEP } else { SWEEP });
        self.limiter
            .check_key(&Some(key))
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets clients, if that was not done for so long. Whoever finds it being
    /// done goes on.
    fn sweep(&self, after: Duration) {
        let Ok(mut swept) = self.swept.try_lock() else {
            return;
        };
        if swept.elapsed() >= after {
            *swept = Instant::now();
            self.limiter.retain_recent();
        }
    }
}

// === impl Clients ===

impl<K: Clone + Eq + Hash> Clients<K> {
    fn new(most: usize) -> Self {
        Self {
            known: HashMapStateStore::default(),
            most,
        }
    }
}

impl<K: Clone + Eq + Hash> StateStore for Clients<K> {
    type Key = Option<K>;

    fn measure_and_replace<T, F, E>(&self, key: &Self::Key, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let has_room = {
            let known = self.known.lock();
            known.len() < self.most || known.contains_key(key)
        };
        let key = if has_room { key } else { &None };
        self.known.measure_and_replace(key, measure)
    }
}

impl<K: Clone + Eq + Hash> ShrinkableKeyedStateStore<Option<K>> for Clients<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.known.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.known.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.known.len()
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The configuration has bounds of its own; what goes beyond these, nobody would
/// live to see.
fn quota(limit: &RateLimit) -> Quota {
    let requests = NonZeroU32::new(limit.requests).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
    let longest = LONGEST / burst.get();
    let period = (limit.window / requests.get()).clamp(SHORTEST, longest.max(SHORTEST));
    // A period that is not zero always makes one.
    Quota::with_period(period)
        .unwrap_or_else(|| Quota::per_second(requests))
        .allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::super::super::config::model::Per;
    use super::*;

    fn limit(requests: u32, window: Duration, burst: u32) -> RateLimit {
        RateLimit {
            per: Per::Address,
            requests,
            window,
            burst,
        }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let clock = FakeRelativeClock::default();
        let limit = limit(2, Duration::from_secs(1), 3);
        let rates = Rates::with_clock(&limit, clock.clone(), MOST);
        for _ in 0..3 {
            assert_eq!(rates.take("a"), Ok(()));
        }
        let wait = rates.take("a").unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(rates.take("b"), Ok(()), "another client has its own");
        clock.advance(wait);
        assert_eq!(rates.take("a"), Ok(()));
        assert!(rates.take("a").is_err());
    }

    #[test]
    fn whoever_there_is_no_room_for_shares() {
        let clock = FakeRelativeClock::default();
        let limit = limit(1, Duration::from_secs(1), 1);
        let rates = Rates::with_clock(&limit, clock, 2);
        assert_eq!(rates.take(1), Ok(()));
        assert_eq!(rates.take(2), Ok(()));
        assert_eq!(rates.take(3), Ok(()), "the first of those who share");
        assert!(rates.take(4).is_err());
        assert!(rates.limiter.len() <= 3, "{}", rates.limiter.len());
    }

    #[test]
    fn whoever_is_known_keeps_its_own_allowance_when_there_is_no_room() {
        let clock = FakeRelativeClock::default();
        let limit = limit(1, Duration::from_secs(1), 3);
        let rates = Rates::with_clock(&limit, clock, 2);
        assert_eq!(rates.take(1), Ok(()));
        assert_eq!(rates.take(2), Ok(()));
        for stranger in 3..9 {
            let _ = rates.take(stranger);
        }
        assert!(rates.take(9).is_err());
        assert_eq!(rates.take(1), Ok(()));
        assert_eq!(rates.take(1), Ok(()));
        assert!(rates.take(1).is_err(), "its own, and no more");
    }

    #[test]
    fn whoever_has_all_again_is_forgotten() {
        let clock = FakeRelativeClock::default();
        let limit = limit(1, Duration::from_secs(1), 1);
        let rates = Rates::with_clock(&limit, clock.clone(), 2);
        for client in 1..=2 {
            assert_eq!(rates.take(client), Ok(()));
        }
        clock.advance(Duration::from_secs(5));
        rates.sweep(Duration::ZERO);
        assert!(rates.limiter.is_empty());
    }

    #[test]
    fn no_limit_is_out_of_range() {
        for requests in [0, 1, u32::MAX] {
            for window in [Duration::ZERO, Duration::MAX] {
                for burst in [0, 1, u32::MAX] {
                    let rates = Rates::new(&limit(requests, window, burst));
                    assert_eq!(rates.take("a"), Ok(()));
                    let _ = rates.take("a");
                }
            }
        }
    }

    proptest! {
        /// Never more than a burst and what the time since then earned.
        #[test]
        fn a_client_gets_no_more_than_its_share(
            requests in 1u32..50,
            window in 1u64..5_000,
            burst in 1u32..50,
            steps in proptest::collection::vec(0u64..200, 1..200),
        ) {
            let clock = FakeRelativeClock::default();
            let window = Duration::from_millis(window);
            let rates = Rates::with_clock(&limit(requests, window, burst), clock.clone(), MOST);
            let (mut elapsed, mut got) = (Duration::ZERO, 0u32);
            for step in steps {
                let step = Duration::from_millis(step);
                clock.advance(step);
                elapsed += step;
                got += u32::from(rates.take("a").is_ok());
                let earned = elapsed.as_secs_f64() / window.as_secs_f64() * f64::from(requests);
                prop_assert!(f64::from(got) <= f64::from(burst) + earned + 1e-3);
            }
        }
    }
}
