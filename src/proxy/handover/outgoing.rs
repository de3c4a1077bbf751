use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// A chunk takes in what lies ready until it has this many pieces or bytes.
const PIECES: usize = 16;
const BYTES: usize = 64 << 10;

/// So few bytes are copied together: to the kernel one buffer is less work than
/// several, by more than the copy costs.
const FLAT: usize = 1 << 10;

/// The longest line of a chunk's size: the digits of a `usize`, CR and LF.
const SIZE_LINE: usize = 2 * size_of::<usize>() + 2;

/// What lies around the pieces: head, size line, and what follows them.
const AROUND: usize = 3;

const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// What is on its way to a client: a head, a chunk, the last chunk, each if
/// there is one, in one write if the socket takes them (RFC 9112 §7.1).
///
/// Empty it owns nothing, and one event's way through allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Bytes,
    first: Bytes,
    more: Vec<Bytes>,
    /// Sum of the pieces.
    bytes: usize,
    last: bool,
    /// Of everything.
    sent: usize,
}

impl Outgoing {
    pub(super) fn new(head: Bytes) -> Self {
        Self {
            head,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.bytes == 0 && !self.last
    }

    /// Whether another piece may be added: once some of it is sent, a chunk's
    /// size is told.
    pub(super) fn takes_more(&self) -> bool {
        self.sent == 0 && !self.last && self.more.len() + 1 < PIECES && self.bytes < BYTES
    }

    /// Adds a piece. An empty one is none: it would end the response.
    pub(super) fn add(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            self.more.push(piece);
        }
    }

    /// Adds the last chunk.
    pub(super) fn end(&mut self) {
        self.last = true;
    }

    /// Ready when everything is written.
    pub(super) fn poll_write<I>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncWrite + Unpin,
    {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut line = [0; SIZE_LINE];
        let line = self.size_line(&mut line);
        let after = self.after();
        let all = self.head.len() + line.len() + self.bytes + after.len();
        while self.sent < all {
            let pieces = std::iter::once(&self.first).chain(&self.more);
            let parts = [&self.head[..], line].into_iter();
            let parts = parts.chain(pieces.map(|piece| &piece[..])).chain([after]);
            let mut slices = [IoSlice::new(&[]); PIECES + AROUND];
            let count = unsent(parts, self.sent, &mut slices);
            let io = Pin::new(&mut *io);
            let mut flat = [0; FLAT];
            let written = if all - self.sent <= FLAT {
                io.poll_write(cx, flatten(&slices[..count], &mut flat))
            } else {
                io.poll_write_vectored(cx, &slices[..count])
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    fn size_line<'a>(&self, line: &'a mut [u8; SIZE_LINE]) -> &'a [u8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if self.bytes == 0 {
            return &[];
        }
        let mut at = SIZE_LINE - CHUNK_END.len();
        line[at..].copy_from_slice(CHUNK_END);
        let mut left = self.bytes;
        while left > 0 {
            at -= 1;
            line[at] = DIGITS[left % 16];
            left /= 16;
        }
        &line[at..]
    }

    fn after(&self) -> &'static [u8] {
        match (self.bytes > 0, self.last) {
            (true, true) => CHUNK_END_AND_LAST,
            (true, false) => CHUNK_END,
            (false, true) => LAST_CHUNK,
            (false, false) => &[],
        }
    }
}

/// Fills `slices` with what is left of `parts` after `sent` bytes, and counts
/// them.
fn unsent<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    mut sent: usize,
    slices: &mut [IoSlice<'a>],
) -> usize {
    let mut count = 0;
    for part in parts {
        let gone = sent.min(part.len());
        sent -= gone;
        if gone < part.len()
            && let Some(slice) = slices.get_mut(count)
        {
            *slice = IoSlice::new(&part[gone..]);
            count += 1;
        }
    }
    count
}

fn flatten<'a>(slices: &[IoSlice<'_>], flat: &'a mut [u8; FLAT]) -> &'a [u8] {
    let mut end = 0;
    for slice in slices {
        flat[end..end + slice.len()].copy_from_slice(slice);
        end += slice.len();
    }
    &flat[..end]
}
