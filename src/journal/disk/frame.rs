//! What segments are made of.
//!
//! ```text
//! length u32 │ checksum of the body u32 │ checksum of these eight bytes u32 │ body
//! ```
//!
//! The header has a checksum of its own so that a damaged length is told from
//! a frame whose end was never written. It begins with the segment's number,
//! so that a frame is only ever good in the segment it was written to. Numbers
//! are little-endian.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the body.
pub(super) const HEADER: usize = 12;

/// What happened to a stream. Streams are called by a number that is never
/// given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It has this name and head. Said again when the first place goes.
    Begin {
        number: u64,
        name: Bytes,
        retain: Duration,
        head: Bytes,
    },
    /// It goes on, with its record of this ordinal, in place of those with the
    /// same or a later one.
    Record {
        number: u64,
        ordinal: u64,
        record: Bytes,
    },
    /// The record of this ordinal, once more, for its first place is to go.
    Moved {
        number: u64,
        ordinal: u64,
        record: Bytes,
    },
    /// It is gone.
    Forget { number: u64 },
    /// Another name for a stream that is, or will be, called so.
    Alias {
        number: u64,
        alias: Bytes,
        stream: Bytes,
        retain: Duration,
    },
    /// Blocks up to `until` were acknowledged, of which those after `last` may
    /// not be what they should.
    Doubt { number: u64, last: u64, until: u64 },
    /// The same of all streams: for each, whether its last record here was its
    /// last is not known.
    DoubtAll,
}

const BEGIN: u8 = 1;
const RECORD: u8 = 2;
const MOVED: u8 = 3;
const FORGET: u8 = 4;
const ALIAS: u8 = 5;
const DOUBT: u8 = 6;
const DOUBT_ALL: u8 = 7;

impl Frame {
    /// Appends its body.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Begin {
                number,
                name,
                retain,
                head,
            } => {
                put_kind(out, BEGIN, *number);
                out.put_u64_le(millis(*retain));
                put_bytes(out, name);
                put_bytes(out, head);
            }
            Self::Record {
                number,
                ordinal,
                record,
            } => {
                put_record(out, *number, *ordinal);
                out.put_slice(record);
            }
            Self::Moved {
                number,
                ordinal,
                record,
            } => {
                put_kind(out, MOVED, *number);
                out.put_u64_le(*ordinal);
                out.put_slice(record);
            }
            Self::Forget { number } => put_kind(out, FORGET, *number),
            Self::Alias {
                number,
                alias,
                stream,
                retain,
            } => {
                put_kind(out, ALIAS, *number);
                out.put_u64_le(millis(*retain));
                put_bytes(out, alias);
                put_bytes(out, stream);
            }
            Self::Doubt {
                number,
                last,
                until,
            } => {
                put_kind(out, DOUBT, *number);
                out.put_u64_le(*last);
                out.put_u64_le(*until);
            }
            Self::DoubtAll => put_kind(out, DOUBT_ALL, 0),
        }
    }

    /// Whether all that is counted can be counted on from.
    fn is_sane(&self) -> bool {
        let most = match *self {
            Self::Record {
                number, ordinal, ..
            }
            | Self::Moved {
                number, ordinal, ..
            } => number.max(ordinal),
            Self::Doubt {
                number,
                last,
                until,
            } => number.max(last).max(until),
            Self::Begin { number, .. } | Self::Forget { number } | Self::Alias { number, .. } => {
                number
            }
            Self::DoubtAll => 0,
        };
        most <= MOST
    }

    /// Reads a body. `None` if it is none.
    pub(super) fn decode(mut body: Bytes) -> Option<Self> {
        let from = &mut body;
        let kind = from.try_get_u8().ok()?;
        let number = from.try_get_u64_le().ok()?;
        let frame = match kind {
            RECORD => Self::Record {
                number,
                ordinal: from.try_get_u64_le().ok()?,
                record: std::mem::take(from),
            },
            MOVED => Self::Moved {
                number,
                ordinal: from.try_get_u64_le().ok()?,
                record: std::mem::take(from),
            },
            BEGIN => Self::Begin {
                number,
                retain: Duration::from_millis(from.try_get_u64_le().ok()?),
                name: bytes(from)?,
                head: bytes(from)?,
            },
            FORGET => Self::Forget { number },
            ALIAS => Self::Alias {
                number,
                retain: Duration::from_millis(from.try_get_u64_le().ok()?),
                alias: bytes(from)?,
                stream: bytes(from)?,
            },
            DOUBT => Self::Doubt {
                number,
                last: from.try_get_u64_le().ok()?,
                until: from.try_get_u64_le().ok()?,
            },
            DOUBT_ALL => Self::DoubtAll,
            _ => return None,
        };
        (from.is_empty() && frame.is_sane()).then_some(frame)
    }
}

/// Bytes of the numbers before a record: of its stream, and its ordinal.
const NUMBERS: usize = 16;

/// No number gets here: what is larger was never written, and could not be
/// counted on from.
const MOST: u64 = u64::MAX >> 1;

/// Appends the body of a [`Frame::Record`] up to the record.
pub(super) fn put_record(out: &mut BytesMut, number: u64, ordinal: u64) {
    put_kind(out, RECORD, number);
    out.put_u64_le(ordinal);
}

fn put_kind(out: &mut BytesMut, kind: u8, number: u64) {
    out.put_u8(kind);
    out.put_u64_le(number);
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn bytes(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(from.try_get_u32_le().ok()?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Appends a frame of the segment with this number.
pub(super) fn seal(out: &mut BytesMut, segment: u32, body: &[u8]) {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.reserve(HEADER + body.len());
    let start = out.len();
    out.put_u32_le(len);
    out.put_u32_le(crc32fast::hash(body));
    let check = check(segment, &out[start..]);
    out.put_u32_le(check);
    out.put_slice(body);
}

/// What is at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame with a body of this length, which is as it was written.
    Whole(usize),
    /// The beginning of a frame, which takes this many bytes as far as known.
    Part(usize),
    /// What never was a frame, or no longer is one.
    Damage,
}

/// Looks for a frame at the start of `bytes`.
pub(super) fn look(segment: u32, bytes: &[u8]) -> Found {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Found::Part(HEADER);
    };
    let mut fields = header;
    let (len, sum, own) = (
        fields.get_u32_le(),
        fields.get_u32_le(),
        fields.get_u32_le(),
    );
    if own != check(segment, &header[..8]) {
        return Found::Damage;
    }
    let Ok(len) = usize::try_from(len) else {
        return Found::Damage;
    };
    match rest.get(..len) {
        None => Found::Part(HEADER.saturating_add(len)),
        Some(body) if crc32fast::hash(body) == sum => Found::Whole(len),
        Some(_) => Found::Damage,
    }
}

/// The record in a frame of it, if that is whole.
pub(super) fn record(segment: u32, frame: &[u8]) -> Option<&[u8]> {
    let Found::Whole(len) = look(segment, frame) else {
        return None;
    };
    let (kind, rest) = frame.get(HEADER..HEADER + len)?.split_first()?;
    matches!(*kind, RECORD | MOVED).then_some(rest.get(NUMBERS..)?)
}

fn check(segment: u32, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(header);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_on_from_is_no_frame() {
        let frames = |number, at| {
            let record = Bytes::from_static(b"record");
            [
                Frame::Record {
                    number,
                    ordinal: at,
                    record: record.clone(),
                },
                Frame::Moved {
                    number,
                    ordinal: at,
                    record,
                },
                Frame::Doubt {
                    number,
                    last: at,
                    until: at,
                },
                Frame::Forget {
                    number: number.max(at),
                },
            ]
        };
        let read = |frame: &Frame| {
            let mut body = BytesMut::new();
            frame.encode(&mut body);
            Frame::decode(body.freeze())
        };
        for frame in frames(7, MOST) {
            assert_eq!(read(&frame), Some(frame));
        }
        for frame in frames(7, MOST + 1).iter().chain(&frames(u64::MAX, 7)) {
            assert_eq!(read(frame), None);
        }
    }
}
