use bytes::Bytes;

use super::Seam;

/// What is journaled and published at once: encoded blocks with consecutive
/// positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Position of the first block.
    pub first: u64,
    /// The blocks, back to back.
    pub bytes: Bytes,
    /// One entry for each block, in order.
    pub entries: Vec<Entry>,
    /// Seams within the batch, in order.
    pub seams: Vec<Seam>,
}

/// One block of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it ends in [`Batch::bytes`].
    pub end: u32,
    /// The upstream's id, if it gave this block one.
    pub id: Option<Bytes>,
}

impl Batch {
    /// Position of the last block; `first - 1` if there is none.
    pub fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    /// What of it lies after a position within it.
    pub fn after(mut self, seq: u64) -> Self {
        let skipped = usize::try_from((seq + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        let skipped = skipped.min(self.entries.len());
        let Some(start) = skipped.checked_sub(1).map(|last| self.entries[last].end) else {
            return self;
        };
        self.entries.drain(..skipped);
        for entry in &mut self.entries {
            entry.end -= start;
        }
        self.bytes = self.bytes.slice(start as usize..);
        self.first += skipped as u64;
        self.seams.retain(|seam| seam.after >= seq);
        self
    }
}
