//! The response body, and the place at the server it occupies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::BoxError;
use super::direct::Answer;
use super::error::{Cause, ForwardError};
use crate::proxy::balance::Lease;

/// The body of an upstream's response, byte for byte.
///
/// It counts as an open stream of its server until it has ended or is dropped.
#[derive(Debug)]
pub struct ForwardBody {
    inner: Answer,
    upstream: Arc<str>,
    lease: Option<Lease>,
}

impl ForwardBody {
    pub(super) fn new(inner: Answer, upstream: &Arc<str>, lease: Lease) -> Self {
        Self {
            inner,
            upstream: Arc::clone(upstream),
            lease: Some(lease),
        }
    }

    fn broken(&mut self, source: BoxError) -> ForwardError {
        let lease = self.lease.take();
        let server = lease.as_ref().map(|lease| lease.server().authority());
        ForwardError::new(&self.upstream, server, Cause::ResponseBody(source))
    }
}

impl Body for ForwardBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let frame = match &mut self.inner {
            Answer::Stream(body) => ready!(body.poll_data(cx)).map(|data| Ok(Frame::data(data?))),
            Answer::Other(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| Ok(frame?)),
        };
        match frame {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(self.broken(error)))),
            None => {
                self.lease = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Answer::Stream(_) => false,
            Answer::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Answer::Stream(_) => SizeHint::default(),
            Answer::Other(body) => body.size_hint(),
        }
    }
}
