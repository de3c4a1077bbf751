//! One append: its batch and what goes with it, and their bytes at rest.
//!
//! ```text
//! version  first  low  at  state  blocks  (length, id?)…  seams  (after, kind)…  bytes
//! ```
//!
//! Whoever stores the bytes sees to it that they come back whole (a checksum, a
//! protocol); what is read here may still be anything, and is refused if it is
//! not a record.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::pack::{Garbled, number, put_bytes, put_number, run};
use crate::log::{Batch, Entry, Seam, SeamKind};

const VERSION: u8 = 1;

/// What is appended to a journal at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Blocks and seams; there may be none, if only the state changed.
    pub batch: Batch,
    /// What an owner needs to go on after this, beside the blocks. Opaque here;
    /// it stands for all states before it.
    pub state: Bytes,
    /// When it was appended, in milliseconds since 1970.
    pub at: u64,
    /// Blocks up to this one are no longer retained.
    pub low: u64,
}

/// Where a record is in its stream, read without the rest of it.
#[cfg(feature = "disk")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Position of its first block.
    pub(crate) first: u64,
    /// How many blocks it has.
    pub(crate) blocks: u32,
    /// Blocks up to this one are no longer retained.
    pub(crate) low: u64,
}

#[cfg(feature = "disk")]
impl Outline {
    /// Whether its blocks have positions, which can be counted on from.
    pub(crate) fn is_sane(&self) -> bool {
        let end = self.first.checked_add(u64::from(self.blocks));
        self.first > 0 && end.is_some_and(|end| end < u64::MAX >> 1)
    }
}

impl Record {
    /// When it was appended, by the system's clock.
    pub fn time(&self) -> SystemTime {
        let since = Duration::from_millis(self.at);
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        let Batch {
            first,
            bytes,
            entries,
            seams,
        } = &self.batch;
        out.reserve(64 + self.state.len() + bytes.len() + entries.len() * 4);
        out.put_u8(VERSION);
        put_number(out, *first);
        put_number(out, self.low);
        put_number(out, self.at);
        put_bytes(out, &self.state);
        put_number(out, entries.len() as u64);
        let mut start = 0;
        for entry in entries {
            // One bit tells whether an id follows.
            let len = u64::from(entry.end - start);
            put_number(out, len << 1 | u64::from(entry.id.is_some()));
            if let Some(id) = &entry.id {
                put_bytes(out, id);
            }
            start = entry.end;
        }
        put_number(out, seams.len() as u64);
        for seam in seams {
            put_number(out, seam.after);
            put_kind(out, seam.kind);
        }
        put_bytes(out, bytes);
    }

    /// Its place in its stream.
    #[cfg(feature = "disk")]
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            first: self.batch.first,
            blocks: u32::try_from(self.batch.entries.len()).unwrap_or(u32::MAX),
            low: self.low,
        }
    }

    /// Reads the outline of a record, whose bytes are known to be whole.
    #[cfg(feature = "disk")]
    pub(crate) fn read_outline(mut bytes: Bytes) -> Result<Outline, Garbled> {
        let from = &mut bytes;
        if from.try_get_u8() != Ok(VERSION) {
            return Err(Garbled);
        }
        let first = number(from)?;
        let low = number(from)?;
        let _at = number(from)?;
        let _state = run(from)?;
        let blocks = u32::try_from(number(from)?).map_err(|_| Garbled)?;
        let outline = Outline { first, blocks, low };
        if outline.is_sane() {
            Ok(outline)
        } else {
            Err(Garbled)
        }
    }

    /// Reads a record that is all of `bytes`. What it holds shares their memory.
    ///
    /// # Errors
    ///
    /// [`Garbled`], if they are none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Garbled> {
        let from = &mut bytes;
        if from.try_get_u8() != Ok(VERSION) {
            return Err(Garbled);
        }
        let first = number(from)?;
        let low = number(from)?;
        let at = number(from)?;
        let state = run(from)?;
        let count = number(from)?;
        // Positions must be numbers to the last, of which at least one byte each
        // follows: a count is not believed before that.
        if first == 0 || first.checked_add(count).is_none() || count > from.len() as u64 {
            return Err(Garbled);
        }
        let mut entries = Vec::with_capacity(usize::try_from(count).map_err(|_| Garbled)?);
        let mut end = 0u32;
        for _ in 0..count {
            let head = number(from)?;
            // No block is empty: it would lie where the next one does.
            let len = u32::try_from(head >> 1).map_err(|_| Garbled)?;
            if len == 0 {
                return Err(Garbled);
            }
            end = end.checked_add(len).ok_or(Garbled)?;
            let id = (head & 1 == 1).then(|| run(from)).transpose()?;
            entries.push(Entry { end, id });
        }
        let seams = seams(from)?;
        let blocks = run(from)?;
        if blocks.len() as u64 != u64::from(end) || !from.is_empty() {
            return Err(Garbled);
        }
        Ok(Self {
            batch: Batch {
                first,
                bytes: blocks,
                entries,
                seams,
            },
            state,
            at,
            low,
        })
    }
}

fn seams(from: &mut Bytes) -> Result<Vec<Seam>, Garbled> {
    let count = number(from)?;
    if count > from.len() as u64 {
        return Err(Garbled);
    }
    let seam = |_| {
        let after = number(from)?;
        let kind = match number(from)? {
            0 => SeamKind::Exact,
            1 => SeamKind::Gap { lost: None },
            2 => SeamKind::Gap {
                lost: Some(number(from)?),
            },
            3 => SeamKind::Snapshot,
            _ => return Err(Garbled),
        };
        Ok(Seam { after, kind })
    };
    (0..count).map(seam).collect()
}

fn put_kind(out: &mut BytesMut, kind: SeamKind) {
    match kind {
        SeamKind::Exact => put_number(out, 0),
        SeamKind::Gap { lost: None } => put_number(out, 1),
        SeamKind::Gap { lost: Some(lost) } => {
            put_number(out, 2);
            put_number(out, lost);
        }
        SeamKind::Snapshot => put_number(out, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
    }

    fn block() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 1..300)
    }

    fn kind() -> impl Strategy<Value = SeamKind> {
        prop_oneof![
            Just(SeamKind::Exact),
            Just(SeamKind::Snapshot),
            any::<Option<u64>>().prop_map(|lost| SeamKind::Gap { lost }),
        ]
    }

    prop_compose! {
        fn record()(
            first in 1u64..u64::MAX / 2,
            low in any::<u64>(),
            at in any::<u64>(),
            state in bytes(40),
            blocks in prop::collection::vec((block(), prop::option::of(bytes(9))), 0..6),
            seams in prop::collection::vec((any::<u64>(), kind()), 0..3),
        ) -> Record {
            let mut bytes = BytesMut::new();
            let mut entries = Vec::new();
            for (block, id) in blocks {
                bytes.extend_from_slice(&block);
                entries.push(Entry { end: u32::try_from(bytes.len()).unwrap(), id });
            }
            let seams = seams.into_iter().map(|(after, kind)| Seam { after, kind }).collect();
            let batch = Batch { first, bytes: bytes.freeze(), entries, seams };
            Record { batch, state, at, low }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_nothing_shorter_is(record in record()) {
            let mut written = BytesMut::new();
            record.encode(&mut written);
            let written = written.freeze();
            #[cfg(feature = "disk")]
            prop_assert_eq!(Record::read_outline(written.clone()), Ok(record.outline()));
            prop_assert_eq!(Record::decode(written.clone()), Ok(record));
            for len in 0..written.len() {
                prop_assert_eq!(Record::decode(written.slice(..len)), Err(Garbled));
            }
        }

        #[test]
        fn anything_else_is_refused_or_read_but_never_a_panic(
            mut noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(first) = noise.first_mut() {
                *first = VERSION;
            }
            let _ = Record::decode(Bytes::from(noise));
        }
    }
}
