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
    aborted: Arc<AtomicBool>,
}

/// A connection's view of the phase. The server knows by its going that the
/// connection is gone.
#[derive(Clone, Debug)]
pub(crate) struct PhaseWatch {
    phase: watch::Receiver<Phase>,
    /// The same as the last phase, at the cost of a load.
    aborted: Arc<AtomicBool>,
}

// === impl Phases ===

impl Phases {
    pub(crate) fn new() -> (Self, PhaseWatch) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        let aborted = Arc::<AtomicBool>::default();
        let phases = Self {
            phase: sender,
            aborted: Arc::clone(&aborted),
        };
        let watch = PhaseWatch {
            phase: receiver,
            aborted,
        };
        (phases, watch)
    }

    pub(crate) fn announce(&self, phase: Phase) {
        // First: whoever is woken looks there.
        self.aborted
            .store(phase == Phase::Aborted, Ordering::Release);
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

    /// The future's output, or `None` when time is up.
    ///
    /// For futures that are polled for each event: the watch is polled once, for
    /// its wake-up, and again only when that came. So it must stay in one task.
    pub(crate) async fn until_aborted<F>(&mut self, mut future: Pin<Box<F>>) -> Option<F::Output>
    where
        F: Future,
    {
        let aborted = Arc::clone(&self.aborted);
        let mut reached = std::pin::pin!(self.reached(Phase::Aborted));
        let mut watching = false;
        std::future::poll_fn(move |cx: &mut Context<'_>| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !std::mem::replace(&mut watching, true) || aborted.load(Ordering::Acquire) {
                return reached.as_mut().poll(cx).map(|()| None);
            }
            Poll::Pending
        })
        .await
    }
}
