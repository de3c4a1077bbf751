//! What one response came to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what one client is given of an event stream, for whoever wants to
/// know: a request with an `Arc<Tally>` among its extensions has its answer
/// counted there, from the first event to the last.
///
/// ```
/// use std::sync::Arc;
/// use tower_sse::resume::Tally;
///
/// let tally = Arc::new(Tally::default());
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Arc::clone(&tally));
/// // The layer answers the request; when its body is gone:
/// println!("{} events, {} gaps, ended: {:?}", tally.events(), tally.gaps(), tally.end());
/// ```
#[derive(Debug, Default)]
pub struct Tally {
    events: AtomicU64,
    gaps: AtomicU64,
    end: OnceLock<&'static str>,
}

impl Tally {
    /// Events given to the client.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Losses the client was told of.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Why the body ended, in a word or two; `None` while it has not, and if
    /// the client left before.
    pub fn end(&self) -> Option<&'static str> {
        self.end.get().copied()
    }

    /// Says why the body is about to end. The first reason stands.
    pub fn ended(&self, reason: &'static str) {
        let _ = self.end.set(reason);
    }

    pub(super) fn add_events(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn add_gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }
}
