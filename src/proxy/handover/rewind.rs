use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::activity::Activity;
use super::Handover;

/// A socket whose first bytes were read already, and which tells the
/// [`Handover`] whether its last write had to wait.
#[derive(Debug)]
pub(crate) struct Rewind<I, B> {
    io: I,
    ahead: BytesMut,
    handover: Handover<B>,
    activity: Option<Arc<Activity>>,
}

impl<I, B> Rewind<I, B> {
    pub(crate) fn new(
        io: I,
        ahead: BytesMut,
        handover: Handover<B>,
        activity: Option<Arc<Activity>>,
    ) -> Self {
        Self {
            io,
            ahead,
            handover,
            activity,
        }
    }

    /// The socket, and what was read of it and not used: the bytes given to
    /// `new` come after `read`, which was read from here. They are copied, as
    /// they may be few, and keep the whole buffer they were read into.
    pub(crate) fn into_parts(self, read: &[u8]) -> (I, BytesMut) {
        let mut ahead = BytesMut::from(read);
        ahead.extend_from_slice(&self.ahead);
        (self.io, ahead)
    }
}

impl<I: AsyncRead + Unpin, B> AsyncRead for Rewind<I, B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let poll = Pin::new(&mut self.io).poll_read(cx, buf);
            if let (Some(activity), true) = (&self.activity, poll.is_ready()) {
                activity.received();
            }
            return poll;
        }
        let fitting = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..fitting]);
        self.ahead.advance(fitting);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin, B> AsyncWrite for Rewind<I, B> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.handover.writes(poll.is_pending());
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.handover.writes(poll.is_pending());
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
