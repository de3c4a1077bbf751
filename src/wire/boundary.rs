use std::mem;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Follows a stream that is passed on verbatim, and knows where a
/// [`HEARTBEAT`](super::HEARTBEAT) may be put without changing what it says.
///
/// Holds no bytes, has no limit, and cannot fail.
///
/// # At the start
/// A heartbeat sent before the first byte makes a BOM that follows it part of
/// a field name. Take it off with [`LeadingBom`].
///
/// # CR
/// A CR ends a line, but if an LF follows, it belongs to that CR. A heartbeat
/// between the two would leave the LF behind as a blank line of its own, which
/// is an event to some clients. So nothing is *between* blocks until the byte
/// after a CR is known. The price: a stream that ends its lines with bare CRs
/// gets no heartbeats.
#[derive(Clone, Debug, Default)]
pub struct Boundary {
    line: Line,
    /// A field line has come since the last blank line.
    in_block: bool,
    after_cr: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Fresh,
    Field,
    Comment,
}

/// Takes a BOM off the start of a stream that is passed on after a heartbeat.
///
/// A client strips one BOM from the very first bytes it gets. Where those are a
/// heartbeat, the upstream's BOM would stay in the text and spoil the first
/// field name; so it has to go. Where nothing was sent before it, the stream
/// must be left alone: of two BOMs, only the first is stripped.
#[derive(Clone, Debug, Default)]
pub struct LeadingBom {
    /// How much of it was seen and held back; all of it once settled.
    seen: usize,
}

// === impl Boundary ===

impl Boundary {
    /// Takes in the next bytes of the stream, in chunks of any size.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            if self.line == Line::Fresh && end != Some(0) {
                // A BOM counts as text: it may, by mistake, hide a comment or
                // a blank line, which only makes the answer more careful.
                self.line = if first == b':' {
                    Line::Comment
                } else {
                    Line::Field
                };
            }
            let Some(end) = end else { return };
            self.end_line();
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
        }
    }

    /// Whether a bare comment line may be put here.
    ///
    /// True at the start of the stream, after the blank line that ends a block,
    /// and after a comment line that follows one.
    pub fn between_blocks(&self) -> bool {
        self.line == Line::Fresh && !self.in_block && !self.after_cr
    }

    fn end_line(&mut self) {
        match mem::take(&mut self.line) {
            Line::Fresh => self.in_block = false,
            Line::Field => self.in_block = true,
            Line::Comment => {}
        }
    }
}

// === impl LeadingBom ===

impl LeadingBom {
    /// What of this chunk is to be passed on, perhaps nothing yet.
    ///
    /// The first bytes are held back while they may be part of a BOM, at most
    /// two of them. They are lost if the stream ends there, in the middle of
    /// what is then neither a BOM nor a line.
    pub fn strip(&mut self, mut chunk: Bytes) -> Bytes {
        while self.seen < BOM.len() {
            match chunk.first() {
                None => break,
                Some(&byte) if byte == BOM[self.seen] => {
                    self.seen += 1;
                    let _ = chunk.split_to(1);
                }
                Some(_) => {
                    let held = mem::replace(&mut self.seen, BOM.len());
                    return prepend(&BOM[..held], chunk);
                }
            }
        }
        chunk
    }
}

fn prepend(prefix: &[u8], chunk: Bytes) -> Bytes {
    if prefix.is_empty() {
        return chunk;
    }
    let mut joined = BytesMut::with_capacity(prefix.len() + chunk.len());
    joined.extend_from_slice(prefix);
    joined.extend_from_slice(&chunk);
    joined.freeze()
}
