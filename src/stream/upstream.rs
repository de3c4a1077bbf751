//! The one upstream connection of a stream, on its way or open.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use tokio::time::Instant;

use super::source::{Answer, BoxError, Opening, UpstreamBody};
use crate::observe::{Observer, Signal};

/// Where a stream's events come from, now.
pub(super) enum Upstream {
    None,
    /// Asked, since then.
    Opening(Opening, Instant),
    Open(Connection),
}

/// An upstream connection, counted while it lives.
pub(super) struct Connection {
    body: UpstreamBody,
    observer: Arc<dyn Observer>,
    /// Until the first byte.
    since: Option<Instant>,
}

/// What comes from there.
pub(super) enum Arrival {
    /// The answer to what was asked at that time.
    Opened(Result<Answer, BoxError>, Instant),
    Data(Bytes),
    /// The end, a clean one or not.
    Closed(Result<(), BoxError>),
}

impl Upstream {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        match self {
            Self::None => Poll::Pending,
            Self::Opening(opening, since) => {
                let since = *since;
                opening
                    .as_mut()
                    .poll(cx)
                    .map(|answer| Arrival::Opened(answer, since))
            }
            Self::Open(connection) => connection.poll(cx),
        }
    }
}

impl Connection {
    pub(super) fn new(body: UpstreamBody, observer: &Arc<dyn Observer>, now: Instant) -> Self {
        observer.observe(Signal::UpstreamOpened);
        Self {
            body,
            observer: Arc::clone(observer),
            since: Some(now),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Arrival::Closed(Ok(()))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Arrival::Closed(Err(error))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            // Trailers of an event stream say nothing to an event source.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if let Some(since) = self.since.take() {
                self.observer
                    .observe(Signal::UpstreamFirstByte(since.elapsed()));
            }
            return Poll::Ready(Arrival::Data(data));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.observer.observe(Signal::UpstreamClosed);
    }
}
