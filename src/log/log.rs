use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use slab::Slab;
use tokio::time::Instant;

use super::reader::{Next, Reader, Told};
use super::segment::SEAL_AT;
use super::{Batch, Limits, Ring};

/// A [`Ring`] with readers.
pub struct Log {
    // A plain mutex: every critical section is a few loads and a slice; none
    // allocates per client, runs foreign code, or spans a poll of anything.
    state: Mutex<State>,
}

struct State {
    ring: Ring,
    readers: Slab<Slot>,
    /// Readers that ever came.
    arrived: u64,
    end: Option<Ending>,
    /// The upstream's last comment: a courtesy to readers that are at the head
    /// when it comes. It is not retained.
    comment: Option<Comment>,
    comments: u64,
    /// The appending side, while it waits for readers to move.
    room: Option<Waker>,
    /// Size of the last batch.
    fresh: usize,
    /// The retained bytes last told to whoever keeps accounts.
    accounted: usize,
    /// Kept between publications for its capacity.
    wakers: Vec<Waker>,
}

struct Comment {
    number: u64,
    after: u64,
    line: Bytes,
}

/// What the log knows of a reader.
struct Slot {
    /// How many readers came before it.
    number: u64,
    cursor: u64,
    waker: Option<Waker>,
    order: Option<Order>,
    /// It was asked to end cleanly: asking again would only wake it.
    closing: bool,
}

#[derive(Clone)]
enum Order {
    CloseAt(Instant),
    Abort(&'static str),
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should: readers see a clean end.
    Complete,
    /// Cut short, for this reason: readers see their connection abort.
    Aborted(&'static str),
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// After this block.
    After(u64),
    /// At the oldest retained block.
    Oldest,
    /// At the next block.
    Live,
    /// At most this many retained blocks back.
    Tail(u64),
    /// At the last retained snapshot, or else at the next block.
    Snapshot,
}

/// A new reader, and what it should be told.
#[derive(Debug)]
pub struct Attached {
    /// The reader.
    pub reader: Reader,
    /// Where it begins: the first block it gets is the one after.
    pub after: u64,
    /// Blocks that were trimmed between where it asked to begin and where it
    /// does.
    pub lost: u64,
    /// Blocks it will be replayed.
    pub behind: u64,
    /// Whether it crosses a gap on the way to the head.
    pub gap: bool,
    /// Whether it begins at a snapshot that it had not asked for.
    pub snapshot: bool,
}

/// What trimming must leave while a stream is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: a reader that is too slow is left behind.
    Nothing,
    /// What the reader that came last has not read.
    Unread,
    /// The same, and everything while there is no reader.
    UntilRead,
}

/// Largest chunk handed to a reader at once, unless one block is larger: a
/// whole segment, or the rest of it would make a write of its own.
const CHUNK: usize = 2 * SEAL_AT;

impl Log {
    /// An empty log.
    pub fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                ring: Ring::new(limits),
                readers: Slab::new(),
                arrived: 0,
                end: None,
                comment: None,
                comments: 0,
                room: None,
                fresh: 0,
                accounted: 0,
                wakers: Vec::new(),
            }),
        }
    }

    // Nothing that runs under the lock can panic half-way through a change, so
    // a poisoned lock (a panic in an observer's waker, say) is still sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the ring under the lock.
    pub fn with<T>(&self, f: impl FnOnce(&Ring) -> T) -> T {
        f(&self.state().ring)
    }

    /// Changes the ring under the lock, for its trimming and indexing.
    pub fn with_mut<T>(&self, f: impl FnOnce(&mut Ring) -> T) -> T {
        f(&mut self.state().ring)
    }

    /// Makes a batch visible, trims what need not be held, and wakes each
    /// waiting reader once. Returns by how much the retained bytes changed.
    pub fn publish(&self, batch: &Batch, hold: Hold, now: Instant) -> i64 {
        let mut state = self.state();
        state.ring.append(batch, now);
        state.fresh = batch.bytes.len();
        let floor = state.floor(hold);
        state.ring.trim(now, floor);
        let change = state.account();
        self.wake_readers(state);
        change
    }

    /// Trims to the limits. Returns by how much the retained bytes changed.
    pub fn trim(&self, hold: Hold, now: Instant) -> i64 {
        let mut state = self.state();
        let floor = state.floor(hold);
        state.ring.trim(now, floor);
        state.account()
    }

    /// Gives up the older half of what is retained, but for the last batch, which
    /// nobody had the time to read; or all of it. Returns by how much the
    /// retained bytes changed.
    pub fn give_up(&self, all: bool) -> i64 {
        let mut state = self.state();
        let keep = if all {
            0
        } else {
            state.fresh.max(state.ring.bytes() / 2)
        };
        state.ring.trim_to_bytes(keep);
        state.account()
    }

    /// When to trim next on account of age.
    ///
    /// What is held now may have been read by then; what is held although its
    /// time is past is not waited for.
    pub fn next_expiry(&self, hold: Hold, now: Instant) -> Option<Instant> {
        let state = self.state();
        // Asked for each batch, and hardly ever is one's time past.
        let may_go = || state.ring.low() < state.floor(hold);
        state.ring.next_expiry().filter(|at| *at > now || may_go())
    }

    /// Sets the line that readers are given after the block at `after`, which
    /// may be one that is about to be published.
    pub fn comment(&self, after: u64, line: Bytes) {
        let mut state = self.state();
        state.comments += 1;
        state.comment = Some(Comment {
            number: state.comments,
            after,
            line,
        });
        self.wake_readers(state);
    }

    /// Ends the log. Readers get what is retained, then this ending.
    pub fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.end = Some(ending);
        self.wake_readers(state);
    }

    /// How the log ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.state().end
    }

    /// Cuts today's readers; later ones are not concerned.
    pub fn abort_readers(&self, reason: &'static str) {
        let mut state = self.state();
        for (_, slot) in &mut state.readers {
            slot.order = Some(Order::Abort(reason));
        }
        self.wake_readers(state);
    }

    /// Asks each of today's readers, once, to end cleanly at a moment of its own.
    pub fn close_readers(&self, mut moment: impl FnMut() -> Instant) {
        let mut state = self.state();
        let mut news = false;
        for (_, slot) in &mut state.readers {
            if !std::mem::replace(&mut slot.closing, true) {
                // One that is to be cut already will be.
                slot.order.get_or_insert_with(|| Order::CloseAt(moment()));
                news = true;
            }
        }
        if news {
            self.wake_readers(state);
        }
    }

    fn wake_readers(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = std::mem::take(&mut state.wakers);
        let mut waiting = state.readers.iter_mut().filter_map(|(_, s)| s.waker.take());
        // Most logs have one reader, for whom no list need be taken and put back.
        let first = waiting.next();
        wakers.extend(waiting);
        if wakers.is_empty() {
            state.wakers = wakers;
            drop(state);
            return wake(first);
        }
        drop(state);
        wake(first);
        for waker in wakers.drain(..) {
            waker.wake();
        }
        self.state().wakers = wakers;
    }

    /// Adds a reader. Where it begins and what it is told are decided under one
    /// lock with its registration: nothing can be published in between.
    pub fn attach(self: &Arc<Self>, position: Position) -> Attached {
        let mut state = self.state();
        let ring = &state.ring;
        let (low, high) = (ring.low(), ring.high());
        let (after, lost, snapshot) = match position {
            Position::After(seq) if seq < low => (low, low - seq, false),
            Position::After(seq) => match ring.snapshot() {
                // What lies before the snapshot is stale by its own account.
                Some(at) if at > seq => (at, 0, true),
                _ => (seq.min(high), 0, false),
            },
            Position::Oldest => (low, 0, false),
            Position::Live => (high, 0, false),
            Position::Tail(n) => (high.saturating_sub(n).max(low), 0, false),
            Position::Snapshot => match ring.snapshot() {
                Some(at) => (at, 0, true),
                None => (high, 0, false),
            },
        };
        let gap = ring.gap_after(after);
        let comment = state.comments;
        let number = state.arrived;
        state.arrived += 1;
        let slot = state.readers.insert(Slot {
            number,
            cursor: after,
            waker: None,
            order: None,
            closing: false,
        });
        // A reader that has read everything makes room just by coming.
        let room = state.room.take();
        drop(state);
        wake(room);
        Attached {
            reader: Reader::new(Arc::clone(self), slot, after, high, comment),
            after,
            lost,
            behind: high - after,
            gap,
            snapshot,
        }
    }

    pub(super) fn detach(&self, slot: usize) {
        let mut state = self.state();
        // Holds a waker, which may own anything: dropped outside the lock.
        let _slot = state.readers.try_remove(slot);
        let room = state.room.take();
        drop(state);
        wake(room);
    }

    /// Readers attached now.
    pub fn readers(&self) -> usize {
        self.state().readers.len()
    }

    /// Whether another batch fits, after trimming what need not be held.
    pub fn has_room(&self, hold: Hold) -> bool {
        self.state().has_room(hold)
    }

    /// Ready when there is room. The waker is the appending side's, of which
    /// there is one; readers that move on or leave wake it.
    pub fn poll_room(&self, hold: Hold, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.has_room(hold) {
            state.room = None;
            return Poll::Ready(());
        }
        let old = state.room.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// `BY_UNIT` is decided when this is compiled: who reads otherwise pays for no
    /// choice.
    pub(super) fn poll_next<const BY_UNIT: bool>(
        &self,
        slot: usize,
        cursor: u64,
        came_at: u64,
        told: &mut Told,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let mut guard = self.state();
        let state = &mut *guard;
        // Where one client reads, nobody else needs its form.
        let several = BY_UNIT && state.readers.len() > 1;
        let Some(own) = state.readers.get_mut(slot) else {
            return Poll::Ready(Next::Ended(Ending::Aborted("reader detached")));
        };
        match own.order.take() {
            Some(Order::CloseAt(at)) => return Poll::Ready(Next::CloseAt(at)),
            Some(Order::Abort(reason)) => {
                return Poll::Ready(Next::Ended(Ending::Aborted(reason)));
            }
            None => {}
        }
        if cursor < state.ring.low() {
            return Poll::Ready(Next::Lagged(state.ring.low() - cursor));
        }
        if let Some(lost) = state.ring.gap_at(cursor)
            && told.gap != Some(cursor)
        {
            told.gap = Some(cursor);
            return Poll::Ready(Next::Gap(lost));
        }
        if let Some(note) = &state.comment
            && note.number > told.comment
            && note.after == cursor
        {
            told.comment = note.number;
            return Poll::Ready(Next::Comment(note.line.clone()));
        }
        let read = |ring: &mut Ring| {
            if BY_UNIT {
                ring.read_unit(cursor, several)
            } else {
                ring.read(cursor, CHUNK)
            }
        };
        if let Some(chunk) = read(&mut state.ring) {
            own.cursor = chunk.last;
            let room = state.room.take();
            drop(guard);
            wake(room);
            return Poll::Ready(Next::Data {
                events: chunk.last - cursor,
                replayed: chunk.last.min(came_at).saturating_sub(cursor),
                chunk,
            });
        }
        if let Some(ending) = state.end {
            return Poll::Ready(Next::Ended(ending));
        }
        let known = own
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            let old = own.waker.replace(cx.waker().clone());
            drop(guard);
            drop(old);
        }
        Poll::Pending
    }
}

/// Only to be called outside the lock: a woken task asks for it at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl State {
    /// The last position that may be trimmed.
    fn floor(&self, hold: Hold) -> u64 {
        // Where one client reads, an earlier reader is its lost connection that
        // nobody has noticed yet: that one must not hold up the stream.
        let readers = self.readers.iter().map(|(_, slot)| slot);
        let latest = || readers.max_by_key(|slot| slot.number).map(|s| s.cursor);
        match hold {
            Hold::Nothing => u64::MAX,
            Hold::Unread => latest().unwrap_or(u64::MAX),
            Hold::UntilRead => latest().unwrap_or(0),
        }
    }

    fn has_room(&mut self, hold: Hold) -> bool {
        let floor = self.floor(hold);
        self.ring.trim_to_limits(floor);
        !self.ring.is_over()
    }

    /// What changed since the last time.
    fn account(&mut self) -> i64 {
        // One that is just being sent may outlive the last of the blocks.
        let forms = match self.ring.bytes() {
            0 => 0,
            _ => self.ring.form_bytes(),
        };
        let before = std::mem::replace(&mut self.accounted, self.ring.bytes() + forms);
        let now = i64::try_from(self.accounted).unwrap_or(i64::MAX);
        now - i64::try_from(before).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Log")
            .field("low", &state.ring.low())
            .field("high", &state.ring.high())
            .field("bytes", &state.ring.bytes())
            .field("readers", &state.readers.len())
            .field("end", &state.end)
            .finish()
    }
}
