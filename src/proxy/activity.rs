//! Whether a connection has anything to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep};

/// What one connection is doing, for whoever closes those that do nothing.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    /// Time for a request's head, and from one request to the next.
    head: Duration,
    idle: Duration,
    /// Requests being answered.
    open: AtomicUsize,
    /// When the last answer ended, in milliseconds after `begun`.
    rested: AtomicU64,
    /// When a head began that is not whole yet, the same way, or [`NONE`].
    reading: AtomicU64,
}

const NONE: u64 = u64::MAX;

/// A request being answered, until dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

/// What holds for the requests of one connection, if anything does. Small, as
/// every connection has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms(Option<Arc<Set>>);

#[derive(Debug)]
struct Set {
    activity: Option<Arc<Activity>>,
    /// When streams that can be resumed are ended.
    leave: Option<Instant>,
}

impl Terms {
    pub(crate) fn new(activity: Option<Arc<Activity>>, leave: Option<Instant>) -> Self {
        let any = activity.is_some() || leave.is_some();
        Self(any.then(|| Arc::new(Set { activity, leave })))
    }

    pub(crate) fn activity(&self) -> Option<Arc<Activity>> {
        self.0.as_ref()?.activity.clone()
    }

    /// When streams that can be resumed are ended.
    pub(crate) fn leave(&self) -> Option<Instant> {
        self.0.as_ref()?.leave
    }

    /// Tells a request, if there is anything to tell.
    pub(crate) fn apply<B>(&self, request: &mut Request<B>) {
        let Some(set) = &self.0 else { return };
        if let Some(activity) = &set.activity {
            activity.asked();
        }
        request.extensions_mut().insert(self.clone());
    }

    /// The connection was in other hands, and begins to wait now.
    pub(crate) fn rested(&mut self) {
        if let Some(activity) = self.activity() {
            let waiting = Activity::waiting(activity.head, activity.idle);
            *self = Self::new(Some(waiting), self.leave());
        }
    }

    /// A request is read, and being answered from now on.
    pub(crate) fn begin(&self) -> Option<Busy> {
        self.0.as_ref()?.activity.as_ref().map(Activity::begin)
    }

    /// Whether it is time to leave.
    pub(crate) fn is_over(&self) -> bool {
        self.leave().is_some_and(|leave| Instant::now() >= leave)
    }
}

impl Activity {
    pub(crate) fn new(head: Duration, idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            head,
            idle,
            open: AtomicUsize::new(0),
            rested: AtomicU64::new(0),
            // Whoever connects has something to ask.
            reading: AtomicU64::new(0),
        })
    }

    /// Of a connection that has served a request already.
    fn waiting(head: Duration, idle: Duration) -> Arc<Self> {
        let activity = Self::new(head, idle);
        activity.reading.store(NONE, Ordering::Relaxed);
        activity
    }

    /// A request's head is read. Not every request comes to be answered by a
    /// route.
    fn asked(&self) {
        self.reading.store(NONE, Ordering::Relaxed);
        self.rested.store(self.elapsed(), Ordering::Relaxed);
    }

    /// A request is being answered.
    pub(crate) fn begin(this: &Arc<Self>) -> Busy {
        this.open.fetch_add(1, Ordering::Relaxed);
        this.asked();
        Busy(Arc::clone(this))
    }

    /// The client sent something. Between two requests, it is a head's
    /// beginning.
    pub(crate) fn received(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            let now = self.elapsed();
            let _ = self
                .reading
                .compare_exchange(NONE, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Resolves when the connection has done nothing for too long, or a head
    /// takes too long, and up to one look later.
    pub(crate) async fn idle(&self) {
        let look = self.head.min(self.idle);
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            sleep(left.min(look)).await;
        }
    }

    fn left(&self) -> Duration {
        if self.open.load(Ordering::Relaxed) > 0 {
            return self.idle;
        }
        let (since, limit) = match self.reading.load(Ordering::Relaxed) {
            NONE => (self.rested.load(Ordering::Relaxed), self.idle),
            since => (since, self.head),
        };
        let spent = self.elapsed().saturating_sub(since);
        limit.saturating_sub(Duration::from_millis(spent))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(NONE - 1)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.rested.store(activity.elapsed(), Ordering::Relaxed);
        activity.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    async fn closed(activity: &Activity) -> u64 {
        activity.idle().await;
        activity.begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_head_is_waited_for_as_long_as_any() {
        assert_eq!(closed(&Activity::new(HEAD, IDLE)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_answer_is_no_idleness() {
        let activity = Activity::new(HEAD, IDLE);
        let busy = Activity::begin(&activity);
        tokio::spawn(async move {
            sleep(Duration::from_secs(1000)).await;
            drop(busy);
        });
        assert_eq!(closed(&activity).await, 1060);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_no_route_takes_is_one() {
        let activity = Activity::new(HEAD, IDLE);
        let terms = Terms::new(Some(Arc::clone(&activity)), None);
        sleep(Duration::from_secs(5)).await;
        terms.apply(&mut Request::new(()));
        assert_eq!(closed(&activity).await, 65);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_has_less_time() {
        let activity = Activity::new(HEAD, IDLE);
        drop(Activity::begin(&activity));
        let late = Arc::clone(&activity);
        tokio::spawn(async move {
            sleep(Duration::from_secs(5)).await;
            late.received();
            sleep(Duration::from_secs(5)).await;
            late.received();
        });
        assert_eq!(closed(&activity).await, 15);
    }
}
