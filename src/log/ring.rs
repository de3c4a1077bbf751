use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::form::{Form, Held};
use super::index::Index;
use super::segment::Segment;
use super::{Batch, Entry, Limits, Seam, SeamKind};

/// The retained blocks of one stream, by dense position.
///
/// Pure: no lock, no clock, no waker. See [`Log`](super::Log) for the shared
/// form.
#[derive(Debug)]
pub struct Ring {
    limits: Limits,
    segments: VecDeque<Segment>,
    /// Position of the oldest retained block (or of the next one, if empty).
    oldest: u64,
    /// Position the next block will get.
    next: u64,
    bytes: usize,
    /// Publication times: blocks up to `.0` were published at `.1` at the
    /// latest. Oldest first.
    stamps: VecDeque<(u64, Instant)>,
    ids: Index,
    seams: VecDeque<Seam>,
    /// What other forms of blocks take, once there were any.
    held: Option<Held>,
}

/// Contiguous blocks, as they go to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole encoded blocks.
    pub bytes: Bytes,
    /// Position of the last of them.
    pub last: u64,
    /// A place for another form of them: only for readers
    /// [by unit](super::Reader::by_unit), and where others may need it too.
    pub form: Option<Arc<Form>>,
}

impl Ring {
    /// An empty ring. Positions start at 1.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            segments: VecDeque::new(),
            oldest: 1,
            next: 1,
            bytes: 0,
            stamps: VecDeque::new(),
            ids: Index::default(),
            seams: VecDeque::new(),
            held: None,
        }
    }

    /// Begins at a later position than 1, before anything was appended: what
    /// lies before it was trimmed already.
    pub fn begin_after(&mut self, low: u64) {
        debug_assert_eq!(self.next, 1);
        self.oldest = low + 1;
        self.next = low + 1;
    }

    /// The position before the oldest retained block: the oldest cursor from
    /// which reading on is complete.
    pub fn low(&self) -> u64 {
        self.oldest - 1
    }

    /// The position of the newest block, 0 before the first.
    pub fn high(&self) -> u64 {
        self.next - 1
    }

    /// Retained blocks.
    pub fn events(&self) -> u64 {
        self.next - self.oldest
    }

    /// Retained bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that other forms of retained blocks take.
    pub fn form_bytes(&self) -> usize {
        let held = self.held.as_ref();
        held.map_or(0, |held| held.load(Ordering::Relaxed))
    }

    /// Appends a batch, whose first position must be the next one.
    pub fn append(&mut self, batch: &Batch, now: Instant) {
        debug_assert_eq!(batch.first, self.next);
        for seam in &batch.seams {
            // An upstream that restates the same again and again adds nothing.
            if self.seams.back() != Some(seam) {
                self.seams.push_back(*seam);
            }
        }
        if batch.entries.is_empty() {
            return;
        }
        let fits = self.segments.back().is_some_and(|s| s.has_room_for(batch));
        if !fits {
            self.segments.push_back(Segment::new(self.next));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.append(batch);
        }
        for (seq, entry) in (self.next..).zip(&batch.entries) {
            if let Some(id) = &entry.id {
                self.ids.insert(id, seq);
            }
        }
        self.next += batch.entries.len() as u64;
        self.bytes += batch.bytes.len();
        self.stamp(now);
    }

    fn stamp(&mut self, now: Instant) {
        let last = self.next - 1;
        let grain = self.limits.age / 256;
        // The stamp before the last one fixes when the shared stamp began.
        let since = match self.stamps.len() {
            0 | 1 => None,
            n => Some(self.stamps[n - 2].1),
        };
        match (self.stamps.back_mut(), since) {
            (Some(stamp), Some(since)) if now.duration_since(since) < grain => *stamp = (last, now),
            _ => self.stamps.push_back((last, now)),
        }
    }

    /// Remembers the id an upstream connection was opened with: whoever names
    /// it has seen nothing of this log yet.
    pub fn index_base(&mut self, id: &Bytes) {
        self.ids.insert(id, self.high());
    }

    /// Trims to the limits, but nothing after the position `floor`.
    pub fn trim(&mut self, now: Instant, floor: u64) {
        self.trim_aged(now, floor);
        self.trim_to_limits(floor);
    }

    /// Trims to the limits on events and bytes, but nothing after `floor`.
    pub fn trim_to_limits(&mut self, floor: u64) {
        while self.is_over() && self.oldest <= floor {
            self.drop_oldest();
        }
        self.forget_trimmed();
    }

    /// Whether more is retained than the limits on events and bytes allow. One
    /// block alone is always allowed.
    pub fn is_over(&self) -> bool {
        self.events() > 1
            && (self.events() > self.limits.events as u64 || self.bytes > self.limits.bytes)
    }

    fn trim_aged(&mut self, now: Instant, floor: u64) {
        while let Some((last, at)) = self.stamps.front().copied() {
            if last >= self.oldest && now.duration_since(at) <= self.limits.age {
                break;
            }
            while self.oldest <= last && self.oldest <= floor {
                self.drop_oldest();
            }
            if self.oldest <= last {
                break;
            }
            self.stamps.pop_front();
        }
    }

    /// Trims, oldest first, until no more than `bytes` are retained.
    pub fn trim_to_bytes(&mut self, bytes: usize) {
        while self.bytes > bytes && self.oldest < self.next {
            self.drop_oldest();
        }
        self.forget_trimmed();
    }

    /// Trims what lies up to a position.
    pub fn trim_up_to(&mut self, low: u64) {
        while self.oldest <= low && self.oldest < self.next {
            self.drop_oldest();
        }
        self.forget_trimmed();
    }

    fn drop_oldest(&mut self) {
        let Some(segment) = self.segments.front() else {
            return;
        };
        self.bytes -= segment.size_of(self.oldest);
        self.oldest += 1;
        if segment.next() <= self.oldest {
            self.segments.pop_front();
        }
    }

    fn forget_trimmed(&mut self) {
        let low = self.low();
        if let Some(segment) = self.segments.front_mut() {
            segment.forget_before(self.oldest);
        }
        self.ids.trim(low);
        while self.seams.front().is_some_and(|seam| seam.after < low) {
            self.seams.pop_front();
        }
    }

    /// When the oldest block will be too old, if ever.
    pub fn next_expiry(&self) -> Option<Instant> {
        let (_, at) = self.stamps.front()?;
        // The smallest step past the limit, so that trimming then has an effect.
        at.checked_add(self.limits.age)?
            .checked_add(Duration::from_millis(1))
    }

    /// What follows the cursor `after`: contiguous blocks of about `max` bytes,
    /// at least one, and none beyond the next gap. `None` if nothing follows, or
    /// if what did is trimmed.
    pub fn read(&self, after: u64, max: usize) -> Option<Chunk> {
        let seq = after.checked_add(1)?;
        if seq < self.oldest || seq >= self.next {
            return None;
        }
        // The last, for whoever keeps up.
        let newest = self.segments.back().filter(|s| s.first() <= seq);
        let segment = newest.or_else(|| {
            let at = self.segments.partition_point(|s| s.first() <= seq);
            self.segments.get(at.checked_sub(1)?)
        })?;
        let (bytes, last) = segment.read(seq, max, self.next_gap(seq));
        Some(Chunk {
            bytes,
            last,
            form: None,
        })
    }

    /// The same by units, which end in the same places for whoever reads; with
    /// `keep`, a place for another form of the unit as well.
    // Out of the way of those who read otherwise.
    #[inline(never)]
    pub fn read_unit(&mut self, after: u64, keep: bool) -> Option<Chunk> {
        let seq = after.checked_add(1)?;
        if seq < self.oldest || seq >= self.next {
            return None;
        }
        let until = self.next_gap(seq);
        let at = self.segments.partition_point(|s| s.first() <= seq);
        let segment = self.segments.get_mut(at.checked_sub(1)?)?;
        let held = keep.then(|| &*self.held.get_or_insert_default());
        let (bytes, last, form) = segment.read_unit(seq, until, held);
        Some(Chunk { bytes, last, form })
    }

    /// What follows the cursor `after`, as it was appended: about `max` bytes,
    /// at least one block. Ids that occurred before are left out.
    pub fn batch(&self, after: u64, max: usize) -> Option<Batch> {
        let first = after.checked_add(1).filter(|seq| *seq >= self.oldest)?;
        let at = self.segments.partition_point(|s| s.first() <= first);
        let segment = self.segments.get(at.checked_sub(1)?)?;
        if first >= self.next {
            return None;
        }
        let (bytes, last) = segment.read(first, max, u64::MAX);
        let mut end = 0;
        let entry = |seq| {
            end += u32::try_from(segment.size_of(seq)).unwrap_or(u32::MAX);
            let id = self.ids.at(seq).cloned();
            Entry { end, id }
        };
        let entries = (first..=last).map(entry).collect();
        // Those at its end belong to what comes next, unless nothing does.
        let here = |seam: &&Seam| seam.after >= after && (seam.after < last || last == self.high());
        Some(Batch {
            first,
            bytes,
            entries,
            seams: self.seams.iter().filter(here).copied().collect(),
        })
    }

    /// The last position up to this one to which the upstream gave an id, and
    /// that id, as far as they are indexed.
    pub fn identified(&self, seq: u64) -> Option<&(u64, Bytes)> {
        self.ids.last(seq)
    }

    /// One retained block.
    pub fn block(&self, seq: u64) -> Option<Bytes> {
        self.read(seq.checked_sub(1)?, 0).map(|chunk| chunk.bytes)
    }

    /// The position of the block to which the upstream gave this id.
    pub fn find(&self, id: &[u8]) -> Option<u64> {
        self.ids.find(id)
    }

    /// The last block before the next gap, of those from `seq` on.
    fn next_gap(&self, seq: u64) -> u64 {
        let from = self.seams.partition_point(|seam| seam.after < seq);
        let gap = |seam: &&Seam| matches!(seam.kind, SeamKind::Gap { .. });
        self.seams
            .range(from..)
            .find(gap)
            .map_or(u64::MAX, |seam| seam.after)
    }

    /// The gap right after the block at `seq`, if there is one: how many blocks
    /// are lost, where that is known.
    pub fn gap_at(&self, seq: u64) -> Option<Option<u64>> {
        if self.seams.back().is_none_or(|seam| seam.after < seq) {
            return None;
        }
        let from = self.seams.partition_point(|seam| seam.after < seq);
        let here = self.seams.range(from..).take_while(|s| s.after == seq);
        here.filter_map(|seam| match seam.kind {
            SeamKind::Gap { lost } => Some(lost),
            _ => None,
        })
        .last()
    }

    /// Whether a reader that goes on from `after` crosses a gap.
    pub fn gap_after(&self, after: u64) -> bool {
        self.seams
            .iter()
            .any(|seam| seam.after >= after && matches!(seam.kind, SeamKind::Gap { .. }))
    }

    /// The cursor just before the last retained snapshot, if there is one.
    pub fn snapshot(&self) -> Option<u64> {
        self.seams
            .iter()
            .rev()
            .find(|seam| seam.kind == SeamKind::Snapshot)
            .map(|seam| seam.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(ring: &mut Ring, len: usize) {
        let batch = Batch {
            first: ring.next,
            bytes: vec![b'x'; len].into(),
            entries: vec![Entry {
                end: u32::try_from(len).unwrap(),
                id: None,
            }],
            seams: Vec::new(),
        };
        let now = Instant::now();
        ring.append(&batch, now);
        ring.trim(now, u64::MAX);
    }

    #[test]
    fn a_trickle_holds_little_more_than_is_retained() {
        let mut ring = Ring::new(Limits {
            events: 5,
            ..Limits::NONE
        });
        for _ in 0..3000 {
            append(&mut ring, 100);
            let held: usize = ring.segments.iter().map(Segment::held).sum();
            // One merged piece more, of which only the last block is retained.
            assert!(held <= ring.bytes() + 15 * 100, "{held}");
        }
    }

    #[test]
    fn what_is_taken_out_makes_the_same_ring_again() {
        let mut ring = Ring::new(Limits::NONE);
        let now = Instant::now();
        for round in 0..2000u64 {
            let id = (round % 3 == 0).then(|| Bytes::from(round.to_string()));
            let kind = SeamKind::Gap { lost: Some(round) };
            let after = ring.high();
            let batch = Batch {
                first: ring.next,
                bytes: vec![b'x'; 100].into(),
                entries: vec![Entry { end: 60, id }, Entry { end: 100, id: None }],
                seams: (round % 7 == 0)
                    .then_some(Seam { after, kind })
                    .into_iter()
                    .collect(),
            };
            ring.append(&batch, now);
        }
        ring.trim_to_bytes(150_000);
        let mut again = Ring::new(Limits::NONE);
        again.begin_after(ring.low());
        while let Some(batch) = ring.batch(again.high(), 5000) {
            again.append(&batch, now);
        }
        assert_eq!((again.low(), again.high()), (ring.low(), ring.high()));
        assert_eq!(again.seams, ring.seams);
        for seq in ring.oldest..ring.next {
            assert_eq!(again.block(seq), ring.block(seq));
            assert_eq!(again.ids.at(seq), ring.ids.at(seq));
        }
    }

    #[test]
    fn a_batch_can_be_begun_in_its_middle() {
        let seam = |after| Seam {
            after,
            kind: SeamKind::Exact,
        };
        let entry = |end| Entry { end, id: None };
        let batch = Batch {
            first: 5,
            bytes: Bytes::from_static(b"aabbbc"),
            entries: vec![entry(2), entry(5), entry(6)],
            seams: vec![seam(4), seam(6)],
        };
        assert_eq!(batch.clone().after(4), batch);
        let rest = batch.clone().after(5);
        assert_eq!((rest.first, &rest.bytes[..]), (6, &b"bbbc"[..]));
        assert_eq!(rest.entries, [entry(3), entry(4)]);
        assert_eq!(rest.seams, [seam(6)]);
        let none = batch.after(7);
        assert_eq!((none.first, none.entries.len()), (8, 0));
        assert!(none.bytes.is_empty());
    }
}
