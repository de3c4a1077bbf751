//! A client's request body, no larger and no slower than allowed.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::refusal::Reason;

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of every request from here on.
#[derive(Debug)]
pub(crate) struct ClientBody<B = Incoming> {
    inner: B,
    /// `None` where there is nothing to bound.
    bounds: Option<Box<Bounds>>,
}

#[derive(Debug)]
struct Bounds {
    left: u64,
    silence: Option<Duration>,
    /// Exists only while a read waits.
    stalled: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

/// Why a body broke off, for whoever answers the request: what became of the
/// failure in between cannot be known.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

/// A body broke off on this side.
#[derive(Debug)]
pub(crate) struct Exceeded(Reason);

impl<B: Body> ClientBody<B> {
    /// Bounds a body that has something to bound. The verdict is there if so.
    pub(super) fn new(
        inner: B,
        bytes: Option<usize>,
        silence: Option<Duration>,
    ) -> (Self, Option<Verdict>) {
        let bounded = bytes.is_some() || silence.is_some();
        if !bounded || inner.is_end_stream() {
            return (
                Self {
                    inner,
                    bounds: None,
                },
                None,
            );
        }
        let verdict = Verdict::default();
        let bounds = Bounds {
            left: bytes.map_or(u64::MAX, |bytes| bytes as u64),
            silence,
            stalled: None,
            verdict: verdict.clone(),
        };
        let bounds = Some(Box::new(bounds));
        (Self { inner, bounds }, Some(verdict))
    }
}

impl Bounds {
    /// Ready if nothing came for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(silence) = self.silence else {
            return Poll::Pending;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(silence)));
        stalled.as_mut().poll(cx)
    }

    /// Counts a frame, and sets the clock back.
    fn passed(&mut self, frame: &Frame<Bytes>) -> Result<(), Exceeded> {
        if let (Some(silence), Some(stalled)) = (self.silence, &mut self.stalled) {
            // Past the end of time is never.
            if let Some(due) = Instant::now().checked_add(silence) {
                stalled.as_mut().reset(due);
            }
        }
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return Err(self.verdict.set(Reason::RequestBody)),
        }
        Ok(())
    }
}

impl<B> Body for ClientBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let Some(bounds) = &mut this.bounds else {
            return polled.map_err(Into::into);
        };
        match polled {
            Poll::Pending => {
                ready!(bounds.poll_stalled(cx));
                let exceeded = bounds.verdict.set(Reason::BodyTimeout);
                Poll::Ready(Some(Err(exceeded.into())))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(match bounds.passed(&frame) {
                Ok(()) => Ok(frame),
                Err(exceeded) => Err(exceeded.into()),
            })),
            Poll::Ready(end) => Poll::Ready(end.map(|end| end.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Verdict ===

impl Verdict {
    fn set(&self, reason: Reason) -> Exceeded {
        let code = if reason == Reason::RequestBody { 1 } else { 2 };
        self.0.store(code, Ordering::Release);
        Exceeded(reason)
    }

    /// What the body was refused for.
    pub(super) fn get(&self) -> Option<Reason> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(Reason::RequestBody),
            2 => Some(Reason::BodyTimeout),
            _ => None,
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::RequestBody => "the request body is larger than limits.request_body",
            _ => "the request body made no progress for limits.body_timeout",
        })
    }
}

impl Error for Exceeded {}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, std::convert::Infallible>>;

    fn chunks(sizes: &[usize]) -> Frames {
        let chunk = |size: &usize| Ok(Frame::data(Bytes::from(vec![0; *size])));
        sizes.iter().map(chunk).collect()
    }

    async fn read(sizes: &[usize], limit: usize) -> (Option<usize>, Option<Reason>) {
        let body = StreamBody::new(stream::iter(chunks(sizes)));
        let (body, verdict) = ClientBody::new(body, Some(limit), None);
        let read = body.collect().await.ok();
        let read = read.map(|body| body.to_bytes().len());
        (read, verdict.and_then(|verdict| verdict.get()))
    }

    #[tokio::test]
    async fn a_body_may_have_as_much_as_the_limit() {
        assert_eq!(read(&[4, 6], 10).await, (Some(10), None));
        assert_eq!(read(&[4, 7], 10).await, (None, Some(Reason::RequestBody)));
        assert_eq!(read(&[11], 10).await, (None, Some(Reason::RequestBody)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_body_and_progress_does_not() {
        let limit = Duration::from_secs(30);
        let slow = stream::unfold(0, |sent| async move {
            let wait = if sent < 3 {
                limit.mul_f32(0.9)
            } else {
                limit * 2
            };
            tokio::time::sleep(wait).await;
            let frame = Frame::data(Bytes::from_static(b"x"));
            Some((Ok::<_, std::convert::Infallible>(frame), sent + 1))
        });
        let (mut body, verdict) =
            ClientBody::new(StreamBody::new(Box::pin(slow)), None, Some(limit));
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(verdict.unwrap().get(), Some(Reason::BodyTimeout));
    }
}
