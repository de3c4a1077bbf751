//! Where a test's faults come from, so that they can come again.

use std::time::Duration;

/// Random, but for `JOURNALS_SEED`: a test prints its seed, and repeats its
/// schedule of faults if it is given the same one.
pub(crate) struct Seed {
    random: fastrand::Rng,
}

impl Seed {
    pub(crate) fn of(test: &str) -> Self {
        let seed = match std::env::var("JOURNALS_SEED") {
            Ok(number) => number.parse().expect("JOURNALS_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        println!("{test}: JOURNALS_SEED={seed}");
        Self {
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// A number below this.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.random.usize(..limit)
    }

    pub(crate) fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    /// Lets a time of up to so many milliseconds pass before the next fault.
    pub(crate) async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(millis))).await;
    }
}
