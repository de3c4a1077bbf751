//! One stream as others see it: found, attached to, asked how it stands.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::epochs::Epochs;
use super::id::{Epoch, EventId};
use super::key::Key;
use super::policy::{Ids, Kind, Linger, Marker, Reconnect, UpstreamResume};
use super::session::End;
use super::source::Source;
use crate::log::{Attached, Ending, Limits, Log, Next, Position, Ring};
use crate::observe::{Observer, Signal};

/// What is decided about a stream when it comes into being.
#[derive(Clone)]
pub struct Policy {
    /// Its kind.
    pub kind: Kind,
    /// Who decides the ids.
    pub ids: Ids,
    /// What a new upstream connection does.
    pub resume: UpstreamResume,
    /// What is retained while it is live.
    pub limits: Limits,
    /// What its last event looks like, where that can be told.
    pub finish: Arc<[Marker]>,
    /// JSON-RPC responses its last event is the last of.
    pub responses: usize,
    /// Whether an upstream that sends ids is left to keep its streams itself.
    pub defers: bool,
    /// Life without readers.
    pub linger: Linger,
    /// How long a one-shot that nobody reads may run.
    pub max_runtime: Duration,
    /// So many streams of one principal may run with nobody reading them.
    pub max_detached: usize,
    /// Time kept after its end or its last reader.
    pub retain: Duration,
    /// How its upstream is sought again.
    pub reconnect: Reconnect,
    /// How long a first upstream connection is waited for.
    pub hold: Duration,
    /// Time to gather events before publishing.
    pub batch: Duration,
    /// Silence that counts as the end of an upstream connection.
    pub upstream_idle: Option<Duration>,
    /// Largest event taken from upstream.
    pub max_event_bytes: usize,
    /// Type of the in-band gap event.
    pub gap_event: Option<String>,
    /// Leave out the upstream's `retry:`.
    pub strip_retry: bool,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("kind", &self.kind)
            .field("ids", &self.ids)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// Counted for each stream beside its blocks: its task, head and table entries.
/// It makes streams nobody reads give way even if they are empty.
pub(crate) const STREAM_COST: i64 = 4 << 10;

/// Response headers in one small allocation each, free of the buffers they
/// were read from.
pub type Head = Box<[(HeaderName, HeaderValue)]>;

/// What a stream is called, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// What it is found by.
    pub(crate) key: Key,
    /// Another key it is found by.
    pub(crate) alias: Option<Key>,
    /// What its application calls it.
    pub(crate) name: Option<Box<str>>,
    /// Keyed hash of whose it is; `None` is nobody's in particular.
    pub(crate) principal: Option<[u8; 32]>,
    /// The resource it belongs to: an id is no use on another.
    pub(crate) scope: Box<[u8]>,
}

/// One resumable sequence of events.
pub struct Stream {
    pub(crate) key: Key,
    /// Another key it is found by.
    pub(crate) alias: Option<Key>,
    /// What its application calls it.
    pub(crate) name: Option<Box<str>>,
    // Locked for a look or an assignment, never together with anything else.
    epochs: Mutex<Epochs>,
    pub(crate) policy: Policy,
    /// What the first answer's head said, for later ones.
    pub(crate) head: Head,
    /// Keyed hash of whose it is; `None` is nobody's in particular.
    pub(crate) principal: Option<[u8; 32]>,
    /// The resource it belongs to: an id is no use on another.
    pub(crate) scope: Box<[u8]>,
    pub(crate) log: Arc<Log>,
    /// How its pump asks the upstream again.
    source: OnceLock<Weak<dyn Source>>,
    // Locked for a few assignments, never together with anything else.
    control: Mutex<Control>,
    /// From when to when, in milliseconds, clients are told to come back by the
    /// last line they are sent, once they are asked to leave.
    farewell: OnceLock<(u32, u32)>,
}

/// How the stream and its pump talk to each other.
struct Control {
    readers: usize,
    unread_since: Option<Instant>,
    account: Account,
    /// What the pump has not seen yet.
    wishes: Option<Wishes>,
    pump: Option<Waker>,
}

/// What others want of a pump, beside readers coming and going.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
pub(crate) struct Wishes {
    pub(crate) evict: bool,
    pub(crate) reset: bool,
    pub(crate) hand_over: bool,
    pub(crate) part: bool,
    pub(crate) stop: Option<Stop>,
}

/// Why a stream is to end now, and what is to become of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) reason: &'static str,
    /// Nobody is to find it any more.
    pub(crate) forget: bool,
}

/// What a pump says of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) phase: Phase,
    /// Blocks may be missing at a seam that the log does not know yet.
    pub(crate) doubtful: bool,
    /// The log follows another process's, and may be behind it.
    pub(crate) follows: bool,
}

impl Account {
    const NEW: Self = Self {
        phase: Phase::Active,
        doubtful: false,
        follows: false,
    };
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has an upstream, or seeks one.
    Active,
    /// It has none; a reader will make it seek one.
    Resting,
    /// Its journal is out of reach: whether there is such a stream is not known,
    /// and readers wait until it is.
    Waiting,
    /// It is over.
    Ended(End),
    /// It is forgotten: act as if it were not there.
    Gone,
}

/// How much a stream is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    Read,
    /// Nobody reads it since then.
    Unread(Instant),
    /// It was told to go, or has gone.
    Leaving,
}

/// What the pump finds when it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) readers: usize,
    pub(crate) wishes: Wishes,
}

impl Stream {
    pub(crate) fn new(
        identity: Identity,
        epochs: Epochs,
        policy: Policy,
        head: Head,
        opened_with: Option<&Bytes>,
    ) -> Self {
        let log = Log::new(policy.limits);
        if let Some(id) = opened_with {
            // Whoever else names it stands where this stream begins.
            log.with_mut(|ring| ring.index_base(id));
        }
        Self {
            key: identity.key,
            alias: identity.alias,
            name: identity.name,
            epochs: Mutex::new(epochs),
            policy,
            head,
            principal: identity.principal,
            scope: identity.scope,
            log: Arc::new(log),
            source: OnceLock::new(),
            control: Mutex::new(Control {
                readers: 0,
                unread_since: Some(Instant::now()),
                account: Account::NEW,
                wishes: None,
                pump: None,
            }),
            farewell: OnceLock::new(),
        }
    }

    // Only assignments happen under this lock; see `Log` on poisoning.
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is found by.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.alias)
    }

    /// Its blocks.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// How it stands.
    pub fn phase(&self) -> Phase {
        self.control().account.phase
    }

    /// Whether blocks may be missing at a seam that the log does not know yet.
    pub fn doubtful(&self) -> bool {
        let account = self.control().account;
        self.policy.kind != Kind::OneShot
            && !matches!(account.phase, Phase::Ended(_))
            && account.doubtful
    }

    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under which its next block is published.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epochs().current()
    }

    /// The position that one of our ids names in this stream, if any.
    pub(crate) fn place(&self, id: &EventId) -> Option<u64> {
        let high = self.log.with(Ring::high);
        self.epochs().place(id, high)
    }

    /// Waits for a log that may be behind its owner's: what a client was given
    /// elsewhere is on its way. Not for longer than this; whether it is known.
    pub(crate) async fn reach(&self, known: impl Fn(&Self) -> bool, patience: Duration) -> bool {
        if known(self) || !self.control().account.follows {
            return known(self);
        }
        let mut reader = self.log.attach(Position::Live).reader;
        let reached = async {
            loop {
                let next = std::future::poll_fn(|cx| reader.poll_next(cx)).await;
                if known(self) || matches!(next, Next::Ended(_) | Next::Lagged(_)) {
                    return known(self);
                }
            }
        };
        let reached = tokio::time::timeout(patience, reached).await;
        reached.unwrap_or_else(|_| known(self))
    }

    /// Adds a reader; `None` if the stream was forgotten meanwhile.
    pub fn attach(self: &Arc<Self>, position: Position) -> Option<(Subscription, Attached)> {
        let presence = self.enter()?;
        self.policy.observer.observe(Signal::ClientOpened);
        let subscription = Subscription { presence };
        Some((subscription, self.log.attach(position)))
    }

    /// Makes it count as read; `None` if it was forgotten meanwhile.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Presence> {
        let mut control = self.control();
        if control.account.phase == Phase::Gone {
            return None;
        }
        control.readers += 1;
        control.unread_since = None;
        Self::notify(control);
        Some(Presence {
            stream: Arc::clone(self),
        })
    }

    fn exit(&self) {
        let mut control = self.control();
        control.readers -= 1;
        if control.readers == 0 {
            control.unread_since = Some(Instant::now());
            Self::notify(control);
        }
    }

    /// Asks for a fresh upstream connection.
    pub fn reset(&self) {
        let mut control = self.control();
        control.wishes.get_or_insert_default().reset = true;
        Self::notify(control);
    }

    /// Clients that are asked to leave are told to come back after a time of
    /// this range, each after another. The first range stands.
    pub(crate) fn part_with(&self, least: Duration, most: Duration) {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let _ = self.farewell.set((millis(least), millis(most)));
    }

    /// When the next client that leaves is to come back, in milliseconds.
    pub(crate) fn farewell(&self) -> Option<u64> {
        let (least, most) = *self.farewell.get()?;
        let (least, most) = (u64::from(least), u64::from(most));
        Some(fastrand::u64(least..=most.max(least)))
    }

    /// Asks it to let another process have its upstream, if one wants it.
    pub(crate) fn hand_over(&self) {
        let mut control = self.control();
        control.wishes.get_or_insert_default().hand_over = true;
        Self::notify(control);
    }

    /// Forgets it once nobody reads it here, and all that came is kept: the
    /// process ends.
    pub(crate) fn part(&self) {
        let mut control = self.control();
        control.wishes.get_or_insert_default().part = true;
        Self::notify(control);
    }

    /// Ends it now, for this reason, and its upstream connection with it.
    pub fn stop(&self, reason: &'static str) {
        self.order_stop(Stop {
            reason,
            forget: false,
        });
    }

    /// The same, and nobody is to find it any more, read or not.
    pub fn forget(&self, reason: &'static str) {
        self.order_stop(Stop {
            reason,
            forget: true,
        });
    }

    fn order_stop(&self, stop: Stop) {
        let mut control = self.control();
        control.wishes.get_or_insert_default().stop = Some(stop);
        Self::notify(control);
    }

    /// Whether it is somebody's alone, and might have to be found by that.
    pub(crate) fn is_owned(&self) -> bool {
        self.principal.is_some() && (self.policy.kind == Kind::OneShot || self.policy.defers)
    }

    /// Whether it is to be looked out for that somebody leaves it running.
    pub(crate) fn may_be_left(&self) -> bool {
        self.principal.is_some() && self.policy.kind == Kind::OneShot
    }

    /// Whether it may be evicted, and what for.
    pub(crate) fn standing(&self) -> Standing {
        let control = self.control();
        match control.unread_since {
            _ if control.account.phase == Phase::Gone => Standing::Leaving,
            _ if control.wishes.is_some_and(|wishes| wishes.evict) => Standing::Leaving,
            Some(since) => Standing::Unread(since),
            None => Standing::Read,
        }
    }

    /// What it counts for against the cap on all streams.
    pub(crate) fn cost(&self) -> i64 {
        let bytes = self.log.with(Ring::bytes);
        i64::try_from(bytes).unwrap_or(i64::MAX - STREAM_COST) + STREAM_COST
    }

    /// Forgets it, unless it is read.
    pub(crate) fn evict(&self) {
        let mut control = self.control();
        control.wishes.get_or_insert_default().evict = true;
        Self::notify(control);
    }

    fn notify(mut control: MutexGuard<'_, Control>) {
        control.wishes.get_or_insert_default();
        let pump = control.pump.take();
        drop(control);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    // === The pump's side ===

    pub(crate) fn poll_orders(&self, cx: &mut Context<'_>) -> Poll<Orders> {
        let mut control = self.control();
        let Some(wishes) = control.wishes.take() else {
            control.pump = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(Orders {
            readers: control.readers,
            wishes,
        })
    }

    pub(crate) fn set_account(&self, account: Account) {
        self.control().account = account;
    }

    /// Ends its log, if it has not ended.
    pub(crate) fn finish(&self, end: End) {
        if self.log.ending().is_none() {
            self.log.end(match end {
                End::Upstream(ending) => ending,
                End::Status(_) => Ending::Complete,
            });
        }
    }

    /// Goes on as the journal says it was left.
    pub(crate) fn set_epochs(&self, epochs: Epochs) {
        *self.epochs() = epochs;
    }

    /// What it was published under.
    pub(crate) fn copy_epochs(&self) -> Epochs {
        self.epochs().clone()
    }

    /// Forgets the stream, read or not: its pump is no more.
    pub(crate) fn abandon(&self) {
        self.control().account.phase = Phase::Gone;
    }

    /// How its pump asks the upstream again, said once.
    pub(super) fn set_source(&self, source: &Arc<dyn Source>) {
        let _ = self.source.set(Arc::downgrade(source));
    }

    /// Has the upstream asked with these headers from now on.
    pub(crate) fn renew(&self, headers: &HeaderMap) {
        if let Some(source) = self.source.get().and_then(Weak::upgrade) {
            source.renew(headers);
        }
    }

    /// Forgets the stream, unless somebody attached to it just now.
    pub(crate) fn leave(&self) -> bool {
        let mut control = self.control();
        let unread = control.readers == 0;
        if unread {
            control.account.phase = Phase::Gone;
        }
        unread
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("epoch", &self.epoch())
            .field("kind", &self.policy.kind)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// While it lives, the stream is read.
#[derive(Debug)]
pub(crate) struct Presence {
    stream: Arc<Stream>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stream.exit();
    }
}

/// A reader's share in a stream: while it lives, the stream is read.
#[derive(Debug)]
pub struct Subscription {
    presence: Presence,
}

impl Subscription {
    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.presence.stream
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let observer = &self.stream().policy.observer;
        observer.observe(Signal::ClientClosed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;

    fn stream() -> Arc<Stream> {
        let policy = Policy {
            kind: Kind::Private,
            ids: Ids::Assign,
            resume: UpstreamResume::None,
            limits: Limits::default(),
            finish: Arc::default(),
            responses: 1,
            defers: false,
            linger: Linger::default(),
            max_runtime: Duration::ZERO,
            max_detached: 0,
            retain: Duration::ZERO,
            reconnect: Reconnect::default(),
            hold: Duration::ZERO,
            batch: Duration::ZERO,
            upstream_idle: None,
            max_event_bytes: 0,
            gap_event: None,
            strip_retry: false,
            observer: Arc::new(Silent),
        };
        let epoch = Epoch::private().unwrap();
        let identity = Identity {
            key: Key::Located(epoch.locator().unwrap()),
            alias: None,
            name: None,
            principal: None,
            scope: Box::default(),
        };
        let epochs = Epochs::new(epoch);
        Arc::new(Stream::new(identity, epochs, policy, Head::default(), None))
    }

    #[test]
    fn it_is_not_forgotten_under_a_reader() {
        let stream = stream();
        let client = stream.attach(Position::Live).unwrap();
        assert!(!stream.leave());
        assert_eq!(stream.phase(), Phase::Active);
        drop(client);
        assert!(stream.leave());
        assert_eq!(stream.phase(), Phase::Gone);
        assert!(stream.attach(Position::Live).is_none());
    }
}
