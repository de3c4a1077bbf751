use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

use super::event::{Block, Frame, IdField, value_start};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads an event stream (WHATWG HTML §9.2.5 and §9.2.6) from chunks of bytes.
///
/// [`push`](Self::push) a chunk, then call [`next_frame`](Self::next_frame)
/// until it returns `None`. The frames do not depend on how the stream was cut
/// into chunks, and each is given out as soon as its last byte is there: a CR
/// ends a line at once, whether or not an LF follows it in a later chunk.
///
/// A block that lies within one chunk, with LF line ends and no comment inside,
/// is a slice of that chunk; any other is copied once. When the stream ends,
/// drop the decoder: an unfinished block is not an event.
///
/// # Memory
/// Between calls the decoder holds one unfinished block and one unfinished
/// comment, each of at most `max_event_bytes`, plus the chunks it was given and
/// has not yet read.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    failed: bool,

    /// Chunks that came while `chunk` was not yet read to its end.
    waiting: VecDeque<Bytes>,
    chunk: Bytes,
    /// The first byte of `chunk` that is not yet read.
    pos: usize,

    /// How much of a leading BOM was seen; all of it once the matter is settled.
    bom: usize,
    /// The last line ended with a CR: an LF that comes next belongs to it.
    after_cr: bool,
    /// What an earlier chunk began and did not end.
    begun: Begun,

    /// The block's lines that had to be copied, then the begun field line.
    carry: BytesMut,
    /// The block's lines after those in `carry`, still lying in `chunk`.
    span: Range<usize>,
    /// The text of the begun comment.
    comment: BytesMut,
    fields: Fields,
}

/// A line of which an earlier chunk held the beginning.
#[derive(Clone, Copy, Debug)]
enum Begun {
    Nothing,
    /// A field line; its bytes are in `carry` from `start` on.
    Field {
        start: usize,
    },
    Comment,
}

/// What the block's lines so far say.
#[derive(Debug, Default)]
struct Fields {
    data: bool,
    event: bool,
    /// Where in the block's lines the last valid id is.
    id: Option<Range<usize>>,
    retry: Option<u64>,
}

/// A block, or one comment line, is larger than the decoder was told to accept.
///
/// Nothing of it is given out. The stream cannot be read further, as a reader
/// would not know what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The limit that was passed, in bytes: `max_event_bytes`.
    pub limit: usize,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder at the start of a stream.
    ///
    /// `max_event_bytes` bounds each block (its field lines, with one byte for
    /// each line end) and each comment line (what follows the `:`). With 0 no
    /// block is accepted at all.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            limit: max_event_bytes,
            failed: false,
            waiting: VecDeque::new(),
            chunk: Bytes::new(),
            pos: 0,
            bom: 0,
            after_cr: false,
            begun: Begun::Nothing,
            carry: BytesMut::new(),
            span: 0..0,
            comment: BytesMut::new(),
            fields: Fields::default(),
        }
    }

    /// Adds the next bytes of the stream. Empty chunks are fine.
    ///
    /// Drain the frames first: a chunk that comes earlier has to wait, and
    /// nothing bounds how many do. After an error, chunks are dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.failed {
            self.waiting.push_back(chunk);
        }
    }

    /// The next frame; `None` when more bytes are needed.
    ///
    /// After an error every call returns that error again.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        if self.failed {
            return Err(EventTooLarge { limit: self.limit });
        }
        let frame = self.read_frame();
        if frame.is_err() {
            *self = Self::new(self.limit);
            self.failed = true;
        }
        frame
    }

    /// Whether the stream could end here without cutting a block off.
    ///
    /// Speaks of the bytes read so far: ask when
    /// [`next_frame`](Self::next_frame) has returned `None`. True at the start
    /// and within a comment between blocks, false within a leading BOM and
    /// after an error.
    pub fn is_between_blocks(&self) -> bool {
        let within_bom = (1..BOM.len()).contains(&self.bom);
        !self.failed && !within_bom && self.carry.is_empty() && self.span.is_empty()
    }

    fn read_frame(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        while self.has_input() {
            match memchr2(b'\n', b'\r', &self.chunk[self.pos..]) {
                None => self.begin_line()?,
                Some(len) => {
                    if let Some(frame) = self.end_line(len)? {
                        return Ok(Some(frame));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Steps over what is no part of any line, and on to the next chunk.
    /// Whether `pos` is then at a byte of a line.
    fn has_input(&mut self) -> bool {
        loop {
            let Some(&next) = self.chunk.get(self.pos) else {
                if !self.next_chunk() {
                    return false;
                }
                continue;
            };
            if mem::take(&mut self.after_cr) && next == b'\n' {
                self.pos += 1;
            } else if self.bom < BOM.len() {
                self.read_bom(next);
            } else {
                return true;
            }
        }
    }

    /// Lets go of a chunk that is read, so that no unfinished block keeps a
    /// whole chunk alive.
    fn next_chunk(&mut self) -> bool {
        self.copy_span();
        self.pos = 0;
        let next = self.waiting.pop_front();
        let more = next.is_some();
        self.chunk = next.unwrap_or_default();
        more
    }

    fn read_bom(&mut self, next: u8) {
        if next == BOM[self.bom] {
            self.bom += 1;
            self.pos += 1;
            return;
        }
        // Not a BOM after all: what looked like one begins the first line.
        if self.bom > 0 {
            self.carry.extend_from_slice(&BOM[..self.bom]);
            self.begun = Begun::Field { start: 0 };
        }
        self.bom = BOM.len();
    }

    /// The rest of the chunk is a line, or part of one, that does not end here.
    fn begin_line(&mut self) -> Result<(), EventTooLarge> {
        let mut rest = self.pos..self.chunk.len();
        if matches!(self.begun, Begun::Nothing) {
            if self.chunk[rest.start] == b':' {
                self.begun = Begun::Comment;
                rest.start += 1;
            } else {
                self.copy_span();
                let start = self.carry.len();
                self.begun = Begun::Field { start };
            }
        }
        self.pos = rest.end;
        match self.begun {
            Begun::Comment => self.extend_comment(rest),
            _ => self.extend_line(rest),
        }
    }

    /// A line ends `len` bytes from here.
    fn end_line(&mut self, len: usize) -> Result<Option<Frame>, EventTooLarge> {
        let line = self.pos..self.pos + len;
        self.after_cr = self.chunk[line.end] == b'\r';
        self.pos = line.end + 1;
        match mem::replace(&mut self.begun, Begun::Nothing) {
            Begun::Nothing if len == 0 => Ok(self.end_block()),
            Begun::Nothing if self.chunk[line.start] == b':' => self.whole_comment(line).map(Some),
            Begun::Nothing => self.whole_line(line).map(|()| None),
            Begun::Comment => {
                self.extend_comment(line)?;
                let text = mem::take(&mut self.comment).freeze();
                Ok(Some(Frame::Comment(text)))
            }
            Begun::Field { start } => {
                self.extend_line(line)?;
                self.fields.read(&self.carry[start..], start);
                self.carry.put_u8(b'\n');
                Ok(None)
            }
        }
    }

    fn whole_comment(&self, line: Range<usize>) -> Result<Frame, EventTooLarge> {
        self.check(line.len() - 1)?;
        Ok(Frame::Comment(self.chunk.slice(line.start + 1..line.end)))
    }

    /// A field line that lies in this chunk from its first to its last byte.
    fn whole_line(&mut self, line: Range<usize>) -> Result<(), EventTooLarge> {
        let held = self.carry.len() + self.span.len();
        self.check(held + line.len() + 1)?;
        self.fields.read(&self.chunk[line.clone()], held);

        if self.after_cr {
            self.copy_span();
            self.carry.extend_from_slice(&self.chunk[line]);
            self.carry.put_u8(b'\n');
        } else if self.span.end == line.start && !self.span.is_empty() {
            self.span.end = self.pos;
        } else {
            // The first line, or one after a comment or a CR.
            self.copy_span();
            self.span = line.start..self.pos;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Option<Frame> {
        let fields = mem::take(&mut self.fields);
        let lines = if self.carry.is_empty() {
            self.chunk.slice(mem::take(&mut self.span))
        } else {
            self.copy_span();
            mem::take(&mut self.carry).freeze()
        };
        (!lines.is_empty()).then(|| Frame::Block(fields.into_block(lines)))
    }

    /// Adds to the begun field line.
    fn extend_line(&mut self, part: Range<usize>) -> Result<(), EventTooLarge> {
        // Its line end is counted from the start, so that the answer is the
        // same however the line was cut.
        self.check(self.carry.len() + part.len() + 1)?;
        self.carry.extend_from_slice(&self.chunk[part]);
        Ok(())
    }

    /// Adds to the begun comment.
    fn extend_comment(&mut self, part: Range<usize>) -> Result<(), EventTooLarge> {
        self.check(self.comment.len() + part.len())?;
        self.comment.extend_from_slice(&self.chunk[part]);
        Ok(())
    }

    fn copy_span(&mut self) {
        let span = mem::take(&mut self.span);
        self.carry.extend_from_slice(&self.chunk[span]);
    }

    fn check(&self, size: usize) -> Result<(), EventTooLarge> {
        if size > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        Ok(())
    }
}

// === impl Fields ===

impl Fields {
    /// Takes in one field line, which lies at `offset` in the block's lines.
    fn read(&mut self, line: &[u8], offset: usize) {
        match line.first() {
            Some(b'd') => self.data |= value_start(line, b"data").is_some(),
            Some(b'e') => self.event |= value_start(line, b"event").is_some(),
            Some(b'i') => self.read_id(line, offset),
            Some(b'r') => self.read_retry(line),
            _ => {}
        }
    }

    fn read_id(&mut self, line: &[u8], offset: usize) {
        if let Some(start) = value_start(line, b"id")
            && !line.contains(&0)
        {
            self.id = Some(offset + start..offset + line.len());
        }
    }

    fn read_retry(&mut self, line: &[u8]) {
        let value = value_start(line, b"retry").map_or(&line[..0], |start| &line[start..]);
        self.retry = parse_millis(value).or(self.retry);
    }

    fn into_block(self, lines: Bytes) -> Block {
        let id = match self.id {
            None => IdField::Absent,
            Some(range) if range.is_empty() => IdField::Reset,
            Some(range) => IdField::Set(lines.slice(range)),
        };
        Block {
            lines,
            has_data: self.data,
            has_event: self.event,
            id,
            retry: self.retry,
        }
    }
}

/// Digits only: what `str::parse` takes beyond that, such as a sign, is refused.
fn parse_millis(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |millis, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(millis.saturating_mul(10).saturating_add(digit))
    })
}

// === impl EventTooLarge ===

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an upstream event or comment is larger than the {} bytes allowed by `max_event_bytes`",
            self.limit
        )
    }
}

impl std::error::Error for EventTooLarge {}
