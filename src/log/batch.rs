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
}
