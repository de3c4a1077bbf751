//! The end of a stream whose token is over.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::AccessMetrics;
use crate::resume::SseBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When a body ends before its time: cleanly, so that the client comes back with
/// another token.
pub(crate) struct Expiry(Box<Inner>);

struct Inner {
    at: Instant,
    timer: Pin<Box<Sleep>>,
    metrics: Arc<AccessMetrics>,
    over: bool,
    /// It has nothing to say before it ends.
    silent: bool,
}

impl Expiry {
    pub(super) fn new(at: Instant, metrics: Arc<AccessMetrics>) -> Self {
        Self(Box::new(Inner {
            at,
            timer: Box::pin(sleep_until(at)),
            metrics,
            over: false,
            silent: false,
        }))
    }

    /// Polls a body, which ends when its time is over. A body that always has
    /// something to say never gets to the timer, so the clock is asked first.
    pub(crate) fn poll_frame<B>(
        &mut self,
        mut body: Pin<&mut SseBody<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let inner = &mut *self.0;
        if !inner.over {
            if Instant::now() < inner.at {
                if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                ready!(inner.timer.as_mut().poll(cx));
            }
            inner.over = true;
            inner.metrics.expired();
            tracing::debug!("a stream ends, as its client's token has expired");
            inner.silent = !body.as_mut().end_early("token expired");
        }
        if inner.silent {
            return Poll::Ready(None);
        }
        body.poll_frame(cx)
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.0.at).finish()
    }
}
