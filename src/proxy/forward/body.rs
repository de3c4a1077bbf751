//! The response body, and the place at the server it occupies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::BoxError;
use super::direct::Answer;
use super::error::{Cause, ForwardError};
use crate::proxy::balance::{Guest, Lease};

/// What a stream that is to move may still bring of what has come already.
const LAST_FRAMES: u8 = 16;

/// The body of an upstream's response, byte for byte.
///
/// It counts as an open stream of its server until it has ended or is dropped.
/// If it may go on at another server, it breaks off when its own goes down.
#[derive(Debug)]
pub struct ForwardBody {
    inner: Answer,
    upstream: Arc<str>,
    lease: Option<Lease>,
    guest: Option<Guest>,
    /// Frames since it was to move.
    late: u8,
}

impl ForwardBody {
    pub(super) fn new(
        inner: Answer,
        upstream: &Arc<str>,
        lease: Lease,
        guest: Option<Guest>,
    ) -> Self {
        Self {
            inner,
            upstream: Arc::clone(upstream),
            lease: Some(lease),
            guest,
            late: 0,
        }
    }

    /// Whether it is to end, for another to go on in its place.
    fn is_to_move(&mut self, cx: &Context<'_>, idle: bool) -> bool {
        let dismissed = self.guest.as_mut().is_some_and(|g| g.is_dismissed(cx));
        self.late = self.late.saturating_add(u8::from(dismissed));
        dismissed && (idle || self.late > LAST_FRAMES)
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.inner {
            Answer::Stream(body) => body
                .poll_data(cx)
                .map(|data| data.map(|data| Ok(Frame::data(data?)))),
            Answer::Other(body) | Answer::Shared { body, .. } => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| Ok(frame?))),
        }
    }

    fn broken(&mut self, cause: Cause) -> ForwardError {
        self.guest = None;
        let lease = self.lease.take();
        let server = lease.as_ref().map(|lease| lease.server().authority());
        ForwardError::new(&self.upstream, server, cause)
    }
}

impl Body for ForwardBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let frame = self.poll_inner(cx);
        if self.is_to_move(cx, frame.is_pending()) {
            return Poll::Ready(Some(Err(self.broken(Cause::Moved))));
        }
        match ready!(frame) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(self.broken(Cause::ResponseBody(error))))),
            None => {
                self.guest = None;
                self.lease = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Answer::Stream(_) => false,
            Answer::Other(body) | Answer::Shared { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Answer::Stream(_) => SizeHint::default(),
            Answer::Other(body) | Answer::Shared { body, .. } => body.size_hint(),
        }
    }
}
