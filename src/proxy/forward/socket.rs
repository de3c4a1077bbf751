//! A body read from its socket, without hyper.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::chunks::Chunks;

/// Read at once as long as no more than that comes: what waits for the next
/// event keeps no buffer.
const LITTLE: usize = 4 * 1024;

/// Read at once when there is more.
const MUCH: usize = 64 * 1024;

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked(Chunks),
    /// With its connection.
    Close,
}

/// What an upstream sends for as long as it lasts.
#[derive(Debug)]
pub(super) struct SocketBody<I> {
    io: I,
    framing: Framing,
    /// Read with the head.
    ahead: BytesMut,
    /// More may come than a little.
    much: bool,
    over: bool,
}

impl Framing {
    /// `None` if it is for hyper to say, or to refuse.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(CONTENT_LENGTH) {
            return None;
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (None, _) => Some(Self::Close),
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                Some(Self::Chunked(Chunks::new()))
            }
            _ => None,
        }
    }
}

impl<I: AsyncRead + Unpin> SocketBody<I> {
    pub(super) fn new(io: I, framing: Framing, ahead: BytesMut) -> Self {
        Self {
            io,
            framing,
            ahead,
            much: false,
            over: false,
        }
    }

    /// What came, or `None` at the body's end.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while !self.over {
            if let Framing::Chunked(chunks) = &self.framing
                && let Some(error) = chunks.error()
            {
                self.over = true;
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Poll::Ready(Some(Err(error)));
            }
            let mut read = ready!(self.poll_read(cx))?;
            let end = read.is_empty();
            let content = match &mut self.framing {
                Framing::Close => {
                    self.over = end;
                    read.len()
                }
                Framing::Chunked(_) if end => {
                    self.over = true;
                    let error = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended before the response did",
                    );
                    return Poll::Ready(Some(Err(error)));
                }
                Framing::Chunked(chunks) => {
                    let content = chunks.decode(&mut read);
                    self.over = chunks.is_over();
                    content
                }
            };
            if content > 0 {
                read.truncate(content);
                return Poll::Ready(Some(Ok(read.freeze())));
            }
        }
        Poll::Ready(None)
    }

    /// Bytes as they came; none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.ahead)));
        }
        if std::mem::take(&mut self.much) {
            let mut read = BytesMut::with_capacity(MUCH);
            let count = ready!(pin!(self.io.read_buf(&mut read)).poll(cx))?;
            self.much = count >= LITTLE;
            if count < MUCH / 4 {
                // So few are not worth holding so much for.
                read = BytesMut::from(&read[..]);
            }
            return Poll::Ready(Ok(read));
        }
        let mut space = [MaybeUninit::uninit(); LITTLE];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.much = read.filled().len() == LITTLE;
        Poll::Ready(Ok(read.filled().into()))
    }
}
