//! How long to wait before asking a lost upstream again.

use std::time::Duration;

use super::policy::Reconnect;

/// The least first bound. Zero would double to zero for ever, and an upstream
/// that says `retry: 0` and goes away would be asked without a pause.
const LEAST: Duration = Duration::from_millis(1);

/// Exponential backoff with full jitter: a delay is drawn evenly from zero to a
/// bound that doubles with each attempt.
///
/// Full jitter, because what takes an upstream away takes it from thousands of
/// streams at once, and they must not come back together.
#[derive(Debug)]
pub struct Backoff {
    policy: Reconnect,
    /// What the upstream asked for by `retry:`, in place of `initial`.
    asked: Option<Duration>,
    attempts: u32,
}

impl Backoff {
    /// No attempt made yet.
    pub fn new(policy: Reconnect) -> Self {
        Self {
            policy,
            asked: None,
            attempts: 0,
        }
    }

    /// Sets the first bound to what the upstream asks for.
    pub fn ask(&mut self, retry: Duration) {
        self.asked = Some(retry);
    }

    /// Starts over: the upstream is back.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next delay. `jitter` is drawn evenly from `0.0..1.0`; `floor` is the
    /// least to wait, as told by `Retry-After`.
    pub fn next(&mut self, jitter: f64, floor: Option<Duration>) -> Duration {
        let first = self.asked.unwrap_or(self.policy.initial).max(LEAST);
        let bound = first
            .saturating_mul(1 << self.attempts.min(20))
            .min(self.policy.max);
        self.attempts = self.attempts.saturating_add(1);
        // Rounded up, the longest of all times is not a time any more.
        Duration::try_from_secs_f64(bound.as_secs_f64() * jitter.clamp(0.0, 1.0))
            .unwrap_or(bound)
            .max(floor.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Reconnect::default())
    }

    #[test]
    fn the_bound_doubles_up_to_the_maximum() {
        let mut backoff = backoff();
        let bounds: Vec<_> = (0..8).map(|_| backoff.next(1.0, None).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(0.5, None), Duration::from_millis(500));
    }

    #[test]
    fn the_upstream_sets_the_first_bound_and_the_floor() {
        let mut backoff = backoff();
        backoff.ask(Duration::from_secs(5));
        assert_eq!(backoff.next(1.0, None), Duration::from_secs(5));
        let floor = Some(Duration::from_secs(60));
        assert_eq!(backoff.next(0.0, floor), Duration::from_secs(60));
    }

    #[test]
    fn absurd_values_do_not_overflow() {
        let mut backoff = backoff();
        backoff.ask(Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.next(2.0, None) <= Duration::from_secs(30));
        }
    }
}
