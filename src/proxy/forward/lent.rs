//! A request body that can be had back.
//!
//! A client consumes its request, also when it never got to send it. So it is
//! given a [`Lent`] handle; if connecting failed, the body is still here, not a
//! byte of it read, and can be lent to the next server.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// A shared handle on one body.
#[derive(Debug)]
pub(super) struct Lent<B>(Arc<Inner<B>>);

#[derive(Debug)]
struct Inner<B> {
    /// Never contended: one client at a time reads it.
    body: Mutex<B>,
    frames: AtomicU64,
}

impl<B> Lent<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Arc::new(Inner {
            body: Mutex::new(body),
            frames: AtomicU64::new(0),
        }))
    }

    /// Another handle on the same body.
    pub(super) fn lend(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// How many frames were read so far: a sign of progress.
    pub(super) fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    fn body(&self) -> MutexGuard<'_, B> {
        self.0.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let poll = Pin::new(&mut *self.body()).poll_frame(cx);
        if poll.is_ready() {
            self.0.frames.fetch_add(1, Ordering::Relaxed);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
