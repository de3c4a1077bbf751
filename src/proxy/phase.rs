//! How far the server is with its end, and who is told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::watch;

/// Phases only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Business as usual.
    Serving,
    /// No new connections; those there are end with the request at hand.
    Draining,
    /// Time is up.
    Aborted,
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Phases {
    phase: watch::Sender<Phase>,
    ending: Arc<AtomicBool>,
}

/// A connection's view of the phase. The server knows by its going that the
/// connection is gone.
#[derive(Clone, Debug)]
pub(crate) struct PhaseWatch {
    phase: watch::Receiver<Phase>,
    /// Whether anything was announced, at the cost of a load.
    ending: Arc<AtomicBool>,
}

// === impl Phases ===

impl Phases {
    pub(crate) fn new() -> (Self, PhaseWatch) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        let ending = Arc::<AtomicBool>::default();
        let phases = Self {
            phase: sender,
            ending: Arc::clone(&ending),
        };
        let watch = PhaseWatch {
            phase: receiver,
            ending,
        };
        (phases, watch)
    }

    pub(crate) fn announce(&self, phase: Phase) {
        // First: whoever is woken looks there.
        self.ending.store(true, Ordering::Release);
        self.phase.send_replace(phase);
    }

    /// Connections there are.
    pub(crate) fn watched(&self) -> usize {
        self.phase.receiver_count()
    }

    /// Resolves when there are none.
    pub(crate) async fn unwatched(&self) {
        self.phase.closed().await;
    }
}

impl Drop for Phases {
    /// Nobody announces anything any more, which is an end, too. This runs
    /// before the watch tells of it.
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
    }
}

// === impl PhaseWatch ===

impl PhaseWatch {
    /// Waits for `phase`, or for the end of whoever announces it.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }

    /// Whether `phase` has come.
    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// The future's output, or `None` as soon as the drain begins.
    pub(crate) async fn while_serving<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.reached(Phase::Draining) => None,
            output = future => Some(output),
        }
    }

    /// The future's output, or `None` when time is up, or nobody is left who
    /// could say so.
    ///
    /// For futures that are polled for each event: until something is announced
    /// the watch is polled only once, for its wake-up. So this must stay in one
    /// task.
    pub(crate) async fn until_aborted<F>(&mut self, mut future: Pin<Box<F>>) -> Option<F::Output>
    where
        F: Future,
    {
        let ending = Arc::clone(&self.ending);
        // Else a first poll of the future that spent the task's budget would
        // leave no wake-up registered.
        let reached = tokio::task::unconstrained(self.reached(Phase::Aborted));
        let mut reached = std::pin::pin!(reached);
        let mut watching = false;
        std::future::poll_fn(move |cx: &mut Context<'_>| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !std::mem::replace(&mut watching, true) || ending.load(Ordering::Acquire) {
                return reached.as_mut().poll(cx).map(|()| None);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    /// What becomes of a stream that has nothing to say, when `then` is done to
    /// the phases after it was polled.
    async fn cut(first: bool, then: impl FnOnce(Phases)) -> bool {
        let (phases, mut watch) = Phases::new();
        let task = tokio::spawn(async move {
            let mut first = first;
            let stream = std::future::poll_fn(move |cx| {
                if std::mem::take(&mut first) {
                    // As a long replay does.
                    while tokio::task::coop::poll_proceed(cx)
                        .map(|c| c.made_progress())
                        .is_ready()
                    {}
                }
                Poll::<()>::Pending
            });
            let none = watch.until_aborted(Box::pin(stream)).await.is_none();
            drop(watch);
            none
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        then(phases);
        matches!(
            tokio::time::timeout(Duration::from_secs(60), task).await,
            Ok(Ok(true))
        )
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_reaches_a_stream() {
        for spent in [false, true] {
            assert!(
                cut(spent, |phases| {
                    phases.announce(Phase::Aborted);
                    std::mem::forget(phases);
                })
                .await,
                "at once, {spent}"
            );
            assert!(cut(spent, drop).await, "dropped, {spent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_no_stream_and_its_end_does() {
        let (phases, mut watch) = Phases::new();
        let task = tokio::spawn(async move {
            watch
                .until_aborted(Box::pin(pending::<()>()))
                .await
                .is_none()
        });
        for phase in [Phase::Draining, Phase::Aborted] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!task.is_finished());
            phases.announce(phase);
        }
        assert!(task.await.unwrap());
    }
}
