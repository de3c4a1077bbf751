//! A body whose bytes are counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::entry::Entry;

pin_project! {
    /// The body of an answer, and the entry that it ends.
    pub(crate) struct AccessBody<B> {
        #[pin]
        body: B,
        entry: Option<Box<Entry>>,
    }
}

impl<B> AccessBody<B> {
    pub(super) fn new(body: B, entry: Option<Box<Entry>>) -> Self {
        Self { body, entry }
    }
}

impl<B> Body for AccessBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(entry) = this.entry {
            match &frame {
                Some(Ok(frame)) => entry.passed(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) => entry.ended(false),
                None => entry.ended(true),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
