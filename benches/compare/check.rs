//! What one client got: no event lost, doubled, swapped or damaged.

use std::io;

use crate::event::{LOOKED_AT, Shape, read};

/// The kind of error that lost events are.
pub(crate) const LOST: io::ErrorKind = io::ErrorKind::InvalidData;

/// Reads the lines of an event stream and checks its events.
#[derive(Debug)]
pub(crate) struct Check {
    shape: Shape,
    /// The beginning of the line that is not whole yet.
    held: [u8; LOOKED_AT],
    /// Length of that line so far, also beyond what is held.
    length: usize,
    /// Number and time of the event whose blank line is missing.
    pending: Option<(u64, u64)>,
    /// The number that must come next; before the first event any may.
    next: Option<u64>,
    /// The first event's id, of those who ask.
    id: Option<Vec<u8>>,
    wants_id: bool,
}

impl Check {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            held: [0; LOOKED_AT],
            length: 0,
            pending: None,
            next: None,
            id: None,
            wants_id: false,
        }
    }

    /// The first event must have this number.
    pub(crate) fn begin_with(&mut self, number: u64) {
        self.next = Some(number);
    }

    /// The id of the first event is to be kept.
    pub(crate) fn keep_id(&mut self) {
        self.wants_id = true;
    }

    pub(crate) fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The number of the last event, 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.next.map_or(0, |next| next - 1)
    }

    /// Takes a piece of the stream, cut anywhere. `event` is told when each
    /// event was produced.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut event: impl FnMut(u64)) -> io::Result<()> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.length == 0 {
                self.line(&bytes[..end.min(LOOKED_AT)], end, &mut event)?;
            } else {
                self.hold(&bytes[..end]);
                let (held, length) = (self.held, self.length);
                self.length = 0;
                self.line(&held[..length.min(LOOKED_AT)], length, &mut event)?;
            }
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes);
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.length < LOOKED_AT {
            let fits = bytes.len().min(LOOKED_AT - self.length);
            self.held[self.length..self.length + fits].copy_from_slice(&bytes[..fits]);
        }
        self.length += bytes.len();
    }

    fn line(&mut self, line: &[u8], length: usize, event: &mut impl FnMut(u64)) -> io::Result<()> {
        if length == 0 {
            if let Some((number, time)) = self.pending.take() {
                self.number(number)?;
                event(time);
            }
        } else if line.starts_with(b"data:") {
            if self.pending.is_some() {
                return Err(io::Error::other("two events without a blank line between"));
            }
            let data = read(self.shape, line, length);
            self.pending = Some(data.ok_or_else(|| damaged(line, length))?);
        } else if self.wants_id && self.id.is_none() && line.starts_with(b"id:") {
            self.id = Some(line[3..].trim_ascii().to_vec());
        }
        Ok(())
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        match self.next {
            Some(next) if number > next => {
                let lost = number - next;
                let reason = format!("{lost} events lost: {number} came where {next} should");
                Err(io::Error::new(LOST, reason))
            }
            Some(next) if number < next => Err(io::Error::other(format!(
                "an event doubled or out of order: {number} came where {next} should"
            ))),
            _ => {
                self.next = Some(number + 1);
                Ok(())
            }
        }
    }
}

fn damaged(line: &[u8], length: usize) -> io::Error {
    let line = String::from_utf8_lossy(line);
    io::Error::other(format!("a damaged event of {length} bytes: {line:?}"))
}
