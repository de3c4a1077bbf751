//! A socket that gives up on a peer that no longer reads.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Fails a write that made no progress for a while.
///
/// A client that fell asleep keeps its connection, and its kernel acknowledges
/// probes for it; only writes tell. The deadline runs from the first write or
/// flush that has to wait to the next one that does not.
pub struct WriteDeadline<T> {
    io: T,
    limit: Duration,
    /// Exists only while a write waits: the many connections that wait for
    /// events need no timer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> WriteDeadline<T> {
    /// Wraps `io`; a write may wait for `limit`.
    pub fn new(io: T, limit: Duration) -> Self {
        Self {
            io,
            limit,
            stalled: None,
        }
    }

    /// What was wrapped.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    fn judge<R>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let limit = self.limit;
        let sleep = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Kept, so that further writes fail likewise: it was not progress.
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteDeadline<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        // A TCP flush is always ready and proves nothing: only a write that
        // went through ends a stall.
        if poll.is_ready() && self.stalled.is_some() {
            return poll;
        }
        self.judge(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, poll)
    }
}

impl<T: fmt::Debug> fmt::Debug for WriteDeadline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteDeadline")
            .field("io", &self.io)
            .field("limit", &self.limit)
            .field("stalled", &self.stalled.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_fails_at_the_limit() {
        let (ours, _theirs) = duplex(4);
        let mut io = WriteDeadline::new(ours, LIMIT);
        let start = Instant::now();
        let error = io.write_all(b"more than four").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), LIMIT);
        let again = io.write_all(b"x").await.unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_clock_anew_and_silence_needs_none() {
        let (ours, mut theirs) = duplex(4);
        let mut io = WriteDeadline::new(ours, LIMIT);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut buf = [0; 4];
            for _ in 0..5 {
                tokio::time::sleep(LIMIT.mul_f32(0.9)).await;
                let n = theirs.read(&mut buf).await.unwrap();
                all.extend_from_slice(&buf[..n]);
            }
            all
        });
        io.write_all(b"five times the limit").await.unwrap();
        assert!(io.stalled.is_none());
        assert_eq!(reader.await.unwrap(), b"five times the limit");
    }
}
