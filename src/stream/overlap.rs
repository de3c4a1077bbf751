//! What lies at a seam: nothing, a repetition, or a hole.
//!
//! When an upstream is connected to again, its first blocks decide what is
//! known of the time between. This is the one place where loss is judged.

use crate::log::{Ring, SeamKind};
use crate::stream::policy::UpstreamResume;
use crate::wire::{Block, IdField, same_payload};

/// Judges the first blocks of a new upstream connection.
#[derive(Debug)]
pub(crate) struct Overlap {
    /// The last block to which the upstream gave an id.
    last_id: Option<u64>,
    /// The last block that the new connection repeated.
    matched: Option<u64>,
    /// Whether the new connection was asked for what follows an id.
    asked: bool,
}

/// What a block of a new connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In the log already.
    Repeat,
    /// A repetition of the last block, and by declaration the beginning of a
    /// snapshot.
    Restated,
    /// New, and this is the seam before it.
    Fresh(SeamKind),
}

impl Overlap {
    pub(crate) fn new(last_id: Option<u64>, asked: bool) -> Self {
        Self {
            last_id,
            matched: None,
            asked,
        }
    }

    pub(crate) fn judge(
        &mut self,
        block: &Block,
        ring: &Ring,
        resume: UpstreamResume,
        dense: &Dense,
    ) -> Verdict {
        // A snapshot is kept whole, whatever of it was there before.
        if resume == UpstreamResume::Snapshot {
            return if restates_last(block, ring) {
                Verdict::Restated
            } else {
                Verdict::Fresh(SeamKind::Snapshot)
            };
        }
        if let Some(seq) = self.repeated(block, ring) {
            self.matched = Some(seq);
            return Verdict::Repeat;
        }
        Verdict::Fresh(self.seam(block, resume, dense))
    }

    /// The same id *and* the same bytes, further on than the last repetition.
    fn repeated(&self, block: &Block, ring: &Ring) -> Option<u64> {
        let IdField::Set(id) = &block.id else {
            return None;
        };
        let seq = ring.find(id)?;
        let further = self.matched.is_none_or(|matched| seq > matched);
        let same = || ring.block(seq).is_some_and(|old| same_payload(&old, block));
        (further && same()).then_some(seq)
    }

    fn seam(&self, block: &Block, resume: UpstreamResume, dense: &Dense) -> SeamKind {
        // What the new connection repeated reaches up to what we had.
        if self.matched.is_some() && self.matched >= self.last_id {
            return SeamKind::Exact;
        }
        if let Some(lost) = dense.missing_before(&block.id) {
            return match lost {
                0 => SeamKind::Exact,
                lost => SeamKind::Gap { lost: Some(lost) },
            };
        }
        if resume == UpstreamResume::LastEventId && self.asked {
            return SeamKind::Exact;
        }
        SeamKind::Gap { lost: None }
    }
}

fn restates_last(block: &Block, ring: &Ring) -> bool {
    let last = ring.high();
    let same_id = match &block.id {
        IdField::Absent => true,
        IdField::Reset => false,
        IdField::Set(id) => ring.find(id) == Some(last),
    };
    same_id
        && ring
            .block(last)
            .is_some_and(|last| same_payload(&last, block))
}

/// Whether the upstream numbers its events without holes.
///
/// It is taken to while every event so far had an integer id one greater than
/// the last, over at least three events.
#[derive(Debug, Default)]
pub(crate) struct Dense {
    last: Option<u64>,
    steps: u64,
    broken: bool,
}

impl Dense {
    const STEPS: u64 = 2;

    pub(crate) fn observe(&mut self, id: &IdField) {
        let number = number(id);
        match (self.last, number) {
            (_, None) => self.broken = true,
            (Some(last), Some(next)) if last.checked_add(1) != Some(next) => self.broken = true,
            (Some(_), Some(_)) => self.steps += 1,
            (None, Some(_)) => {}
        }
        self.last = number;
    }

    /// A gap that was found and reported does not make the numbering less
    /// dense, nor more: go on from the first id after it.
    pub(crate) fn jump(&mut self) {
        self.last = None;
    }

    /// How many events lie between the last one and the one with this id.
    fn missing_before(&self, id: &IdField) -> Option<u64> {
        if self.broken || self.steps < Self::STEPS {
            return None;
        }
        number(id)?.checked_sub(self.last?)?.checked_sub(1)
    }
}

fn number(id: &IdField) -> Option<u64> {
    let IdField::Set(id) = id else { return None };
    // `u64::from_str` would also take a plus sign.
    if !id.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(id).ok()?.parse().ok()
}
