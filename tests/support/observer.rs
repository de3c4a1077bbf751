//! An observer that remembers.

use std::sync::{Arc, Mutex, PoisonError};

use tower_sse::observe::{GapReason, Observer, Signal};

#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<Signal>>);

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// All of them.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why gaps were reported, in order.
    pub(crate) fn gaps(&self) -> Vec<GapReason> {
        let gap = |signal| match signal {
            Signal::Gap(reason) => Some(reason),
            _ => None,
        };
        self.signals().into_iter().filter_map(gap).collect()
    }

    /// How often a signal was given.
    pub(crate) fn count(&self, wanted: Signal) -> usize {
        self.signals()
            .iter()
            .filter(|signal| **signal == wanted)
            .count()
    }
}

impl Observer for Seen {
    fn observe(&self, signal: Signal) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(signal);
    }
}
