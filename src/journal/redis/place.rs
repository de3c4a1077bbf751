//! One replica, without its I/O: what it knows, what it has to ask of Redis,
//! and what it has to tell the stream.
//!
//! The keeper asks [`State::next`] what to send and hands the answer to
//! [`State::answered`]; appends come from the stream itself. Both, and the
//! stream's polls, meet in one lock that is held for a moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::keys;
use super::lease::{Call as Due, Lease, Loss, Terms};
use super::lock::Lock;
use super::scripts::{self, Argument, Call, Reply, Strange};
use crate::journal::{Appended, News, Record};

/// How many records are fetched at once. None is fetched before the last ones
/// have been taken.
const FETCHED_AT_ONCE: u64 = 64;

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
pub(super) struct Sent {
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
    /// Counts how often what was kept may have been replaced by something else;
    /// this is the one by which `high` is known.
    branch: u64,
    /// The last block that was read or kept, whatever became of it.
    high: u64,
    /// The branch of an owner that gives back what Redis lost up to `high`.
    refilled: Option<u64>,
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
    low: u64,
    /// The connection on which the server was last seen to be the same one.
    generation: u64,
    /// A request of the keeper's is under way.
    asking: bool,
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
            birth,
            branch: 0,
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
            low: 0,
            generation: 0,
            asking: false,
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
        Self::new(common, id, keys, lease)
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

    // === What the keeper asks ===

    /// What is to be sent now.
    pub(super) fn next(&mut self, now: Instant, generation: u64) -> Option<(Ask, Call)> {
        self.tick(now);
        if self.asking || self.over {
            return None;
        }
        self.again = self.again.filter(|at| now < *at);
        let ask = self.due(now)?;
        let call = match ask {
            Ask::Begin => self.begin_call()?,
            Ask::Renew => self.renew_call(generation),
            Ask::Look => self.look_call(now),
            Ask::Read => {
                // What is published from now on may not be in the answer.
                self.behind = false;
                self.read_call()
            }
            Ask::Release => self.release_call(),
        };
        self.asking = true;
        Some((ask, call))
    }

    fn due(&mut self, now: Instant) -> Option<Ask> {
        if self.dropped {
            // What Redis has not heard of needs no release.
            self.over = !self.owns() || self.token == 0;
            return (!self.over).then_some(Ask::Release);
        }
        if self.diverged {
            return None;
        }
        let may = self.again.is_none();
        let unknown = self.head.as_ref().is_some_and(|head| !head.known);
        if unknown && (self.owns() || self.appending.is_some()) {
            return may.then_some(Ask::Begin);
        }
        match self.lease.due(now) {
            Some(Due::Renew) => return Some(Ask::Renew),
            Some(Due::Look { .. }) if !self.holds_off() => return Some(Ask::Look),
            _ => {}
        }
        let wanted = self.acquired.is_some() || !self.owns() && self.waker.is_some();
        (may && self.behind && wanted && self.news.is_empty()).then_some(Ask::Read)
    }

    fn tick(&mut self, now: Instant) {
        let Some(loss) = self.lease.tick(now) else {
            return;
        };
        match loss {
            Loss::Alone => {
                self.disown();
                self.news.push_back(News::Alone);
            }
            Loss::Disowned if self.owned => {
                self.disown();
                self.news.push_back(News::Disowned);
            }
            Loss::Disowned => self.disown(),
        }
    }

    fn disown(&mut self) {
        self.owned = false;
        self.acquired = None;
        self.settled = true;
    }

    fn owner(&self) -> String {
        keys::owner(&self.common.process, self.id, self.acquisition)
    }

    fn begin_call(&self) -> Option<Call> {
        let head = self.head.as_ref()?;
        let arguments = [
            self.owner().argument(),
            self.common.terms.ttl.argument(),
            self.birth.argument(),
            head.bytes.clone(),
            head.retain.argument(),
        ];
        Some(Call::new(&scripts::BEGIN, &self.keys, arguments))
    }

    /// The request by which a name is claimed.
    pub(super) fn claim_call(&self) -> Call {
        let arguments = [
            self.owner().argument(),
            self.common.terms.ttl.argument(),
            self.birth.argument(),
            self.common.watch.argument(),
        ];
        Call::new(&scripts::CLAIM, &self.keys, arguments)
    }

    fn renew_call(&self, generation: u64) -> Call {
        let turn = match self.appending {
            Some(_) => Bytes::from_static(b"-1"),
            None => self.turn.argument(),
        };
        let arguments = [
            self.owner().argument(),
            self.token.argument(),
            turn,
            self.low.argument(),
            self.common.terms.ttl.argument(),
            (generation != self.generation).argument(),
        ];
        Call::new(&scripts::RENEW, &self.keys, arguments)
    }

    fn look_call(&self, now: Instant) -> Call {
        let strive = self.lease.due(now) == Some(Due::Look { strive: true });
        let next = keys::owner(&self.common.process, self.id, self.acquisition + 1);
        let arguments = [
            strive.argument(),
            next.argument(),
            self.owner().argument(),
            self.common.terms.ttl.argument(),
            self.birth.argument(),
            self.branch.argument(),
            self.high.argument(),
            self.lease.is_alone().argument(),
            self.common.watch.argument(),
            self.read.argument(),
        ];
        Call::new(&scripts::LOOK, &self.keys, arguments)
    }

    /// The request for the next records.
    pub(super) fn read_call(&self) -> Call {
        let arguments = [
            self.birth.argument(),
            self.branch.argument(),
            self.high.argument(),
            self.cursor.entry.argument(),
            FETCHED_AT_ONCE.argument(),
        ];
        Call::new(&scripts::READ, &self.keys, arguments)
    }

    fn release_call(&self) -> Call {
        let arguments = [self.owner().argument(), self.token.argument()];
        Call::new(&scripts::RELEASE, &self.keys, arguments)
    }

    // === What was answered ===

    /// Nothing was, or nothing that makes sense.
    pub(super) fn failed(&mut self, ask: Ask, now: Instant) {
        self.asking = false;
        self.lease.failed(now);
        self.again = Some(now + self.common.terms.beat / 4);
        self.over |= ask == Ask::Release;
        self.behind |= ask == Ask::Read;
    }

    pub(super) fn answered(&mut self, ask: Ask, reply: Reply, when: Sent) -> Result<(), Strange> {
        self.asking = false;
        self.again = None;
        match ask {
            Ask::Begin => self.begun(reply, when),
            Ask::Renew => self.renewed(reply, when),
            Ask::Look => self.looked(reply, when),
            Ask::Read => self.fetched(reply).map(drop),
            Ask::Release => {
                self.over = true;
                Ok(())
            }
        }
    }

    fn begun(&mut self, mut reply: Reply, when: Sent) -> Result<(), Strange> {
        if reply.word() != "mine" {
            self.refused(when.now);
            return Ok(());
        }
        self.token = reply.number()?;
        if let Some(head) = &mut self.head {
            head.known = true;
        }
        self.generation = when.generation;
        self.lease.confirmed(when.sent, when.now);
        self.settled = true;
        Ok(())
    }

    /// The claim on the name succeeded.
    pub(super) fn claimed(&mut self, mut reply: Reply, when: Sent) -> Result<(), Strange> {
        self.token = reply.number()?;
        self.generation = when.generation;
        self.owned = self.lease.mine(when.sent, when.now);
        if !self.owned {
            self.news.push_back(News::Disowned);
        }
        Ok(())
    }

    fn renewed(&mut self, mut reply: Reply, when: Sent) -> Result<(), Strange> {
        if reply.word() != "held" {
            self.refused(when.now);
            return Ok(());
        }
        self.lease.confirmed(when.sent, when.now);
        if self.appending.is_none() {
            self.generation = when.generation;
        }
        let read = reply.number()? == 1;
        if read != self.read_elsewhere && self.owned {
            self.read_elsewhere = read;
            self.news.push_back(News::Readers(read));
        }
        Ok(())
    }

    fn looked(&mut self, mut reply: Reply, when: Sent) -> Result<(), Strange> {
        match reply.word() {
            "none" => self.lease.free(when.now),
            "other" => self.diverge(),
            "held" => {
                let remaining = Duration::from_millis(reply.number()?);
                self.seen(&mut reply)?;
                self.lease.held(remaining, when.now);
            }
            "free" => {
                self.seen(&mut reply)?;
                self.lease.free(when.now);
            }
            "mine" => self.acquired(&mut reply, when)?,
            _ => return Err(Strange),
        }
        Ok(())
    }

    fn seen(&mut self, reply: &mut Reply) -> Result<(), Strange> {
        let last = reply.number()?;
        self.birth = reply.text()?;
        self.branch = reply.number()?;
        self.behind |= last > self.cursor.last;
        Ok(())
    }

    fn acquired(&mut self, reply: &mut Reply, when: Sent) -> Result<(), Strange> {
        self.token = reply.number()?;
        let last = reply.number()?;
        let continuous = reply.number()? == 1;
        self.birth = reply.text()?;
        let branch = reply.number()?;
        let known = reply.number()? == 1;
        if let Some(head) = &mut self.head {
            head.known = known;
        }
        self.acquisition += 1;
        self.turn = 0;
        self.generation = when.generation;
        if !self.lease.mine(when.sent, when.now) {
            return Ok(());
        }
        self.acquired = Some((last, continuous));
        if self.high > last {
            // There is nothing to read, and something to give back.
            self.refilled = Some(branch);
            self.behind = false;
            self.own();
        } else {
            // Read once more in any case: a record need not have blocks.
            self.branch = branch;
            self.behind = true;
        }
        Ok(())
    }

    /// Takes records; how many.
    pub(super) fn fetched(&mut self, mut reply: Reply) -> Result<usize, Strange> {
        match reply.word() {
            "none" => {
                self.own();
                return Ok(0);
            }
            "other" => {
                self.diverge();
                return Ok(0);
            }
            _ => {}
        }
        self.birth = reply.text()?;
        let branch = reply.number()?;
        let _last = reply.number()?;
        let entries = reply.entries()?;
        if self.refilled.is_none() {
            self.branch = branch;
        }
        let count = entries.len();
        let more = count as u64 == FETCHED_AT_ONCE;
        self.behind |= more;
        for (entry, bytes) in entries {
            let Ok(record) = Record::decode(bytes) else {
                tracing::error!(entry, "redis has a record that this version cannot read");
                self.diverge();
                return Ok(count);
            };
            self.cursor = Cursor {
                last: record.batch.last(),
                entry,
            };
            self.high = self.high.max(self.cursor.last);
            self.news.push_back(News::Record(record));
        }
        if !more {
            self.own();
        }
        Ok(count)
    }

    /// All that others appended has been handed over.
    fn own(&mut self) {
        if let Some((last, continuous)) = self.acquired.take() {
            self.owned = true;
            self.read_elsewhere = false;
            self.news.push_back(News::Owned { continuous, last });
        }
    }

    fn diverge(&mut self) {
        self.diverged = true;
        self.disown();
        self.news.push_back(News::Diverged);
    }

    /// Redis says that this replica is not the owner, or that the owner's
    /// records are gone.
    fn refused(&mut self, now: Instant) {
        self.lease.refused(now);
        if let Some(appending) = &mut self.appending {
            appending.void = true;
        }
        let owned = self.owned;
        self.disown();
        if owned {
            self.news.push_back(News::Disowned);
        }
    }

    // === What others published ===

    /// Something became of the stream, on another replica.
    pub(super) fn stirred(&mut self, what: &[u8], now: Instant) {
        match what {
            b"record" => self.behind = true,
            b"free" => self.lease.stirred(true, now),
            _ => self.lease.stirred(false, now),
        }
    }

    /// What was published for a while may have been missed.
    pub(super) fn may_have_missed(&mut self, now: Instant) {
        self.behind = true;
        self.lease.stirred(false, now);
    }

    // === What the stream wants ===

    pub(super) fn begin(&mut self, bytes: Bytes, retain: Duration, now: Instant) {
        self.head = Some(Head {
            bytes,
            retain,
            known: false,
        });
        self.lease.begun(now);
    }

    /// The head of a stream that Redis has, so that it can be given back.
    pub(super) fn keep_head(&mut self, bytes: Bytes, retain: Duration) {
        self.head = Some(Head {
            bytes,
            retain,
            known: true,
        });
    }

    pub(super) fn attend(&mut self, read: bool, now: Instant) {
        self.read = read;
        self.lease.attend(read, now);
    }

    pub(super) fn trim(&mut self, low: u64) {
        self.low = self.low.max(low);
    }

    pub(super) fn poll_news(&mut self, cx: &Context<'_>) -> Poll<News> {
        match self.news.pop_front() {
            Some(news) => Poll::Ready(news),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// News that have come already.
    pub(super) fn take_news(&mut self) -> VecDeque<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether a poll has to wake the keeper.
    pub(super) fn wants_more(&self) -> bool {
        self.behind && !self.owned && self.news.is_empty() && !self.asking
    }

    /// Gives up ownership; what to send.
    pub(super) fn release(&mut self, now: Instant) -> Option<Call> {
        let call = (self.owns() && self.token > 0).then(|| self.release_call());
        self.lease.released(now);
        self.disown();
        call
    }

    /// Nothing is to be kept; what to send.
    pub(super) fn forget(&mut self) -> Option<Call> {
        let arguments = [self.owner().argument(), self.token.argument()];
        let call = (self.owns() && self.token > 0)
            .then(|| Call::new(&scripts::FORGET, &self.keys, arguments));
        self.over = true;
        self.dropped = true;
        call
    }

    pub(super) fn drop_it(&mut self) {
        self.dropped = true;
        self.settled = true;
        self.waker = None;
    }

    // === Appends ===

    /// A record is to be kept. Whether this may be tried.
    pub(super) fn start_append(&mut self, now: Instant) -> bool {
        self.tick(now);
        if !self.owned || self.dropped {
            return false;
        }
        self.turn += 1;
        self.appending = Some(Appending::default());
        true
    }

    /// What is to be done about it now.
    pub(super) fn append_step(&mut self, record: &Record, bytes: &Bytes) -> Step {
        let begun = self.head.as_ref().is_none_or(|head| head.known) && self.token > 0;
        let goes_on_alone = self.common.terms.alone_after.is_some() && !self.owns();
        let Some(appending) = &mut self.appending else {
            return Step::Give(Appended::Disowned);
        };
        if appending.void || self.dropped || goes_on_alone {
            return Step::Give(Appended::Disowned);
        }
        if !begun {
            return Step::Wait;
        }
        appending.sent = true;
        let arguments = [
            self.owner().argument(),
            self.token.argument(),
            self.turn.argument(),
            record.batch.first.argument(),
            record.batch.last().argument(),
            record.low.max(self.low).argument(),
            self.common.terms.ttl.argument(),
            bytes.clone(),
        ];
        Step::Send(Call::new(&scripts::APPEND, &self.keys, arguments))
    }

    /// Redis answered.
    pub(super) fn appended(
        &mut self,
        last: u64,
        mut reply: Reply,
        when: Sent,
    ) -> Result<Appended, Strange> {
        if reply.word() != "kept" {
            self.refused(when.now);
            return Ok(Appended::Disowned);
        }
        let sub = reply.number()?;
        self.cursor = Cursor {
            last,
            entry: format!("{last}-{sub}"),
        };
        if last >= self.high {
            self.high = last;
            self.branch = self.refilled.take().unwrap_or(self.branch);
        }
        self.lease.confirmed(when.sent, when.now);
        Ok(Appended::Kept)
    }

    /// The append is over: what became of it is known, or was never sent.
    pub(super) fn settle_append(&mut self) {
        self.appending = None;
    }

    /// Nobody waits for it any more, and it may yet be kept. Only Redis knows,
    /// and only the next owner is told.
    pub(super) fn abandon_append(&mut self, now: Instant) {
        match self.appending.take() {
            Some(append) if append.sent => self.refused(now),
            Some(_) => self.turn -= 1,
            None => {}
        }
    }
}

/// A record as Redis keeps it.
pub(super) fn encoded(record: &Record) -> Bytes {
    let mut bytes = BytesMut::new();
    record.encode(&mut bytes);
    bytes.freeze()
}
