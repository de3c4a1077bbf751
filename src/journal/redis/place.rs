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
        self.outdated = false;
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
        // What becomes of an append is told by its answer, not by reading.
        let follows = !self.owns() && self.appending.is_none();
        let wanted = self.acquired.is_some() || follows && self.waker.is_some();
        (may && self.behind && wanted && self.news.is_empty()).then_some(Ask::Read)
    }

    fn tick(&mut self, now: Instant) {
        let Some(loss) = self.lease.tick(now) else {
            return;
        };
        match loss {
            Loss::Alone => {
                self.disown();
                self.tell(News::Alone);
            }
            Loss::Disowned if self.owned => {
                self.disown();
                self.tell(News::Disowned);
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

    pub(super) fn answered(
        &mut self,
        ask: Ask,
        reply: Reply,
        when: Exchange,
    ) -> Result<(), Strange> {
        self.asking = false;
        self.again = None;
        let result = match ask {
            Ask::Begin => self.begun(reply, when),
            Ask::Renew => self.renewed(reply, when),
            Ask::Look => self.looked(reply, when),
            Ask::Read => self.fetched(reply).map(drop),
            Ask::Release => {
                self.over = true;
                Ok(())
            }
        };
        if std::mem::take(&mut self.outdated) {
            self.lease.stirred(when.now);
        }
        result
    }

    fn begun(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
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
    pub(super) fn claimed(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
        self.token = reply.number()?;
        self.generation = when.generation;
        self.owned = self.lease.mine(when.sent, when.now);
        if !self.owned {
            self.tell(News::Disowned);
        }
        Ok(())
    }

    fn renewed(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
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
            self.tell(News::Readers(read));
        }
        Ok(())
    }

    fn looked(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
        match reply.word() {
            "none" => self.lease.free(when.now),
            "other" => self.diverge(),
            "held" => {
                let remaining = Duration::from_millis(reply.number()?).min(LONGEST);
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
        self.branch = reply.text()?;
        self.behind |= last > self.cursor.last;
        Ok(())
    }

    fn acquired(&mut self, reply: &mut Reply, when: Exchange) -> Result<(), Strange> {
        self.token = reply.number()?;
        let last = reply.number()?;
        let continuous = reply.number()? == 1;
        self.birth = reply.text()?;
        let branch = reply.text()?;
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

    /// Takes records; whether there are more.
    pub(super) fn fetched(&mut self, mut reply: Reply) -> Result<bool, Strange> {
        let more = match reply.word() {
            "all" => false,
            "more" => true,
            "none" => {
                self.own();
                return Ok(false);
            }
            "other" => {
                self.diverge();
                return Ok(false);
            }
            _ => return Err(Strange),
        };
        self.birth = reply.text()?;
        let branch = reply.text()?;
        let _last = reply.number()?;
        let entries = reply.entries()?;
        if self.refilled.is_none() {
            self.branch = branch;
        }
        self.behind |= more;
        for (entry, bytes) in entries {
            let Some(record) = self.next_record(&entry, bytes) else {
                tracing::error!(entry, "redis has a record that this version cannot read");
                self.diverge();
                return Ok(false);
            };
            self.cursor = Cursor {
                last: record.batch.last(),
                entry,
            };
            self.high = self.high.max(self.cursor.last);
            self.tell(News::Record(record));
        }
        if !more {
            self.own();
        }
        Ok(more)
    }

    /// The record of an entry, if that is what it must be: the next one.
    fn next_record(&self, entry: &str, bytes: Bytes) -> Option<Record> {
        let record = Record::decode(bytes).ok()?;
        let last = entry.split('-').next()?.parse().ok()?;
        let follows = record.batch.first > self.cursor.last && record.batch.last() == last;
        follows.then_some(record)
    }

    /// To a stream that takes no news, ownership that ended before it was told
    /// of need not be told: so that what waits here is bounded.
    fn tell(&mut self, news: News) {
        if !matches!(news, News::Record(_)) {
            if let Some(News::Readers(_)) = self.news.back() {
                self.news.pop_back();
            }
        }
        if let (News::Owned { .. }, [.., News::Owned { .. }, News::Disowned | News::Alone]) =
            (&news, &*self.news.make_contiguous())
        {
            self.news.truncate(self.news.len() - 2);
        }
        self.news.push_back(news);
    }

    /// All that others appended has been handed over.
    fn own(&mut self) {
        if let Some((last, continuous)) = self.acquired.take() {
            self.owned = true;
            self.read_elsewhere = false;
            self.tell(News::Owned { continuous, last });
        }
    }

    fn diverge(&mut self) {
        self.diverged = true;
        self.disown();
        self.tell(News::Diverged);
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
            self.tell(News::Disowned);
        }
    }

    // === What others published ===

    /// Something became of the stream, on another replica.
    pub(super) fn stirred(&mut self, what: &[u8], now: Instant) {
        match what {
            b"record" => self.behind = true,
            _ => self.stir(now),
        }
    }

    fn stir(&mut self, now: Instant) {
        self.outdated = true;
        self.lease.stirred(now);
    }

    /// What was published for a while may have been missed.
    pub(super) fn may_have_missed(&mut self, now: Instant) {
        self.behind = true;
        self.stir(now);
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
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
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
        when: Exchange,
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
            if let Some(branch) = self.refilled.take() {
                self.branch = branch;
            }
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

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn follower(now: Instant) -> State {
        let common = Common {
            terms: Terms::of(Duration::from_secs(5), false),
            process: "process".to_owned(),
            watch: Duration::from_secs(15),
        };
        let keys = ["meta", "log"].map(str::to_owned);
        let mut state = State::following(Arc::new(common), 1, keys, now);
        state.attend(true, now);
        state
    }

    fn reply(word: &str, numbers: &[i64], rest: &[&str]) -> Reply {
        let text = |text: &&str| Value::BulkString(text.as_bytes().to_vec());
        let mut values = vec![text(&word)];
        values.extend(numbers.iter().copied().map(Value::Int));
        values.extend(rest.iter().map(text));
        Reply::read(Value::Array(values)).unwrap()
    }

    fn at(now: Instant) -> Exchange {
        Exchange {
            sent: now,
            now,
            generation: 1,
        }
    }

    #[test]
    fn what_is_heard_while_an_answer_is_under_way_is_not_forgotten() {
        let now = Instant::now();
        let mut state = follower(now);
        let held = || reply("held", &[3000], &["0", "birth", "branch"]);
        assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
        state.answered(Ask::Look, held(), at(now)).unwrap();
        assert!(state.next(now, 1).is_none(), "all is known");

        let now = now + Duration::from_secs(1);
        assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
        // Released, after this was executed and before it is answered.
        state.stirred(b"free", now);
        state.answered(Ask::Look, held(), at(now)).unwrap();
        assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
    }

    /// As when nobody polls a stream whose owner comes and goes.
    #[test]
    fn news_that_nobody_takes_do_not_pile_up() {
        let mut state = follower(Instant::now());
        let owned = News::Owned {
            continuous: true,
            last: 0,
        };
        for _ in 0..1000 {
            for news in [owned.clone(), News::Readers(true), News::Readers(false)] {
                state.tell(news);
            }
            state.tell(News::Disowned);
        }
        assert!(state.news.len() < 5, "{} wait", state.news.len());
    }

    #[test]
    fn nothing_is_read_before_it_is_known_what_became_of_an_append() {
        let now = Instant::now();
        let mut state = follower(now);
        let mine = reply("mine", &[1, 0, 1], &["birth", "branch", "1"]);
        assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
        state.answered(Ask::Look, mine, at(now)).unwrap();
        assert_eq!(state.next(now, 1).unwrap().0, Ask::Read);
        let none = Reply::read(Value::Array(vec![Value::BulkString(b"none".to_vec())]));
        state.answered(Ask::Read, none.unwrap(), at(now)).unwrap();
        assert!(state.start_append(now));

        // Its answer is lost, and the lease ends meanwhile.
        let now = now + Duration::from_secs(4);
        assert!(state.next(now, 1).is_none());
        assert_eq!(state.take_news().back(), Some(&News::Disowned));
        state.stirred(b"record", now);
        let cx = &Context::from_waker(Waker::noop());
        assert!(state.poll_news(cx).is_pending());
        assert!(state.next(now, 1).is_none());
    }
}
