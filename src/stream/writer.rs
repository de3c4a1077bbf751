//! From decoded blocks to batches: positions, ids, seams, encoding.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use super::gap::{Announced, gap_data};
use super::id::{Epoch, IdWriter, MAX_CURSOR, is_header_safe};
use super::overlap::{Dense, Overlap, Verdict};
use super::policy::{Ids, UpstreamResume};
use super::saved::Saved;
use crate::log::{Batch, Entry, Log, Seam, SeamKind};
use crate::wire::{Block, IdField, Trailer, encode_block, encode_event};

/// What a writer is told once.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// `Auto` is decided by the first event with a payload.
    pub(crate) ids: Ids,
    pub(crate) resume: UpstreamResume,
    pub(crate) gap_event: Option<String>,
    /// The route sets `retry:` itself: the upstream's is not passed on.
    pub(crate) strip_retry: bool,
    /// Upstream ids are looked up: by clients, or to tell repetitions.
    pub(crate) indexed: bool,
}

/// Gathers blocks into the next batch.
#[derive(Debug)]
pub(crate) struct Writer {
    rules: Rules,
    ids: IdWriter,
    /// What is encoded but not taken yet. Taken batches share its memory.
    arena: BytesMut,
    entries: Vec<Entry>,
    seams: Vec<Seam>,
    /// Ids within the batch, which the log cannot know yet.
    fresh: HashSet<Bytes>,
    /// Position of the next block.
    next: u64,
    /// The id the upstream would be asked to go on from.
    last_id: Option<Bytes>,
    /// The last block with an id of the upstream's.
    last_id_seq: Option<u64>,
    /// An id that came without a payload, for the next block without an id.
    pending_id: Option<IdField>,
    pending_retry: Option<u64>,
    /// There was an upstream connection already.
    connected: bool,
    overlap: Option<Overlap>,
    dense: Dense,
    /// The upstream itself told of a gap before its next block.
    announced: Option<Announced>,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is in the next batch, after this seam if there was one.
    Appended(Option<SeamKind>),
    /// The log has it already.
    Repeated,
    /// It had no payload; what it said is kept for the next one.
    Noted,
}

impl Writer {
    pub(crate) fn new(epoch: Epoch, rules: Rules, opened_with: Option<Bytes>) -> Self {
        let mut ids = IdWriter::new(epoch);
        ids.carry(opened_with.as_deref());
        Self {
            rules,
            ids,
            arena: BytesMut::new(),
            entries: Vec::new(),
            seams: Vec::new(),
            fresh: HashSet::new(),
            next: 1,
            last_id: opened_with,
            last_id_seq: None,
            pending_id: None,
            pending_retry: None,
            connected: false,
            overlap: None,
            dense: Dense::default(),
            announced: None,
        }
    }

    /// Goes on where another writer of the same log left off. The first seam is
    /// judged as if this one's connection had been lost.
    pub(crate) fn resumed(rules: Rules, saved: &Saved, log: &Log) -> Self {
        let mut writer = Self::new(saved.epochs.current(), rules, saved.last_id.clone());
        if saved.ids != Ids::Auto {
            writer.rules.ids = saved.ids;
        }
        let (high, last_id) = log.with(|ring| {
            let high = ring.high();
            (high, ring.identified(high).map(|(seq, _)| *seq))
        });
        writer.next = high + 1;
        writer.last_id_seq = last_id;
        writer.connected = true;
        writer
    }

    /// Who decides the ids, as far as that is decided.
    pub(crate) fn ids(&self) -> Ids {
        self.rules.ids
    }

    /// Everything not taken yet, and what follows, is of another epoch.
    pub(crate) fn change_epoch(&mut self, from: Epoch, to: Epoch) {
        self.ids = IdWriter::new(to);
        self.ids.carry(self.last_id.as_deref());
        restamp(&mut self.arena, &self.entries, from, to);
    }

    /// The id to ask the upstream to go on from.
    pub(crate) fn last_id(&self) -> Option<&Bytes> {
        self.last_id.as_ref()
    }

    /// An upstream connection begins; `asked` says whether for what follows
    /// [`last_id`](Self::last_id).
    pub(crate) fn begin_connection(&mut self, asked: bool) {
        self.pending_id = None;
        self.pending_retry = None;
        let first = !std::mem::replace(&mut self.connected, true);
        // Before the first there is nothing to miss, but a snapshot to mark.
        // After it there is, even if no event had come.
        if !first || self.rules.resume == UpstreamResume::Snapshot {
            self.overlap = Some(Overlap::new(self.last_id_seq, asked));
        }
    }

    /// The upstream, a proxy as well, says that it lost events before its next
    /// block: first in its head, then, when it knows more, in a comment.
    pub(crate) fn announce(&mut self, gap: Announced) {
        self.announced = Some(gap);
    }

    /// Position of the last block, taken or not.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Whether the last seam is not judged yet.
    pub(crate) fn seam_is_open(&self) -> bool {
        self.overlap.is_some()
    }

    /// Whether there is a gap that the log does not know of yet.
    pub(crate) fn has_gap(&self) -> bool {
        let is_gap = |seam: &Seam| matches!(seam.kind, SeamKind::Gap { .. });
        self.announced.is_some() || self.seams.iter().any(is_gap)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.seams.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn events(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn accept(&mut self, block: &Block, log: &Log) -> Accepted {
        if !block.has_payload() {
            self.note(block);
            return Accepted::Noted;
        }
        let seam = match self.judge(block, log) {
            Some(Verdict::Repeat | Verdict::Restated) => {
                self.follow(&block.id);
                return Accepted::Repeated;
            }
            Some(Verdict::Fresh(kind)) => Some(kind),
            None => None,
        };
        let seam = self.with_announced(seam);
        if let Some(kind) = seam {
            self.open_seam(kind);
        }
        self.append(block, log);
        Accepted::Appended(seam)
    }

    /// A block without payload is never emitted: clients take it for an event.
    fn note(&mut self, block: &Block) {
        self.follow(&block.id);
        if block.id != IdField::Absent {
            self.pending_id = Some(block.id.clone());
        }
        if block.retry.is_some() {
            self.pending_retry = block.retry;
        }
    }

    fn follow(&mut self, id: &IdField) {
        match id {
            IdField::Absent => return,
            IdField::Reset => self.last_id = None,
            // Copied, because the block's memory is a whole upstream chunk.
            IdField::Set(id) => self.last_id = Some(Bytes::copy_from_slice(id)),
        }
        self.ids.carry(self.last_id.as_deref());
    }

    fn judge(&mut self, block: &Block, log: &Log) -> Option<Verdict> {
        let overlap = self.overlap.as_mut()?;
        let (resume, dense) = (self.rules.resume, &self.dense);
        let verdict = log.with(|ring| overlap.judge(block, ring, resume, dense));
        if verdict == Verdict::Restated {
            // The snapshot begins with the block that it repeats.
            self.seams.push(Seam {
                after: self.next.saturating_sub(2),
                kind: SeamKind::Snapshot,
            });
        }
        if verdict != Verdict::Repeat {
            self.overlap = None;
        }
        Some(verdict)
    }

    /// What the upstream says it lost counts for more than what was declared of
    /// it, and for less than a number or a snapshot.
    fn with_announced(&mut self, seam: Option<SeamKind>) -> Option<SeamKind> {
        let Some(Announced { lost }) = self.announced.take() else {
            return seam;
        };
        match seam {
            Some(SeamKind::Gap { lost: Some(_) } | SeamKind::Snapshot) => seam,
            _ => Some(SeamKind::Gap { lost }),
        }
    }

    fn open_seam(&mut self, kind: SeamKind) {
        if matches!(kind, SeamKind::Gap { .. }) {
            self.dense.jump();
        }
        self.seams.push(Seam {
            after: self.next - 1,
            kind,
        });
        if let (SeamKind::Gap { lost }, Some(event)) = (kind, &self.rules.gap_event) {
            let data = gap_data("upstream", lost);
            // It carries the id of before the gap: whoever is cut right here
            // may still find an upstream that can go on from there.
            encode_event(
                &mut self.arena,
                event,
                &data,
                Some(self.ids.write(self.next)),
            );
            self.push_entry(None);
        }
    }

    fn append(&mut self, block: &Block, log: &Log) {
        self.follow(&block.id);
        self.dense.observe(&block.id);
        if self.rules.ids == Ids::Auto {
            self.rules.ids = match &block.id {
                IdField::Set(id) if is_header_safe(id) => Ids::Preserve,
                _ => Ids::Assign,
            };
        }
        let pending = self.pending_id.take();
        let upstreams = match (&block.id, pending) {
            (IdField::Absent, Some(pending)) => pending,
            (id, _) => id.clone(),
        };
        let own = match &upstreams {
            // A longer one cannot be asked for, and would be held uncounted.
            IdField::Set(id) if self.rules.indexed && id.len() <= MAX_CURSOR => {
                // Copied already, unless a repetition came in between.
                let followed = self.last_id.as_ref().filter(|last| *last == id);
                Some(followed.map_or_else(|| Bytes::copy_from_slice(id), Bytes::clone))
            }
            _ => None,
        };
        let preserved = self.rules.ids == Ids::Preserve && !self.must_replace(&upstreams, log);
        let retry = self.pending_retry.take();
        self.arena.reserve(block.lines.len() + 160);
        let id = match (&upstreams, preserved) {
            (IdField::Absent, true) => None,
            (IdField::Reset, true) => Some(&b""[..]),
            (IdField::Set(id), true) => Some(&id[..]),
            (_, false) => Some(self.ids.write(self.next)),
        };
        let trailer = Trailer {
            retry: retry.filter(|_| !self.rules.strip_retry),
            id,
            strip_retry: self.rules.strip_retry,
        };
        encode_block(&mut self.arena, block, trailer);
        if let Some(id) = &own {
            self.last_id_seq = Some(self.next);
            if self.rules.ids == Ids::Preserve {
                self.fresh.insert(id.clone());
            }
        }
        self.push_entry(own);
    }

    /// An id must come back as it went, and name one block only.
    fn must_replace(&self, id: &IdField, log: &Log) -> bool {
        let IdField::Set(id) = id else { return false };
        !is_header_safe(id) || self.fresh.contains(id) || log.with(|ring| ring.find(id).is_some())
    }

    fn push_entry(&mut self, id: Option<Bytes>) {
        self.entries.push(Entry {
            end: u32::try_from(self.arena.len()).unwrap_or(u32::MAX),
            id,
        });
        self.next += 1;
    }

    /// Takes what was gathered.
    pub(crate) fn take(&mut self) -> Batch {
        let entries = std::mem::take(&mut self.entries);
        self.fresh.clear();
        Batch {
            first: self.next - entries.len() as u64,
            bytes: self.arena.split().freeze(),
            entries,
            seams: std::mem::take(&mut self.seams),
        }
    }
}

/// Rewrites our ids in encoded blocks from one epoch to another of the same
/// length. An id is a block's last line.
pub(crate) fn restamp(blocks: &mut [u8], entries: &[Entry], from: Epoch, to: Epoch) {
    let mut own = b"id: s1.".to_vec();
    let at = own.len();
    own.extend_from_slice(from.as_bytes());
    own.push(b'.');
    let mut start = 0;
    for entry in entries {
        let block = &mut blocks[start..entry.end as usize];
        start = entry.end as usize;
        let lines = block.len().saturating_sub(2);
        let last = memchr::memrchr(b'\n', &block[..lines]).map_or(0, |end| end + 1);
        let line = &mut block[last..];
        if line.starts_with(&own) {
            line[at..at + to.as_bytes().len()].copy_from_slice(to.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
