use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket of which no more than a response's head can be read until it is
/// opened.
///
/// hyper reads a body's beginning before anybody asks for it, and where it has
/// got to in the framing it does not tell.
#[derive(Debug)]
pub(super) struct Gate<I> {
    io: I,
    head: Head,
    open: Key,
    /// Read with the head.
    rest: BytesMut,
}

/// Opens a gate that is out of reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Key(Arc<AtomicBool>);

/// Where in a response's head the next byte lies.
#[derive(Debug, Default)]
struct Head {
    /// Bytes of its first line, as far as its status' first digit.
    begun: usize,
    interim: bool,
    /// Line ends since anything else.
    line_ends: u8,
}

/// Where the status lies in `HTTP/1.1 200 OK`.
const STATUS: usize = 9;

impl<I> Gate<I> {
    pub(super) fn new(io: I) -> (Self, Key) {
        let key = Key::default();
        let gate = Self {
            io,
            head: Head::default(),
            open: key.clone(),
            rest: BytesMut::new(),
        };
        (gate, key)
    }

    /// The socket, and what was read with the head.
    pub(super) fn into_parts(self) -> (I, BytesMut) {
        (self.io, self.rest)
    }
}

impl Key {
    /// Whoever waits for the gate must be woken.
    pub(super) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Head {
    /// Where the head ends in these bytes, if it does. A head that announces
    /// another one (RFC 9110 §15.2) is none.
    fn end_in(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            // hyper skips empty lines before a status line, too.
            if self.begun == 0 && matches!(byte, b'\r' | b'\n') {
                continue;
            }
            match byte {
                b'\n' => self.line_ends += 1,
                b'\r' => {}
                _ => self.line_ends = 0,
            }
            if self.begun <= STATUS {
                self.interim = self.begun == STATUS && *byte == b'1';
                self.begun += 1;
            }
            if self.line_ends == 2 {
                if !self.interim {
                    return Some(at + 1);
                }
                *self = Self::default();
            }
        }
        None
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gate<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.open.is_open() {
            if this.rest.is_empty() {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            let fitting = this.rest.len().min(buf.remaining());
            buf.put_slice(&this.rest[..fitting]);
            this.rest.advance(fitting);
            return Poll::Ready(Ok(()));
        }
        if this.head.line_ends == 2 {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if let Some(end) = this.head.end_in(read) {
            this.rest.extend_from_slice(&read[end..]);
            buf.set_filled(before + end);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gate<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the head ends if it comes in two pieces, cut there.
    fn end(bytes: &[u8], cut: usize) -> Option<usize> {
        let mut head = Head::default();
        let (first, second) = bytes.split_at(cut);
        let found = head.end_in(first);
        found.or_else(|| head.end_in(second).map(|end| cut + end))
    }

    proptest! {
        #[test]
        fn a_head_ends_where_it_ends(
            head in prop_oneof![
                Just("HTTP/1.1 200 OK\r\na: b\r\n\r\n"),
                Just("HTTP/1.1 200 OK\r\n\r\n"),
                Just("HTTP/1.0 200 OK\na: b\n\n"),
                Just("HTTP/1.1 103 Early\r\nlink: c\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n"),
                Just("HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 100 On\r\n\r\nHTTP/1.1 500 No\r\n\r\n"),
                Just("\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\n"),
                Just("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
                Just("\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
                Just("HTTP/1.1 1"),
                Just(""),
            ],
            body in prop_oneof![Just(""), Just("\r\n\r\n"), Just("data: a\n\ndata: b\n\n")],
            cut in any::<prop::sample::Index>(),
        ) {
            let complete = head.ends_with("\n\r\n") || head.ends_with("\n\n");
            let bytes = format!("{head}{}", if complete { body } else { "" });
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(end(bytes.as_bytes(), cut), complete.then_some(head.len()));
        }
    }
}
