//! The task of one stream: it makes the connections match what the session
//! decides, and moves bytes from the upstream into the log.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep};

use super::finish::Finish;
use super::gap::{Announced, announced_gap};
use super::id::is_header_safe;
use super::keeper::Keeper;
use super::policy::{Ids, Kind, UpstreamResume};
use super::registry::Registry;
use super::session::{Session, State};
use super::source::{Answer, BoxError, Source, UpstreamBody};
use super::stream::{Account, Orders, Phase, STREAM_COST, Stream};
use super::upstream::{Arrival, Connection, Upstream};
use super::writer::{Accepted, Writer};
use crate::journal::News;
use crate::log::{Ending, Hold, SeamKind};
use crate::observe::{GapReason, Signal};
use crate::wire::{Block, Decoder, EventTooLarge, Frame, encode_comment};

mod journaled;
mod orders;

/// A batch is published once it holds this many bytes, whatever else is ready.
const BATCH_BYTES: usize = 64 << 10;

/// Moves one stream's bytes. Made together with its [`Stream`]; runs until the
/// stream is forgotten.
#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
pub struct Pump {
    stream: Arc<Stream>,
    registry: Weak<Registry>,
    source: Option<Arc<dyn Source>>,
    session: Session,
    decoder: Decoder,
    writer: Writer,
    finish: Finish,
    upstream: Upstream,
    timer: Option<Timer>,
    /// When a gathered batch must be published.
    flush_at: Option<Instant>,
    /// The log has no room: what is decoded waits, and the upstream with it.
    blocked: bool,
    /// The next upstream connection is to begin from scratch.
    afresh: bool,
    /// When that was last asked for.
    reset_at: Option<Instant>,
    /// Whether the upstream was asked for what follows an id.
    asked: bool,
    /// Whether readers were told that the upstream is given up.
    failed: bool,
    /// Where the stream outlives this process, while something is kept there.
    keeper: Option<Box<Keeper>>,
    /// Readers in this process.
    readers: usize,
    /// It is over, and nobody is to find it.
    forgotten: bool,
    /// It runs although nobody reads it, and is counted as such.
    detached: bool,
    /// Another process is to have the upstream, as soon as one wants it.
    handing_over: bool,
    /// The process ends: nobody reads here again.
    parting: bool,
    /// What is here of the stream is of no more use.
    torn: bool,
    batch_events: usize,
    batch_bytes: usize,
    /// What came and was published since other tasks had their turn.
    run: Run,
}

/// An amount of events, and of chunks they came in.
#[derive(Default)]
struct Run {
    events: usize,
    bytes: usize,
}

/// How a stream begins.
pub enum Beginning {
    /// With an upstream that has just answered.
    Live {
        /// What it sends.
        body: UpstreamBody,
        /// Whether it says itself that it does not go on from the id it was
        /// given.
        gap: bool,
    },
    /// Without one: it is sought while readers are held.
    Held,
    /// As a journal says: it follows another process, or goes on where one left
    /// off.
    Kept,
}

struct Timer {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

enum Wake {
    Orders(Orders),
    Upstream(Arrival),
    News(News),
    Room,
    Time,
}

impl Pump {
    pub(super) fn new(
        stream: Arc<Stream>,
        registry: &Arc<Registry>,
        source: Option<Arc<dyn Source>>,
        beginning: Beginning,
        opened_with: Option<Bytes>,
        keeper: Option<Keeper>,
    ) -> Self {
        let policy = &stream.policy;
        let now = Instant::now();
        let terms = policy.terms();
        let asked = opened_with.is_some();
        let mut writer = Writer::new(stream.epoch(), policy.rules(), opened_with);
        let (session, upstream) = match beginning {
            Beginning::Live { body, gap } => {
                writer.begin_connection(asked);
                if gap {
                    writer.announce(Announced { lost: None });
                }
                let connection = Connection::new(body, &policy.observer, now);
                (Session::live(terms, now), Upstream::Open(connection))
            }
            Beginning::Held => (Session::held(terms, now, fastrand::f64()), Upstream::None),
            Beginning::Kept => {
                let mut session = Session::following(terms, now);
                if let Some(keeper) = &keeper {
                    session.restore(&keeper.saved, now);
                }
                (session, Upstream::None)
            }
        };
        if let Some(source) = &source {
            stream.set_source(source);
        }
        policy.observer.observe(Signal::StreamOpened);
        if keeper.as_ref().is_some_and(|keeper| !keeper.is_durable()) {
            policy.observer.observe(Signal::Durable(false));
        }
        registry.charge(STREAM_COST);
        if stream.is_owned() {
            registry.owners().add(&stream);
        }
        Self {
            session,
            upstream,
            source,
            registry: Arc::downgrade(registry),
            decoder: Decoder::new(policy.max_event_bytes),
            writer,
            finish: Finish::new(Arc::clone(&policy.finish), policy.responses),
            timer: None,
            flush_at: None,
            blocked: false,
            afresh: false,
            reset_at: None,
            asked,
            failed: false,
            keeper: keeper.map(Box::new),
            readers: 0,
            forgotten: false,
            detached: false,
            handing_over: false,
            parting: false,
            torn: false,
            batch_events: (policy.limits.events / 4).max(1),
            batch_bytes: (policy.limits.bytes / 4).clamp(1, BATCH_BYTES),
            run: Run::default(),
            stream,
        }
    }

    /// Runs until the stream is forgotten.
    ///
    /// Boxed, because a future has room for `self` once per place it is moved
    /// to: by value, every stream cost 2.8 KiB more.
    pub async fn run(mut self: Box<Self>) {
        self.count_kept();
        loop {
            self.settle().await;
            let over = self.session.is_over() || self.parting;
            if self.torn || over && self.stream.leave() {
                return;
            }
            self.set_timer();
            match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Orders(orders) => self.obey(orders),
                Wake::Upstream(Arrival::Opened(answer, since)) => self.opened(answer, since),
                Wake::Upstream(Arrival::Data(data)) => {
                    // Counted as well: an upstream that is always ready, and
                    // says nothing that is published, must not run alone.
                    self.run.events += 1;
                    self.decoder.push(data);
                    self.work().await;
                }
                Wake::Upstream(Arrival::Closed(how)) => self.closed(how).await,
                Wake::News(news) => self.heed(news).await,
                Wake::Room => self.work().await,
                Wake::Time => self.tick().await,
            }
        }
    }

    /// Orders first, so that a stream under a flood can still be ended.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Poll::Ready(orders) = self.stream.poll_orders(cx) {
            return Poll::Ready(Wake::Orders(orders));
        }
        if let Some(timer) = &mut self.timer
            && timer.sleep.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Wake::Time);
        }
        let room = !self.blocked || self.stream.log.poll_room(self.hold(), cx).is_ready();
        // One that follows takes in nothing it has no room for.
        if let Some(keeper) = &mut self.keeper
            && (room || !keeper.follows())
            && let Poll::Ready(news) = keeper.poll_news(cx)
        {
            return Poll::Ready(Wake::News(news));
        }
        if self.blocked {
            return if room {
                Poll::Ready(Wake::Room)
            } else {
                Poll::Pending
            };
        }
        self.upstream.poll(cx).map(Wake::Upstream)
    }

    /// Waiting changes no deadline, so this need not be asked at each poll.
    fn set_timer(&mut self) {
        let expiry = self.stream.log.next_expiry(self.hold(), Instant::now());
        let deadlines = [self.session.deadline(), self.flush_at, expiry];
        let Some(at) = deadlines.into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        let timer = self.timer.get_or_insert_with(|| Timer {
            sleep: Box::pin(tokio::time::sleep_until(at)),
            at,
        });
        if timer.at != at {
            timer.at = at;
            timer.sleep.as_mut().reset(at);
        }
    }

    // === What happened ===

    fn opened(&mut self, answer: Result<Answer, BoxError>, since: Instant) {
        let now = Instant::now();
        let observer = Arc::clone(&self.stream.policy.observer);
        self.upstream = Upstream::None;
        match answer {
            Ok(Answer::Stream { body, gap }) => {
                observer.observe(Signal::UpstreamHead(now.duration_since(since)));
                self.session.opened(now);
                self.decoder = Decoder::new(self.stream.policy.max_event_bytes);
                self.writer.begin_connection(self.asked);
                if gap {
                    self.writer.announce(Announced { lost: None });
                }
                self.upstream = Upstream::Open(Connection::new(body, &observer, now));
            }
            Ok(Answer::Refused(refusal)) => {
                tracing::debug!(status = refusal.status, "upstream refused to go on");
                self.session.refused(refusal, now, fastrand::f64());
            }
            Err(error) => {
                tracing::debug!(%error, "upstream not reached");
                self.session.unreachable(now, fastrand::f64());
            }
        }
    }

    async fn closed(&mut self, how: Result<(), BoxError>) {
        self.publish().await;
        if let Err(error) = &how {
            tracing::debug!(%error, "upstream connection lost");
        }
        self.session
            .closed(how.is_ok(), Instant::now(), fastrand::f64());
        self.upstream = Upstream::None;
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if self.flush_at.is_some_and(|at| now >= at) {
            self.publish().await;
        }
        self.session.tick(now, fastrand::f64());
        let change = self.stream.log.trim(self.hold(), now);
        self.account(change);
        if change != 0 {
            journaled::trim(self.keeper.as_deref_mut(), &self.stream.log);
        }
    }

    // === From the decoder into the log ===

    /// Decodes and publishes while there is room.
    async fn work(&mut self) {
        let now = Instant::now();
        self.unblock(now);
        loop {
            match self.decoder.next_frame() {
                Ok(Some(Frame::Block(block))) => self.accept(&block, now),
                Ok(Some(Frame::Comment(text))) => self.comment(&text),
                Ok(None) => break,
                Err(error) => return self.too_large(&error).await,
            }
            if self.writer.events() < self.batch_events && self.writer.bytes() < self.batch_bytes {
                continue;
            }
            self.publish().await;
            if !self.stream.log.has_room(self.hold()) {
                return self.block();
            }
            self.rest().await;
        }
        if self.stream.policy.batch.is_zero() {
            self.publish().await;
        } else if !self.writer.is_empty() && self.flush_at.is_none() {
            self.flush_at = Instant::now().checked_add(self.stream.policy.batch);
        }
        if !self.stream.log.has_room(self.hold()) {
            self.block();
        }
        self.rest().await;
    }

    /// Readers that were woken get to run before the log moves on: a burst must
    /// not outrun those that keep up, be it one chunk or many that are ready.
    async fn rest(&mut self) {
        if self.run.events >= self.batch_events || self.run.bytes >= self.batch_bytes {
            self.run = Run::default();
            tokio::task::yield_now().await;
        }
    }

    fn unblock(&mut self, now: Instant) {
        if std::mem::take(&mut self.blocked) {
            self.session.blocked(false, now);
        }
    }

    fn block(&mut self) {
        self.blocked = true;
        self.session.blocked(true, Instant::now());
    }

    fn accept(&mut self, block: &Block, now: Instant) {
        if let Some(retry) = block.retry {
            self.session.retry(Duration::from_millis(retry));
        }
        let accepted = self.writer.accept(block, &self.stream.log);
        if accepted == Accepted::Noted {
            return;
        }
        self.session.event(now);
        if self.stream.policy.defers && self.writer.ids() == Ids::Preserve {
            self.session.leave_to_upstream();
        } else if self.finish.is_last(block) {
            self.session.finished();
        }
        if let Accepted::Appended(Some(SeamKind::Gap { lost })) = accepted {
            self.report_gap(lost);
        }
    }

    fn report_gap(&self, lost: Option<u64>) {
        self.observe(Signal::Gap(GapReason::Upstream));
        let text = "gap: the upstream reconnected, and cannot show that nothing was lost, \
                    or says that something was";
        // A backend that restarts does this to every private stream at once.
        match self.stream.policy.kind {
            Kind::Shared => tracing::info!(lost, "{text}"),
            Kind::Private | Kind::OneShot => tracing::debug!(lost, "{text}"),
        }
    }

    /// A courtesy, and forgotten, unless it tells of a gap: that one must reach
    /// those who are away just now, too.
    fn comment(&mut self, text: &[u8]) {
        if let Some(gap) = announced_gap(text) {
            return self.writer.announce(gap);
        }
        let mut line = BytesMut::with_capacity(text.len() + 2);
        encode_comment(&mut line, text);
        self.stream.log.comment(self.writer.last(), line.freeze());
    }

    async fn too_large(&mut self, error: &EventTooLarge) {
        tracing::error!(%error, "upstream connection closed");
        self.publish().await;
        self.session.broken("event too large", Instant::now());
        self.upstream = Upstream::None;
    }

    /// Journal first, readers second: nobody sees what the journal has not.
    async fn publish(&mut self) {
        self.flush_at = None;
        if self.writer.is_empty() {
            return;
        }
        let batch = self.writer.take();
        self.run.events += batch.entries.len();
        self.run.bytes += batch.bytes.len();
        let Some(batch) = self.keep(batch).await else {
            return;
        };
        self.observe(Signal::EventsIn(batch.entries.len() as u64));
        let change = self.stream.log.publish(&batch, self.hold(), Instant::now());
        self.account(change);
    }

    fn account(&self, change: i64) {
        if change == 0 {
            return;
        }
        self.observe(Signal::Buffered(change));
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        if registry.charge(change) {
            // Nobody unread is left to evict: give up half of what we retain.
            let freed = self.stream.log.give_up(false);
            registry.charge(freed);
            self.observe(Signal::Buffered(freed));
        }
    }

    /// What a journal gave back is in memory like all else.
    fn count_kept(&self) {
        if self.keeper.is_some() {
            self.account(self.stream.log.trim(self.hold(), Instant::now()));
        }
    }

    /// What may be trimmed while the stream is live.
    fn hold(&self) -> Hold {
        match self.stream.policy.kind {
            // Its readers must not be slowed by the slowest of them.
            Kind::Shared => Hold::Nothing,
            // One client, one upstream: it sets the pace, as without a proxy.
            Kind::Private => Hold::Unread,
            // Those who read elsewhere have it from the journal.
            Kind::OneShot if self.is_read_elsewhere_only() => Hold::Nothing,
            // A one-shot cannot be asked for again: wait for a reader.
            Kind::OneShot => Hold::UntilRead,
        }
    }

    // === Making things match the session's state ===

    async fn settle(&mut self) {
        if self.handing_over && self.hand_over().await {
            self.handing_over = false;
        }
        self.failed &= self.session.state() == State::Failed;
        let phase = match self.session.state() {
            State::Connecting => {
                self.connect().await;
                Phase::Active
            }
            State::Live => Phase::Active,
            State::BackingOff { .. } => {
                self.disconnect().await;
                Phase::Active
            }
            State::Following => {
                self.disconnect().await;
                if self.is_waiting() {
                    Phase::Waiting
                } else {
                    Phase::Active
                }
            }
            State::Dormant => {
                self.disconnect().await;
                if self.rests_in_journal() {
                    self.session.evict();
                }
                Phase::Resting
            }
            State::Failed => {
                self.disconnect().await;
                // Once: readers that come later are not concerned.
                if !std::mem::replace(&mut self.failed, true) {
                    self.stream.log.abort_readers("upstream gone");
                    // Those who read elsewhere hear it from whoever tries next.
                    self.hand_over().await;
                }
                Phase::Resting
            }
            State::Ended(end) => {
                self.disconnect().await;
                if self.forgotten {
                    self.forget_kept().await;
                    self.torn = true;
                }
                self.keep_end(end).await;
                self.count_answer(end);
                self.stream.finish(end);
                Phase::Ended(end)
            }
        };
        self.keep_doubt().await;
        self.count_detached(phase);
        self.stream.set_account(Account {
            phase,
            doubtful: self.is_doubtful(),
            follows: self.follows(),
        });
    }

    /// Whether a gap is to be feared that the log does not know of yet.
    fn is_doubtful(&self) -> bool {
        if let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.follows()) {
            return keeper.saved.doubtful;
        }
        let connected = matches!(self.upstream, Upstream::Open(_));
        let unjudged = !connected || self.writer.seam_is_open();
        let promised = match (self.stream.policy.resume, &self.upstream) {
            (UpstreamResume::None, _) => false,
            (UpstreamResume::Snapshot, _) => true,
            (UpstreamResume::LastEventId, Upstream::None) => !self.afresh && self.can_ask(),
            (UpstreamResume::LastEventId, _) => self.asked,
        };
        self.writer.has_gap() || (unjudged && !promised)
    }

    /// Whether the upstream can be asked to go on from where it was. An id that
    /// does not travel well in a header asks for something else, or nothing.
    fn can_ask(&self) -> bool {
        let last_id = self.writer.last_id();
        last_id.is_some_and(|id| is_header_safe(id))
    }

    async fn connect(&mut self) {
        // A reset concerns the attempt under way as well.
        if matches!(self.upstream, Upstream::Opening(..)) && !self.afresh {
            return;
        }
        self.disconnect().await;
        let now = Instant::now();
        let Some(source) = &self.source else {
            self.session.unreachable(now, fastrand::f64());
            return;
        };
        self.observe(Signal::UpstreamReconnect);
        self.asked = !self.afresh && self.can_ask();
        self.afresh = false;
        let after = self.writer.last_id().filter(|_| self.asked).cloned();
        self.upstream = Upstream::Opening(source.open(after), now);
    }

    /// What was decoded is published; an unfinished block is dropped with the
    /// connection that owed its end.
    async fn disconnect(&mut self) {
        self.upstream = Upstream::None;
        self.decoder = Decoder::new(self.stream.policy.max_event_bytes);
        self.unblock(Instant::now());
        self.publish().await;
    }

    fn observe(&self, signal: Signal) {
        self.stream.policy.observer.observe(signal);
    }
}

/// However it goes: forgotten, never run, or taken down by a panic of the
/// service it called. A stream that nobody moves must not be found, and its
/// readers must not wait for it.
impl Drop for Pump {
    fn drop(&mut self) {
        self.stream.abandon();
        // Before the keeper: whoever is owner next connects at once.
        self.upstream = Upstream::None;
        self.drop_keeper();
        if self.stream.log.ending().is_none() {
            self.stream.log.end(Ending::Aborted("stream abandoned"));
        }
        let freed = self.stream.log.give_up(true);
        if let Some(registry) = self.registry.upgrade() {
            for key in self.stream.keys() {
                registry.remove(key, &self.stream);
            }
            if self.stream.is_owned() {
                registry.owners().remove(&self.stream);
            }
            registry.charge(freed - STREAM_COST);
        }
        self.observe(Signal::Buffered(freed));
        self.observe(Signal::StreamClosed);
    }
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump")
            .field("stream", &self.stream)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Live { .. } => "Live",
            Self::Held => "Held",
            Self::Kept => "Kept",
        })
    }
}
