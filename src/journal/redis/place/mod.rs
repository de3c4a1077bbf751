//! One replica, without its I/O: what it knows, what it has to ask of Redis,
//! and what it has to tell the stream.
//!
//! The keeper asks [`State::next`] what to send and hands the answer to
//! [`State::answered`]; appends come from the stream itself. Both, and the
//! stream's polls, meet in one lock that is held for a moment.

mod answers;
mod appends;
mod asking;
#[cfg(test)]
mod tests;
mod wishes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::keys;
use super::lease::{Lease, Terms};
use super::lock::Lock;
use super::scripts::Call;
use crate::journal::{Appended, News, Record};

/// How many bytes of records are fetched at once, but for the last record. None
/// is fetched before the last ones have been taken.
const FETCHED_AT_ONCE: u64 = 256 * 1024;

/// No lease is longer; what Redis says beyond is not believed.
const LONGEST: Duration = Duration::from_secs(60);

/// A replica's place, shared by the stream and the keeper.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) keys: [String; 2],
    state: Lock<State>,
    /// An append waits for what comes of `begin`, or of the lease.
    pub(super) settled: Notify,
}

impl Place {
    pub(super) fn new(id: u64, keys: [String; 2], state: State) -> Self {
        Self {
            id,
            keys,
            state: Lock::new(state),
            settled: Notify::new(),
        }
    }

    /// Does something to the state; whoever waits for what came of it is woken
    /// after the lock is released.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = act(&mut state);
        let waker = if state.news.is_empty() {
            None
        } else {
            state.waker.take()
        };
        let settled = std::mem::take(&mut state.settled);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if settled {
            self.settled.notify_one();
        }
        result
    }
}

/// What is the same for all places of a process.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) terms: Terms,
    /// The process's channel, with which the names of its acquisitions begin.
    pub(super) process: String,
    /// How long a follower counts as one after a sign of life.
    pub(super) watch: Duration,
}

/// How far the kept records have been read, or written.
#[derive(Clone, Debug)]
struct Cursor {
    last: u64,
    /// The entry that ends with it.
    entry: String,
}

/// What is kept of the stream once.
#[derive(Clone, Debug)]
struct Head {
    bytes: Bytes,
    retain: Duration,
    /// Whether Redis has it.
    known: bool,
}

/// An append under way.
#[derive(Clone, Copy, Debug, Default)]
struct Appending {
    /// It is known that it will be refused.
    void: bool,
    /// Whether it was sent, so that it may have been executed.
    sent: bool,
}

/// A request of the keeper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Begin,
    Renew,
    Look,
    Read,
    Release,
}

/// What an append has to do next.
#[derive(Debug)]
pub(super) enum Step {
    Send(Call),
    /// Until [`Place::settled`].
    Wait,
    Give(Appended),
}

/// When a request was sent, and answered, and on which connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) sent: Instant,
    pub(super) now: Instant,
    pub(super) generation: u64,
}

/// What a replica knows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct State {
    common: Arc<Common>,
    id: u64,
    keys: [String; 2],
    lease: Lease,
    /// Which acquisition this is, or was the last.
    acquisition: u64,
    token: u64,
    /// Appends of this acquisition.
    turn: u64,
    appending: Option<Appending>,
    birth: String,
    /// What was kept may have been replaced by something else; this names the
    /// line of records of which `high` is one.
    branch: String,
    /// The last block that was read or kept, whatever became of it.
    high: u64,
    /// The branch of an owner that gives back what Redis lost up to `high`.
    refilled: Option<String>,
    head: Option<Head>,
    cursor: Cursor,
    /// The stream is ours, but what others appended is to be read first: the
    /// last block that is kept, and whether it is proved to be the last.
    acquired: Option<(u64, bool)>,
    /// The stream was told that it is the owner.
    owned: bool,
    news: VecDeque<News>,
    waker: Option<Waker>,
    /// There may be records beyond the cursor.
    behind: bool,
    read: bool,
    read_elsewhere: bool,
    /// The stream was told that it is to end.
    stopped: bool,
    low: u64,
    /// The connection on which the server was last seen to be the same one.
    generation: u64,
    /// A request of the keeper's is under way.
    asking: bool,
    /// Something happened since it was sent, of which its answer may not know.
    outdated: bool,
    /// After a failure, not before then.
    again: Option<Instant>,
    diverged: bool,
    dropped: bool,
    /// Nothing is left to do for a dropped replica.
    over: bool,
    settled: bool,
}

impl State {
    fn new(common: Arc<Common>, id: u64, keys: [String; 2], lease: Lease) -> Self {
        let birth = keys::owner(&common.process, id, 0);
        Self {
            common,
            id,
            keys,
            lease,
            acquisition: 0,
            token: 0,
            turn: 0,
            appending: None,
            branch: birth.clone(),
            birth,
            high: 0,
            refilled: None,
            head: None,
            cursor: Cursor {
                last: 0,
                entry: "0-0".to_owned(),
            },
            acquired: None,
            owned: false,
            news: VecDeque::new(),
            waker: None,
            behind: false,
            read: false,
            read_elsewhere: false,
            stopped: false,
            low: 0,
            generation: 0,
            asking: false,
            outdated: false,
            again: None,
            diverged: false,
            dropped: false,
            over: false,
            settled: false,
        }
    }

    /// Of a stream that nobody else knows.
    pub(super) fn created(common: Arc<Common>, id: u64, keys: [String; 2], now: Instant) -> Self {
        let lease = Lease::unheard_of(common.terms, now);
        let mut state = Self::new(common, id, keys, lease);
        state.owned = true;
        state
    }

    /// Of a stream that others may know.
    pub(super) fn following(common: Arc<Common>, id: u64, keys: [String; 2], now: Instant) -> Self {
        let lease = Lease::following(common.terms, now);
        let mut state = Self::new(common, id, keys, lease);
        // Until this place is known to the keeper, it hears of nothing.
        state.behind = true;
        state
    }

    // === How things stand ===

    pub(super) fn owns(&self) -> bool {
        self.lease.owns()
    }

    /// Whether it is to hear what others append.
    pub(super) fn listens(&self) -> bool {
        !self.owns() && !self.dropped && !self.diverged
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// When to ask [`next`](Self::next) again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.over || self.diverged {
            return None;
        }
        // While something is asked nothing else is, but the lease may end.
        let lease = if self.asking || self.holds_off() {
            self.lease.ends()
        } else {
            self.lease.deadline()
        };
        let again = self.again.filter(|_| !self.asking);
        [lease, again].into_iter().flatten().min()
    }

    /// While an append is under way, it shall be known what became of it before
    /// anybody asks whose the stream is.
    fn holds_off(&self) -> bool {
        self.appending.is_some() && !self.owns()
    }
}

/// A record as Redis keeps it.
pub(super) fn encoded(record: &Record) -> Bytes {
    let mut bytes = BytesMut::new();
    record.encode(&mut bytes);
    bytes.freeze()
}
