use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Batch;
use super::form::{Form, Held};

/// An open segment is sealed once it holds this much.
pub(super) const SEAL_AT: usize = 64 << 10;

/// This many pieces are merged into one as they gather, so that a reader in an
/// open segment needs few reads and a byte is copied at most twice more.
const MERGE: usize = 16;

/// Where readers share another form of the blocks, a unit of them ends with the
/// block that reaches a multiple of this. Large units make small forms; a reader
/// that begins in the middle of one makes a form of what is left for itself.
const UNIT: usize = 16 << 10;

/// Forms kept for one piece: of its units, and of rests of them for readers that
/// return to the same place.
const FORMS: usize = 16;

/// A run of consecutive blocks.
///
/// While open it is a list of pieces, one per batch, which live readers get
/// without a copy. Sealed, it is one contiguous `Bytes`.
#[derive(Debug)]
pub(crate) struct Segment {
    first: u64,
    /// End of each block, from the segment's start.
    ends: Vec<u32>,
    pieces: Vec<Piece>,
    /// How many pieces at the front are merged ones.
    merged: usize,
    sealed: bool,
}

#[derive(Debug)]
struct Piece {
    start: u32,
    bytes: Bytes,
    /// Other forms, if there are any: a pointer is what most streams pay.
    forms: Option<Box<Forms>>,
}

#[derive(Debug, Default)]
struct Forms(Vec<Kept>);

/// A form of the blocks in a range, which counts from the segment's start.
#[derive(Debug)]
struct Kept {
    start: usize,
    end: usize,
    form: Arc<Form>,
}

impl Piece {
    fn new(start: u32, bytes: Bytes) -> Self {
        Self {
            start,
            bytes,
            forms: None,
        }
    }

    fn end(&self) -> usize {
        self.start as usize + self.bytes.len()
    }

    /// The form of a range, kept for others; `None` if there is no room for it.
    fn form(&mut self, start: usize, end: usize, held: &Held) -> Option<Arc<Form>> {
        let Forms(forms) = &mut **self.forms.get_or_insert_default();
        let known = forms.iter().find(|k| (k.start, k.end) == (start, end));
        if let Some(known) = known {
            return Some(Arc::clone(&known.form));
        }
        if forms.len() >= FORMS {
            return None;
        }
        let form = Arc::new(Form::new(Arc::clone(held)));
        forms.push(Kept {
            start,
            end,
            form: Arc::clone(&form),
        });
        Some(form)
    }
}

impl Segment {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            ends: Vec::new(),
            pieces: Vec::new(),
            merged: 0,
            sealed: false,
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The position after the last block.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    fn len(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Whether the batch belongs here or in a new segment.
    pub(crate) fn has_room_for(&self, batch: &Batch) -> bool {
        !self.sealed && (self.ends.is_empty() || self.len() + batch.bytes.len() <= 2 * SEAL_AT)
    }

    pub(crate) fn append(&mut self, batch: &Batch) {
        let start = self.len();
        let base = u32::try_from(start).unwrap_or(u32::MAX);
        self.ends
            .extend(batch.entries.iter().map(|entry| base + entry.end));
        self.pieces.push(Piece::new(base, batch.bytes.clone()));
        if self.len() >= SEAL_AT {
            self.merge_from(0);
            self.ends.shrink_to_fit();
            self.pieces.shrink_to_fit();
            self.sealed = true;
        } else if self.pieces.len() - self.merged >= MERGE {
            self.merge_from(self.merged);
            self.merged += 1;
        }
    }

    fn merge_from(&mut self, from: usize) {
        let run = &self.pieces[from..];
        if run.len() < 2 {
            return;
        }
        let mut joined = BytesMut::with_capacity(run.iter().map(|piece| piece.bytes.len()).sum());
        for piece in run {
            joined.extend_from_slice(&piece.bytes);
        }
        let start = run[0].start;
        self.pieces.truncate(from);
        self.pieces.push(Piece::new(start, joined.freeze()));
    }

    /// Lets go of pieces with nothing from `seq` on, which must be in this
    /// segment. Without this, a trickle of events would hold a whole segment
    /// for the few of them that are retained.
    pub(crate) fn forget_before(&mut self, seq: u64) {
        if self.pieces.len() < 2 {
            return;
        }
        let start = self.start_of(self.index(seq));
        let gone = self
            .pieces
            .partition_point(|piece| piece.start as usize + piece.bytes.len() <= start);
        if gone > 0 {
            self.pieces.drain(..gone);
            self.merged = self.merged.saturating_sub(gone);
        }
    }

    /// Bytes in memory, those of trimmed blocks included.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// Which piece has the byte at `start`: the last, for whoever keeps up.
    #[inline]
    fn piece_at(&self, start: usize) -> usize {
        let last = self.pieces.len() - 1;
        if self.pieces[last].start as usize <= start {
            return last;
        }
        let after = |piece: &Piece| piece.start as usize <= start;
        self.pieces.partition_point(after) - 1
    }

    #[inline]
    fn start_of(&self, index: usize) -> usize {
        if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        }
    }

    /// Encoded size of the block at `seq`, which must be in this segment.
    pub(crate) fn size_of(&self, seq: u64) -> usize {
        let index = self.index(seq);
        self.ends[index] as usize - self.start_of(index)
    }

    fn index(&self, seq: u64) -> usize {
        debug_assert!(seq >= self.first && seq < self.next());
        usize::try_from(seq - self.first).unwrap_or(usize::MAX)
    }

    /// Whole blocks from `seq` on that lie contiguous, up to about `max` bytes
    /// but one at least and none after `until`, and the position of the last of
    /// them.
    // Called for every chunk of every client.
    #[inline]
    pub(crate) fn read(&self, seq: u64, max: usize, until: u64) -> (Bytes, u64) {
        let index = self.index(seq);
        let start = self.start_of(index);
        let piece = &self.pieces[self.piece_at(start)];
        let piece_start = piece.start as usize;
        let piece_end = piece.end();

        let limit = piece_end.min(start.saturating_add(max));
        let ends = &self.ends[index..];
        let fitting = match ends.last() {
            Some(end) if *end as usize <= limit => ends.len(),
            _ => ends.partition_point(|end| *end as usize <= limit),
        };
        let wanted = usize::try_from(until.saturating_sub(seq)).unwrap_or(usize::MAX);
        let last = index + (fitting.max(1) - 1).min(wanted);
        let end = self.ends[last] as usize;
        (
            piece.bytes.slice(start - piece_start..end - piece_start),
            self.first + last as u64,
        )
    }

    /// Whole blocks from `seq` on to the end of their unit, but none after
    /// `until`, and the position of the last of them: the same for every reader
    /// that comes by. With `held`, a place for another form of them as well, if
    /// there is one.
    pub(crate) fn read_unit(
        &mut self,
        seq: u64,
        until: u64,
        held: Option<&Held>,
    ) -> (Bytes, u64, Option<Arc<Form>>) {
        let index = self.index(seq);
        let start = self.start_of(index);
        let at = self.piece_at(start);
        let piece_end = self.pieces[at].end();

        let unit_end = (start / UNIT + 1) * UNIT;
        let ends = &self.ends[index..];
        let within = ends.partition_point(|end| (*end as usize) < unit_end);
        let fitting = ends.partition_point(|end| *end as usize <= piece_end);
        let wanted = usize::try_from(until.saturating_sub(seq)).unwrap_or(usize::MAX);
        let last = index + within.min(fitting.saturating_sub(1)).min(wanted);
        let end = self.ends[last] as usize;

        let piece = &mut self.pieces[at];
        let from = piece.start as usize;
        let bytes = piece.bytes.slice(start - from..end - from);
        let form = held.and_then(|held| piece.form(start, end, held));
        (bytes, self.first + last as u64, form)
    }
}
