//! The end of a stream whose token is over.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::AccessMetrics;

/// When a body ends before its time: cleanly, so that the client comes back with
/// another token.
pub(crate) struct Expiry(Box<Inner>);

struct Inner {
    at: Instant,
    timer: Pin<Box<Sleep>>,
    metrics: Arc<AccessMetrics>,
    over: bool,
}

impl Expiry {
    pub(super) fn new(at: Instant, metrics: Arc<AccessMetrics>) -> Self {
        Self(Box::new(Inner {
            at,
            timer: Box::pin(sleep_until(at)),
            metrics,
            over: false,
        }))
    }

    /// Polls a body, unless its time is over. A body that always has something to
    /// say never gets to the timer, so the clock is asked first.
    pub(crate) fn poll_frame<B: Body<Data = Bytes>>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let inner = &mut *self.0;
        if inner.over {
            return Poll::Ready(None);
        }
        if Instant::now() < inner.at {
            if let Poll::Ready(frame) = body.poll_frame(cx) {
                return Poll::Ready(frame);
            }
            ready!(inner.timer.as_mut().poll(cx));
        }
        inner.over = true;
        inner.metrics.expired();
        tracing::debug!("a stream ends, as its client's token has expired");
        Poll::Ready(None)
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.0.at).finish()
    }
}
