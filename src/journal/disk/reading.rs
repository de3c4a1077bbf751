use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Found, Frame};
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

/// What is read at once, at most, unless one record is larger.
const WINDOW: u32 = 1 << 20;

/// Two frames that are not further apart are read together, with what lies
/// between them: that takes no longer than to ask twice.
const GAP: u32 = 16 << 10;

impl Reading {
    /// Reads all of it. If a record cannot be read, those after it are what
    /// there is; that the last can be read is therefore a must.
    pub(super) fn read(self) -> io::Result<(Bytes, Vec<Record>)> {
        let head = self.head.read()?;
        let mut records = Vec::new();
        for (file, places) in &self.runs {
            for window in windows(places) {
                read_window(&**file, window, &mut records)?;
            }
        }
        let keep = records.iter().rposition(Result::is_err);
        let whole = match keep {
            Some(at) if at + 1 == records.len() => return Err(damaged()),
            Some(at) => {
                tracing::error!(
                    "journal: a stream's older records could not be read back; it begins later"
                );
                records.split_off(at + 1)
            }
            None => records,
        };
        Ok((head, whole.into_iter().flatten().collect()))
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

/// Splits places into runs that are read at once. Moved ones lie in reverse.
fn windows(places: &[Place]) -> impl Iterator<Item = &[Place]> {
    let mut rest = places;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let (mut low, mut high) = (first.at, first.at + first.len);
        let mut count = 1;
        for place in &rest[1..] {
            let end = place.at + place.len;
            let gap = place.at.saturating_sub(high).max(low.saturating_sub(end));
            let span = high.max(end) - low.min(place.at);
            if gap > GAP || span > WINDOW {
                break;
            }
            (low, high) = (low.min(place.at), high.max(end));
            count += 1;
        }
        let (window, after) = rest.split_at(count);
        rest = after;
        Some(window)
    })
}

fn read_window(
    file: &dyn File,
    places: &[Place],
    records: &mut Vec<io::Result<Record>>,
) -> io::Result<()> {
    let low = places.iter().map(|place| place.at).min().unwrap_or(0);
    let high = places.iter().map(|place| place.at + place.len).max();
    let mut bytes = BytesMut::zeroed((high.unwrap_or(low) - low) as usize);
    read_exactly(file, &mut bytes, u64::from(low))?;
    let bytes = bytes.freeze();
    let wanted: usize = places.iter().map(|place| place.len as usize).sum();
    for place in places {
        let start = (place.at - low) as usize;
        let mut one = bytes.slice(start..start + place.len as usize);
        // A record must not hold the memory of many others' records.
        if wanted < bytes.len() / 2 {
            one = Bytes::copy_from_slice(&one);
        }
        records.push(record(one, place.segment));
    }
    Ok(())
}

fn record(mut frame: Bytes, segment: u32) -> io::Result<Record> {
    let Found::Whole(_) = frame::look(segment, &frame) else {
        return Err(damaged());
    };
    let body = frame.split_off(frame::HEADER);
    match Frame::decode(body) {
        Some(Frame::Record { record, .. } | Frame::Moved { record, .. }) => {
            Record::decode(record).map_err(|_| damaged())
        }
        _ => Err(damaged()),
    }
}
