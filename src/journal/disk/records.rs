use std::collections::VecDeque;

use super::segment::Place;
use crate::journal::record::Outline;

/// Where a stream's records are: an unbroken run of positions.
///
/// Twelve bytes each. A record's position is the sum of what lies before it.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order of positions, which but for moved records is that of
    /// segments.
    runs: VecDeque<Run>,
    /// Position of the first block of the first record.
    first: u64,
    /// The position after the last.
    next: u64,
}

#[derive(Debug)]
struct Run {
    segment: u32,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    at: u32,
    len: u32,
    blocks: u32,
}

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Position of the last block; 0 if there never was one.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// All of them, in order.
    pub(super) fn places(&self) -> impl DoubleEndedIterator<Item = Place> {
        self.runs
            .iter()
            .flat_map(|run| run.slots.iter().map(|slot| slot.place(run.segment)))
    }

    pub(super) fn newest(&self) -> Option<Place> {
        self.places().next_back()
    }

    /// Adds a record. One that does not follow on the last takes the place of
    /// whatever it contradicts: it was appended later.
    pub(super) fn append(&mut self, place: Place, record: Outline, dead: &mut impl FnMut(Place)) {
        if record.first > self.next || record.first < self.first {
            self.clear(dead);
        } else {
            self.cut(record.first.saturating_sub(1), dead);
        }
        if self.runs.is_empty() {
            self.first = record.first;
            self.next = record.first;
        }
        let slot = Slot::new(place, record.blocks);
        match self.runs.back_mut() {
            Some(run) if run.segment == place.segment => run.slots.push_back(slot),
            _ => self.runs.push_back(Run::new(place.segment, slot)),
        }
        self.next = record.first + u64::from(record.blocks);
    }

    /// Adds a record in front. False if it does not belong there.
    pub(super) fn prepend(&mut self, place: Place, record: Outline) -> bool {
        let next = record.first + u64::from(record.blocks);
        if self.runs.is_empty() {
            self.next = next;
        } else if next != self.first {
            return false;
        }
        self.first = record.first;
        self.push_front(Slot::new(place, record.blocks), place.segment);
        true
    }

    fn push_front(&mut self, slot: Slot, segment: u32) {
        match self.runs.front_mut() {
            Some(run) if run.segment == segment => run.slots.push_front(slot),
            _ => self.runs.push_front(Run::new(segment, slot)),
        }
    }

    /// Lets go of records that end before `low`. One that ends at `low` may
    /// tell of a seam there. The last record stays, for its state.
    pub(super) fn trim(&mut self, low: u64, dead: &mut impl FnMut(Place)) {
        while !self.is_single()
            && let Some(slot) = self.runs.front().and_then(|run| run.slots.front())
            && self.first + u64::from(slot.blocks) <= low
        {
            self.pop_front(dead);
        }
    }

    fn is_single(&self) -> bool {
        self.runs.len() == 1 && self.runs[0].slots.len() == 1
    }

    fn pop_front(&mut self, dead: &mut impl FnMut(Place)) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        if let Some(slot) = run.slots.pop_front() {
            self.first += u64::from(slot.blocks);
            dead(slot.place(run.segment));
        }
        if run.slots.is_empty() {
            self.runs.pop_front();
        } else if run.slots.capacity() > 4 * run.slots.len() + 16 {
            run.slots.shrink_to(2 * run.slots.len());
        }
    }

    /// Lets go of records with blocks after `last`.
    pub(super) fn cut(&mut self, last: u64, dead: &mut impl FnMut(Place)) {
        while self.next > last + 1 {
            if self.runs.is_empty() {
                return;
            }
            self.pop_back(dead);
        }
    }

    fn pop_back(&mut self, dead: &mut impl FnMut(Place)) {
        let Some(run) = self.runs.back_mut() else {
            return;
        };
        if let Some(slot) = run.slots.pop_back() {
            self.next -= u64::from(slot.blocks);
            dead(slot.place(run.segment));
        }
        if run.slots.is_empty() {
            self.runs.pop_back();
        }
    }

    /// Lets go of the record at `segment` and `from`, of what lies behind it
    /// there, and of all records after it. Returns the last block before.
    pub(super) fn lose(
        &mut self,
        segment: u32,
        from: u32,
        dead: &mut impl FnMut(Place),
    ) -> Option<u64> {
        let lost = |place: Place| place.segment == segment && place.at >= from;
        let keep = self.places().position(lost)?;
        while self.len() > keep {
            self.pop_back(dead);
        }
        Some(self.last())
    }

    pub(super) fn clear(&mut self, dead: &mut impl FnMut(Place)) {
        self.places().for_each(dead);
        self.runs.clear();
        self.first = self.next;
    }

    /// How many records, from the first on, there are up to the last one in
    /// this segment.
    pub(super) fn through(&self, segment: u32) -> usize {
        let Some(last) = self.runs.iter().rposition(|run| run.segment == segment) else {
            return 0;
        };
        self.runs
            .iter()
            .take(last + 1)
            .map(|run| run.slots.len())
            .sum()
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.slots.len()).sum()
    }

    /// Lets go of the first so many.
    pub(super) fn drop_front(&mut self, count: usize, dead: &mut impl FnMut(Place)) {
        for _ in 0..count {
            self.pop_front(dead);
        }
    }

    /// The first records lie elsewhere now: these, from the first on.
    pub(super) fn move_front(&mut self, to: &[Place], dead: &mut impl FnMut(Place)) {
        let first = self.first;
        let blocks: Vec<u32> = self
            .runs
            .iter()
            .flat_map(|run| run.slots.iter().map(|slot| slot.blocks))
            .take(to.len())
            .collect();
        self.drop_front(to.len(), dead);
        for (place, blocks) in to.iter().zip(blocks).rev() {
            self.push_front(Slot::new(*place, blocks), place.segment);
        }
        self.first = first;
    }
}

impl Run {
    fn new(segment: u32, slot: Slot) -> Self {
        Self {
            segment,
            slots: VecDeque::from([slot]),
        }
    }
}

impl Slot {
    fn new(place: Place, blocks: u32) -> Self {
        Self {
            at: place.at,
            len: place.len,
            blocks,
        }
    }

    fn place(self, segment: u32) -> Place {
        Place {
            segment,
            at: self.at,
            len: self.len,
        }
    }
}
