//! What is written at once.

use std::io;
use std::mem;

use bytes::BytesMut;

use super::frame::{self, Frame, put_record};
use super::queue::Answer;
use super::segment::{HEADER, Place};
use super::settings::Sync;
use super::storage::write_all;
use super::writer::Writer;
use crate::journal::record::Outline;
use crate::journal::{Appended, JournalError, Name, Record};

/// Frames that are about to be written, and what becomes true with them.
#[derive(Debug, Default)]
pub(super) struct Group {
    bytes: BytesMut,
    changes: Vec<(Place, Change)>,
    /// Kept for its capacity.
    body: BytesMut,
}

/// What becomes true once a frame is written.
#[derive(Debug)]
pub(super) enum Change {
    Begin {
        number: u64,
    },
    Record {
        number: u64,
        ordinal: u64,
        outline: Outline,
        answer: Answer<Appended>,
    },
    Forget {
        number: u64,
        answer: Option<Answer<()>>,
    },
    Alias {
        number: u64,
        answer: Option<Answer<Option<Name>>>,
    },
    ForgetAlias {
        number: u64,
    },
    Doubt {
        number: u64,
    },
}

/// A group that has grown to this is written before there is more.
const GROUP: usize = 1 << 20;

const NOT_BEGUN: &str = "a stream was not begun, or its head was lost";

impl Group {
    pub(super) fn push(&mut self, place: Place, change: Change) {
        self.changes.push((place, change));
    }
}

impl Writer {
    // === Putting together ===

    pub(super) fn stage_head(&mut self, number: u64) -> Result<(), JournalError> {
        let stream = self.index.streams.get(&number);
        let parts = stream.and_then(|stream| {
            let (name, head) = (stream.name.as_ref()?, stream.unwritten.as_ref()?);
            Some((name.0.clone(), head.clone(), stream.retain))
        });
        let Some((name, head, retain)) = parts else {
            return Err(JournalError::new(NOT_BEGUN));
        };
        let frame = Frame::Begin {
            number,
            name,
            retain,
            head,
        };
        let place = self.put(|out| frame.encode(out))?;
        let stream = self.index.stream(number);
        stream.staged.head = true;
        stream.touched = true;
        self.group.push(place, Change::Begin { number });
        Ok(())
    }

    /// Returns the record's ordinal, and where it will be.
    pub(super) fn stage_record(
        &mut self,
        number: u64,
        record: &Record,
    ) -> Result<(u64, Place), JournalError> {
        if !record.outline().is_sane() {
            return Err(JournalError::new("a record has no position"));
        }
        let stream = self.index.streams.get(&number);
        if stream.is_some_and(|stream| stream.staged.record) {
            // Nobody waits for the one before; which it is shows once it is
            // written.
            self.commit();
        }
        let stream = self.index.streams.get(&number);
        if stream.is_some_and(|stream| stream.unwritten.is_some() && !stream.staged.head) {
            self.stage_head(number)?;
        } else if !stream.is_some_and(|stream| stream.head.is_some() || stream.staged.head) {
            return Err(JournalError::new(NOT_BEGUN));
        }
        let stream = self.index.stream(number);
        let ordinal = stream.records.ordinal_at(record.batch.first);
        let place = self.put(|out| {
            put_record(out, number, ordinal);
            record.encode(out);
        })?;
        self.index.stream(number).staged.record = true;
        Ok((ordinal, place))
    }

    pub(super) fn stage_forget(&mut self, number: u64) -> Result<Place, JournalError> {
        self.put(|out| Frame::Forget { number }.encode(out))
    }

    pub(super) fn stage_alias(&mut self, number: u64) -> Result<Place, JournalError> {
        let Some(alias) = self.index.aliases.get(&number) else {
            return Err(JournalError::new("an alias is gone"));
        };
        let frame = Frame::Alias {
            number,
            alias: alias.name.0.clone(),
            stream: alias.stream.0.clone(),
            retain: alias.retain,
        };
        self.put(|out| frame.encode(out))
    }

    /// Adds a frame to the group, in a segment that has room for it.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<Place, JournalError> {
        let mut body = mem::take(&mut self.group.body);
        write(&mut body);
        let place = self.put_body(&body);
        self.group.body = emptied(body);
        place
    }

    fn put_body(&mut self, body: &[u8]) -> Result<Place, JournalError> {
        let len = frame::HEADER + body.len();
        // A frame larger than a segment gets one of its own, but one that left
        // no room for others would only make everything else go.
        if len as u64 > self.settings.cap() / 4 {
            return Err(JournalError::new(format!(
                "a record of {len} bytes is too large for max_bytes; raise it"
            )));
        }
        let (segment, at) = self.room_for(len)?;
        let group = &mut self.group.bytes;
        let before = group.len();
        frame::seal(group, segment, body);
        let len = u32::try_from(group.len() - before).unwrap_or(u32::MAX);
        Ok(Place { segment, at, len })
    }

    /// Where the next frame goes.
    fn room_for(&mut self, len: usize) -> Result<(u32, u32), JournalError> {
        if self.group.bytes.len() >= GROUP {
            self.commit();
        }
        let limit = self.settings.segment() as usize;
        loop {
            if let Some(outage) = &self.outage {
                return Err(outage.error());
            }
            let tail = self.tail.and_then(|tail| {
                let segment = self.index.segments.get(tail)?;
                Some((tail, segment.len as usize + self.group.bytes.len()))
            });
            match tail {
                // A frame larger than a segment gets one of its own.
                Some((tail, used)) if used + len <= limit || used == HEADER as usize => {
                    return Ok((tail, u32::try_from(used).unwrap_or(u32::MAX)));
                }
                Some(_) => {
                    self.commit();
                    self.tail = None;
                }
                None => self.roll(),
            }
        }
    }

    // === Writing ===

    /// Writes the group, and answers those who wait for it.
    pub(super) fn commit(&mut self) {
        if self.group.bytes.is_empty() {
            return;
        }
        let bytes = mem::take(&mut self.group.bytes);
        let mut changes = mem::take(&mut self.group.changes);
        match self.write(&bytes) {
            Ok(()) => {
                for (place, change) in changes.drain(..) {
                    self.settle(place, change);
                }
            }
            Err(error) => {
                self.write_failed(&error);
                self.refuse(&mut changes);
            }
        }
        self.group.changes = changes;
        self.group.bytes = emptied(bytes);
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let segment = self.tail.and_then(|tail| self.index.segments.get_mut(tail));
        let Some(segment) = segment else {
            return Err(io::Error::other("no segment to write to"));
        };
        write_all(&*segment.file, bytes, u64::from(segment.len))?;
        let len = segment.len + u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if self.settings.sync == Sync::Always {
            segment.file.sync()?;
            segment.synced = len;
        }
        segment.len = len;
        Ok(())
    }

    fn settle(&mut self, place: Place, change: Change) {
        match change {
            Change::Begin { number } => self.index.begin(number, place),
            Change::Record {
                number,
                ordinal,
                outline,
                answer,
            } => {
                self.index.append(number, place, outline, ordinal);
                let _ = answer.send(Ok(Appended::Kept));
            }
            Change::Forget { number, answer } => {
                self.index.forget(number);
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(()));
                }
            }
            Change::Alias { number, answer } => {
                self.index.place_alias(number, place);
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(None));
                }
            }
            Change::ForgetAlias { number } => self.index.forget_alias(number),
            Change::Doubt { number } => self.index.stream(number).unsaid = false,
        }
    }

    /// Nothing of the group is written: nothing of it is true.
    pub(super) fn refuse_group(&mut self) {
        let bytes = mem::take(&mut self.group.bytes);
        let mut changes = mem::take(&mut self.group.changes);
        self.refuse(&mut changes);
        self.group.changes = changes;
        self.group.bytes = emptied(bytes);
    }

    fn refuse(&mut self, changes: &mut Vec<(Place, Change)>) {
        let error = self.outage.as_ref().map_or_else(
            || JournalError::new("not written"),
            super::outage::Outage::error,
        );
        let now = self.storage.now();
        for (_, change) in changes.drain(..) {
            match change {
                Change::Begin { number } => {
                    if let Some(stream) = self.index.streams.get_mut(&number) {
                        stream.staged.head = false;
                    }
                }
                Change::Record { number, answer, .. } => {
                    self.lacking.insert(number);
                    if let Some(stream) = self.index.streams.get_mut(&number) {
                        stream.staged.record = false;
                    }
                    let _ = answer.send(Err(error.clone()));
                }
                Change::Forget { number, answer } => {
                    self.index.leave(number, now);
                    if let Some(answer) = answer {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
                Change::Alias { number, answer } => {
                    // Without an answer it was given before.
                    if let Some(answer) = answer {
                        self.index.forget_alias(number);
                        let _ = answer.send(Err(error.clone()));
                    }
                }
                Change::ForgetAlias { number } => self.index.leave(number, now),
                Change::Doubt { .. } => {}
            }
        }
    }
}

/// An empty buffer, the same if it is not a large one.
fn emptied(mut bytes: BytesMut) -> BytesMut {
    if bytes.capacity() > 2 * GROUP {
        return BytesMut::new();
    }
    bytes.clear();
    bytes
}
