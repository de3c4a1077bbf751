//! Segment files: their names, their headers, and which there are.
//!
//! ```text
//! magic 8 bytes │ version u32 │ checksum of these u32 │
//! number u64 │ length of the one before u64 │ checksum of these u32 │ frames…
//! ```
//!
//! The first line is the same in every version. *Length of the one before*
//! says where that segment's frames end: what lies beyond was written, but
//! nobody was told that it was kept.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};

use super::frame;
use super::storage::{File, Storage, write_all};

/// Bytes before the first frame.
pub(super) const HEADER: u32 = 36;

const MAGIC: &[u8; 8] = b"ssejrnl\n";
const VERSION: u32 = 1;
const SUFFIX: &str = ".segment";

pub(super) fn name(number: u32) -> String {
    format!("{number:010}{SUFFIX}")
}

/// The number of the segment of this name, if it is one.
pub(super) fn number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The length of the segment before it.
    Good { before: u64 },
    /// It was never written to its end.
    Part,
    /// It is not what was written.
    Damage,
    /// It is of a version that this one cannot read.
    Foreign(u32),
}

pub(super) fn encode(number: u32, before: u64) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER as usize);
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(crc32fast::hash(&out));
    out.put_u64_le(u64::from(number));
    out.put_u64_le(before);
    out.put_u32_le(crc32fast::hash(&out[16..]));
    out
}

pub(super) fn decode(number: u32, bytes: &[u8]) -> Header {
    let Some((common, mut own)) = bytes.split_at_checked(16) else {
        return Header::Part;
    };
    let (magic, mut version) = common.split_at(8);
    let sum = crc32fast::hash(&common[..12]);
    let (version, said) = (version.get_u32_le(), version.get_u32_le());
    if magic != MAGIC || sum != said {
        return Header::Damage;
    }
    if version != VERSION {
        return Header::Foreign(version);
    }
    if own.len() < HEADER as usize - 16 {
        return Header::Part;
    }
    let sum = crc32fast::hash(&own[..16]);
    let (said_number, before) = (own.get_u64_le(), own.get_u64_le());
    if sum != own.get_u32_le() || said_number != u64::from(number) {
        return Header::Damage;
    }
    Header::Good { before }
}

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn File>,
    /// Where its frames end, the header included.
    pub(super) len: u32,
    /// Bytes of frames that are still needed.
    pub(super) live: u64,
    /// Up to where it is known to be with the disk.
    pub(super) synced: u32,
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    /// Its offset.
    pub(super) at: u32,
    /// Its length, header included.
    pub(super) len: u32,
}

/// The segments there are.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by_number: BTreeMap<u32, Segment>,
}

impl Segments {
    pub(super) fn get(&self, number: u32) -> Option<&Segment> {
        self.by_number.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Segment> {
        self.by_number.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.by_number
            .iter()
            .map(|(number, segment)| (*number, segment))
    }

    pub(super) fn insert(&mut self, number: u32, segment: Segment) {
        self.by_number.insert(number, segment);
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Segment> {
        self.by_number.remove(&number)
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        self.by_number.keys().next().copied()
    }

    pub(super) fn newest(&self) -> Option<u32> {
        self.by_number.keys().next_back().copied()
    }

    pub(super) fn bytes(&self) -> u64 {
        let len = |segment: &Segment| u64::from(segment.len);
        self.by_number.values().map(len).sum()
    }

    /// The frame is needed from now on.
    pub(super) fn needed(&mut self, place: Place) {
        if let Some(segment) = self.by_number.get_mut(&place.segment) {
            segment.live += u64::from(place.len);
        }
    }

    /// The frame is not needed any more.
    pub(super) fn dead(&mut self, place: Place) {
        if let Some(segment) = self.by_number.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(u64::from(place.len));
        }
    }
}

/// Makes an empty segment that is there for good, once it returns.
pub(super) fn make(
    storage: &dyn Storage,
    number: u32,
    before: u64,
    sync: bool,
) -> io::Result<Segment> {
    let file = storage.create(&name(number))?;
    write_all(&*file, &encode(number, before), 0)?;
    if sync {
        file.sync()?;
    }
    storage.sync()?;
    Ok(Segment {
        file,
        len: HEADER,
        live: 0,
        synced: if sync { HEADER } else { 0 },
    })
}

/// Reads the body of one frame.
pub(super) fn read(file: &dyn File, place: Place) -> io::Result<bytes::Bytes> {
    let mut bytes = BytesMut::zeroed(place.len as usize);
    super::storage::read_exactly(file, &mut bytes, u64::from(place.at))?;
    match frame::look(place.segment, &bytes) {
        frame::Found::Whole(_) => Ok(bytes.freeze().split_off(frame::HEADER)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged at {}", name(place.segment), place.at),
        )),
    }
}
