use std::collections::VecDeque;

use super::segment::Place;
use crate::journal::record::Outline;

/// Where a stream's records are: an unbroken run of positions.
///
/// Twelve bytes each. Positions are the sum of what lies before.
///
/// Beside its position each record has an *ordinal*, which is written with it:
/// one more than that of the record before it. So a missing record shows, also
/// one without blocks, and it does not matter in which order they are found.
#[derive(Debug, Default)]
pub(super) struct Records {
    runs: VecDeque<Run>,
    /// How many there are.
    count: u64,
    /// The ordinal of the first.
    ordinal: u64,
    /// Position of the first block of the first.
    first: u64,
    /// The position after the last.
    next: u64,
    /// Blocks up to this one are not needed.
    low: u64,
}

/// Consecutive records in one segment.
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
    /// Position of the last block; 0 if there never was one.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// All of them, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.runs
            .iter()
            .flat_map(|run| run.slots.iter().map(|slot| slot.place(run.segment)))
    }

    /// Those in a segment, with their ordinals.
    pub(super) fn places_in(&self, segment: u32) -> Vec<(u64, Place)> {
        let ordinals = self.ordinal..;
        let all = ordinals.zip(self.places());
        all.filter(|(_, place)| place.segment == segment).collect()
    }

    fn next_ordinal(&self) -> u64 {
        self.ordinal + self.count
    }

    /// The ordinal for a record that begins at `first`. It takes the place of
    /// those that it contradicts. If it cannot follow on any, an ordinal is left
    /// out, so that it is never joined to what was before.
    pub(super) fn ordinal_at(&self, first: u64) -> u64 {
        let (mut next, mut ordinal) = (self.next, self.next_ordinal());
        for slot in self
            .runs
            .iter()
            .rev()
            .flat_map(|run| run.slots.iter().rev())
        {
            if next <= first {
                break;
            }
            next -= u64::from(slot.blocks);
            ordinal -= 1;
        }
        if next == first {
            ordinal
        } else {
            self.next_ordinal() + 1
        }
    }

    /// Adds a record, in place of all with its ordinal or a later one.
    pub(super) fn append(
        &mut self,
        place: Place,
        record: Outline,
        ordinal: u64,
        dead: &mut impl FnMut(Place),
    ) {
        while self.count > 0 && self.next_ordinal() > ordinal {
            self.pop_back(dead);
        }
        if self.next_ordinal() != ordinal || self.next != record.first {
            self.clear(dead);
        }
        if self.count == 0 {
            self.first = record.first;
            self.next = record.first;
            self.ordinal = ordinal;
        }
        let slot = Slot::new(place, record.blocks);
        match self.runs.back_mut() {
            Some(run) if run.segment == place.segment => run.slots.push_back(slot),
            _ => self.runs.push_back(Run::new(place.segment, slot)),
        }
        self.count += 1;
        self.next = record.first + u64::from(record.blocks);
        // Positions that begin anew are not bound by those before.
        self.low = self.low.min(record.low);
    }

    /// Adds a record in front. False if it does not belong there, or is not
    /// needed.
    pub(super) fn prepend(&mut self, place: Place, record: Outline, ordinal: u64) -> bool {
        let next = record.first + u64::from(record.blocks);
        if self.count == 0 {
            self.next = next;
        } else if ordinal + 1 != self.ordinal || next != self.first || next <= self.low {
            return false;
        }
        self.first = record.first;
        self.ordinal = ordinal;
        self.count += 1;
        let slot = Slot::new(place, record.blocks);
        match self.runs.front_mut() {
            Some(run) if run.segment == place.segment => run.slots.push_front(slot),
            _ => self.runs.push_front(Run::new(place.segment, slot)),
        }
        true
    }

    /// Lets go of records that end before `low`. One that ends at `low` may
    /// tell of a seam there. The last record stays, for its state.
    pub(super) fn trim(&mut self, low: u64, dead: &mut impl FnMut(Place)) {
        self.low = self.low.max(low);
        while self.count > 1
            && let Some(slot) = self.runs.front().and_then(|run| run.slots.front())
            && self.first + u64::from(slot.blocks) <= low
        {
            self.pop_front(dead);
        }
    }

    /// Lets go of records with blocks after `last`.
    pub(super) fn cut(&mut self, last: u64, dead: &mut impl FnMut(Place)) {
        while self.count > 0 && self.last() > last {
            self.pop_back(dead);
        }
    }

    /// Lets go of the first record that lies in `segment` at `from` or behind,
    /// and of all after it. True if there is one.
    pub(super) fn lose(&mut self, segment: u32, from: u32, dead: &mut impl FnMut(Place)) -> bool {
        let lost = |place: Place| place.segment == segment && place.at >= from;
        let Some(keep) = self.places().position(lost) else {
            return false;
        };
        while self.count > keep as u64 {
            self.pop_back(dead);
        }
        true
    }

    /// Lets go of all that lie in a segment, and of those before them, but not
    /// of the last record of all.
    pub(super) fn drop_through(&mut self, segment: u32, dead: &mut impl FnMut(Place)) {
        let here = |run: &Run| run.segment == segment;
        while self.count > 1 && self.runs.iter().any(here) {
            self.pop_front(dead);
        }
    }

    /// Lets go of all up to this ordinal.
    pub(super) fn drop_to(&mut self, ordinal: u64, dead: &mut impl FnMut(Place)) {
        while self.count > 0 && self.ordinal <= ordinal {
            self.pop_front(dead);
        }
    }

    pub(super) fn clear(&mut self, dead: &mut impl FnMut(Place)) {
        self.drop_to(u64::MAX, dead);
    }

    /// Those in a segment, in order, are here now.
    pub(super) fn replace(&mut self, segment: u32, to: &[Place]) {
        let mut to = to.iter();
        for run in std::mem::take(&mut self.runs) {
            if run.segment != segment {
                self.runs.push_back(run);
                continue;
            }
            for (slot, place) in run.slots.iter().zip(&mut to) {
                let slot = Slot::new(*place, slot.blocks);
                match self.runs.back_mut() {
                    Some(run) if run.segment == place.segment => run.slots.push_back(slot),
                    _ => self.runs.push_back(Run::new(place.segment, slot)),
                }
            }
        }
    }

    fn pop_front(&mut self, dead: &mut impl FnMut(Place)) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        if let Some(slot) = run.slots.pop_front() {
            self.first += u64::from(slot.blocks);
            self.ordinal += 1;
            self.count -= 1;
            dead(slot.place(run.segment));
        }
        if run.slots.is_empty() {
            self.runs.pop_front();
        } else if run.slots.capacity() > 4 * run.slots.len() + 16 {
            run.slots.shrink_to(2 * run.slots.len());
        }
    }

    fn pop_back(&mut self, dead: &mut impl FnMut(Place)) {
        let Some(run) = self.runs.back_mut() else {
            return;
        };
        if let Some(slot) = run.slots.pop_back() {
            self.next -= u64::from(slot.blocks);
            self.count -= 1;
            dead(slot.place(run.segment));
        }
        if run.slots.is_empty() {
            self.runs.pop_back();
        }
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
