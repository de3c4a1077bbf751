use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderValue;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

use super::{Taken, head};
use crate::proxy::forward::Tunnel;

/// Two connections that are one: each byte of one goes to the other.
#[derive(Debug)]
pub(crate) struct Joined<B> {
    taken: Taken<B>,
    upstream: TokioIo<Upgraded>,
    protocol: HeaderValue,
    until: Option<Instant>,
}

impl<B> Joined<B> {
    pub(super) fn new(taken: Taken<B>, upstream: TokioIo<Upgraded>, tunnel: Tunnel) -> Self {
        Self {
            taken,
            upstream,
            protocol: tunnel.protocol,
            until: tunnel.until,
        }
    }

    /// Tells the client that it has got what it asked for, and passes bytes on
    /// until both sides have ended, one fails, there was none for `idle`, or the
    /// time of whoever was let in is over.
    pub(crate) async fn run<I>(
        mut self,
        mut client: I,
        ahead: BytesMut,
        idle: Option<Duration>,
    ) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        // Its body is empty, and holds the tunnel's place at the server.
        let (parts, _place) = self.taken.response.into_parts();
        client
            .write_all(&head::switching(&parts, &self.protocol))
            .await?;
        client.flush().await?;
        self.upstream.write_all(&ahead).await?;
        drop(ahead);
        let moved = Arc::<AtomicU64>::default();
        let mut client = Counted {
            io: client,
            moved: Arc::clone(&moved),
        };
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut self.upstream) => copied.map(drop),
            () = silent(idle, &moved) => Ok(()),
            () = over(self.until) => Ok(()),
        }
    }
}

async fn over(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Resolves after nothing moved from one look to the next.
async fn silent(idle: Option<Duration>, moved: &AtomicU64) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(idle).await;
        let now = moved.load(Ordering::Relaxed);
        if std::mem::replace(&mut before, now) == now {
            return;
        }
    }
}

/// Counts reads and writes that moved something.
struct Counted<I> {
    io: I,
    moved: Arc<AtomicU64>,
}

impl<I> Counted<I> {
    fn note<T>(&self, poll: &Poll<io::Result<T>>) {
        if let Poll::Ready(Ok(_)) = poll {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(&poll);
        poll
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
