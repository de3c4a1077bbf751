use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Frame};
use super::segment::{self, Place};
use super::storage::{File, read_exactly};
use crate::journal::Record;

/// A stream to be read: where its parts are, and the files, which can be read
/// also after they are gone from the directory.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) head: Head,
    /// Its records' places, in order.
    pub(super) runs: Vec<(Arc<dyn File>, Vec<Place>)>,
}

/// A stream's head.
#[derive(Debug)]
pub(super) enum Head {
    At(Arc<dyn File>, Place),
    Here(Bytes),
}

/// What is read at once, at most, unless one record is larger: little enough
/// that it is still in the processor's cache when it is looked at.
const WINDOW: usize = 256 << 10;

/// Two frames that are not further apart are read together, with what lies
/// between them: to copy more takes longer than to ask twice.
const GAP: u32 = 4 << 10;

impl Reading {
    /// Reads all of it. If a record cannot be read, those after it are what
    /// there is; that the last can be read is therefore a must.
    pub(super) fn read(self) -> io::Result<(Bytes, Vec<Record>)> {
        let head = self.head.read()?;
        let mut reader = Reader::of(&self.runs);
        for (file, places) in &self.runs {
            for window in windows(places) {
                reader.read(&**file, window)?;
            }
        }
        Ok((head, reader.finish()?))
    }
}

impl Head {
    fn read(self) -> io::Result<Bytes> {
        let (file, place) = match self {
            Self::Here(head) => return Ok(head),
            Self::At(file, place) => (file, place),
        };
        match Frame::decode(segment::read(&*file, place)?) {
            Some(Frame::Begin { head, .. }) => Ok(head),
            _ => Err(damaged()),
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame is damaged")
}

/// Splits places into runs that are read at once.
fn windows(places: &[Place]) -> impl Iterator<Item = &[Place]> {
    let mut rest = places;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut end = first.at + first.len;
        let mut count = 1;
        for place in &rest[1..] {
            // One that was moved may lie behind those that follow it.
            let near = place.at >= end && place.at - end <= GAP;
            let next = place.at.saturating_add(place.len);
            if !near || (next - first.at) as usize > WINDOW {
                break;
            }
            end = next;
            count += 1;
        }
        let (window, after) = rest.split_at(count);
        rest = after;
        Some(window)
    })
}

/// Puts records together from what lies between other streams' records.
struct Reader {
    /// A part of a file.
    window: Vec<u8>,
    /// The records in it, and in those before: none of them holds the memory of
    /// what is another stream's.
    bytes: BytesMut,
    lengths: Vec<usize>,
    /// Bytes of frames that are yet to be read.
    left: usize,
    records: Vec<Record>,
    /// The last record could not be read.
    is_damaged: bool,
}

impl Reader {
    fn of(runs: &[(Arc<dyn File>, Vec<Place>)]) -> Self {
        let places = || runs.iter().flat_map(|(_, places)| places);
        Self {
            window: Vec::new(),
            bytes: BytesMut::new(),
            lengths: Vec::new(),
            left: places().map(|place| place.len as usize).sum(),
            records: Vec::with_capacity(places().count()),
            is_damaged: false,
        }
    }

    fn read(&mut self, file: &dyn File, places: &[Place]) -> io::Result<()> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Ok(());
        };
        let len = (last.at + last.len - first.at) as usize;
        if self.window.len() < len {
            self.window.resize(len.max(WINDOW), 0);
        }
        read_exactly(file, &mut self.window[..len], u64::from(first.at))?;
        if self.bytes.is_empty() {
            self.bytes.reserve(self.left.min(2 * WINDOW));
        }
        for place in places {
            self.left -= place.len as usize;
            let start = (place.at - first.at) as usize;
            let frame = &self.window[start..start + place.len as usize];
            match frame::record(place.segment, frame) {
                Some(record) => {
                    self.bytes.extend_from_slice(record);
                    self.lengths.push(record.len());
                }
                None => self.damaged(),
            }
        }
        if self.bytes.len() >= WINDOW {
            self.decode();
        }
        Ok(())
    }

    fn decode(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes).freeze();
        for len in std::mem::take(&mut self.lengths) {
            match Record::decode(bytes.split_to(len)) {
                Ok(record) => {
                    self.is_damaged = false;
                    self.records.push(record);
                }
                Err(_) => self.damaged(),
            }
        }
    }

    /// Those before it cannot be joined to those after it.
    fn damaged(&mut self) {
        if !std::mem::replace(&mut self.is_damaged, true) {
            tracing::error!(
                "journal: a stream's older records could not be read back; it begins later"
            );
        }
        self.bytes.clear();
        self.lengths.clear();
        self.records.clear();
    }

    fn finish(mut self) -> io::Result<Vec<Record>> {
        self.decode();
        if self.is_damaged {
            return Err(damaged());
        }
        Ok(self.records)
    }
}
