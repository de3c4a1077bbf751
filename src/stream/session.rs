//! The decision maker: what to do about an upstream, and when.
//!
//! A [`Session`] does no I/O and reads no clock: what happened and the time go
//! in, a [`State`] comes out, and whoever drives it makes the connections match
//! the state. After any input, [`Session::deadline`] says when to call
//! [`Session::tick`].
//!
//! ```text
//!              opened            closed, idle
//!  Connecting ────────▶ Live ─────────────────▶ BackingOff ──▶ Connecting …
//!       │  refused, unreachable ▲ └─────────────────▲  │ time
//!       └───────────────────────┴───────────────────┘
//!  no reader for `linger`:  any of these ▶ Dormant  (a reader ▶ Connecting)
//!  down for `give_up_after`: ▶ Failed               (a reader ▶ Connecting)
//!  another process owns the upstream: any of these ▶ Following (owned ▶ Connecting)
//!  204, 401, 403, 404, 410, end of a one-shot, or after the last event, a stop: ▶ Ended
//!  Dormant, Failed, Ended and unread for `retain`: ▶ Gone
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::policy::{DEFAULT_LINGER, Linger, Reconnect};
use super::saved::Saved;
use super::source::Refusal;
use crate::log::Ending;

/// What an upstream may ask to be left alone for: a year.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a session is told once.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether the upstream's answer ends, once, for good (one-shot).
    pub finite: bool,
    /// Whether its last event can be told from the others: then its end without
    /// that is none.
    pub marked: bool,
    /// Life without readers.
    pub linger: Linger,
    /// How long a one-shot that nobody reads may run, from its beginning on.
    pub max_runtime: Duration,
    /// Time kept after the end, or after the last reader.
    pub retain: Duration,
    /// How the upstream is sought again.
    pub reconnect: Reconnect,
    /// How long a first upstream connection is waited for.
    pub hold: Duration,
    /// Silence that counts as the end of an upstream connection.
    pub upstream_idle: Option<Duration>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The request is to be sent, or on its way.
    Connecting,
    /// The upstream's body is to be read.
    Live,
    /// Nothing is to be done until then.
    BackingOff {
        /// When to connect again.
        until: Instant,
    },
    /// Another process has the upstream: what it appends to the journal is
    /// followed.
    Following,
    /// Nobody reads: the upstream connection is closed, the log kept.
    Dormant,
    /// The upstream could not be reached for too long: readers are aborted.
    Failed,
    /// The stream is over.
    Ended(End),
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream finished it (or was cut, and cannot be asked again).
    Upstream(Ending),
    /// The upstream refused to go on with this status, which is the answer to
    /// whoever comes back.
    Status(u16),
}

/// The life of one stream.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
pub struct Session {
    terms: Terms,
    state: State,
    backoff: Backoff,
    readers: usize,
    /// Since when nobody reads.
    alone_since: Option<Instant>,
    /// Since when there is no upstream.
    down_since: Option<Instant>,
    /// Whether there ever was one.
    was_live: bool,
    begun: Instant,
    /// The last event has come.
    finished: bool,
    /// Last sign of life of the upstream.
    heard: Instant,
    /// When the state last became one that is retained.
    rest_since: Instant,
    /// Since when a full buffer keeps the upstream from being read.
    blocked_since: Option<Instant>,
    /// The upstream is another process's, or nobody's yet.
    disowned: bool,
    /// Nothing is left to wait for.
    over: bool,
}

impl Session {
    /// A session whose upstream has just answered.
    pub fn live(terms: Terms, now: Instant) -> Self {
        let mut session = Self::new(terms, State::Live, now);
        session.was_live = true;
        session
    }

    /// A session whose first upstream could not be had: readers are held.
    pub fn held(terms: Terms, now: Instant, jitter: f64) -> Self {
        let mut session = Self::new(terms, State::Connecting, now);
        session.back_off(now, jitter, None);
        session
    }

    /// A session of a stream that came from a journal: its upstream is another
    /// process's, until this one is said to own it.
    pub fn following(terms: Terms, now: Instant) -> Self {
        let mut session = Self::new(terms, State::Following, now);
        session.was_live = true;
        session.disowned = true;
        session
    }

    fn new(terms: Terms, state: State, now: Instant) -> Self {
        Self {
            terms,
            state,
            backoff: Backoff::new(terms.reconnect),
            readers: 0,
            alone_since: Some(now),
            down_since: None,
            was_live: false,
            begun: now,
            finished: false,
            heard: now,
            rest_since: now,
            blocked_since: None,
            disowned: false,
            over: false,
        }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether nothing is left to wait for, so that the stream may be forgotten.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the upstream is not to be asked again.
    fn is_once(&self) -> bool {
        self.terms.finite || self.finished
    }

    fn is_active(&self) -> bool {
        matches!(
            self.state,
            State::Connecting | State::Live | State::BackingOff { .. } | State::Following
        )
    }

    // === Inputs ===

    /// The upstream answered with an event stream.
    pub fn opened(&mut self, now: Instant) {
        if self.state == State::Connecting {
            self.state = State::Live;
            self.was_live = true;
            self.down_since = None;
            self.blocked_since = None;
            self.heard = now;
        }
    }

    /// The upstream answered with something else.
    pub fn refused(&mut self, refusal: Refusal, now: Instant, jitter: f64) {
        if self.state != State::Connecting {
            return;
        }
        match refusal.status {
            204 => self.complete(now),
            status @ (401 | 403 | 404 | 410) => self.rest(State::Ended(End::Status(status)), now),
            _ => self.back_off(now, jitter, refusal.retry_after),
        }
    }

    /// The upstream could not be asked.
    pub fn unreachable(&mut self, now: Instant, jitter: f64) {
        if self.state == State::Connecting {
            self.back_off(now, jitter, None);
        }
    }

    /// An event came.
    pub fn event(&mut self, now: Instant) {
        self.heard = now;
        self.backoff.reset();
    }

    /// The last event came: whatever the upstream does now, nothing is missing.
    pub fn finished(&mut self) {
        self.finished = true;
    }

    /// Whether it did.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The upstream keeps its streams itself, for clients to come back to: this
    /// one ends when and how its connection does.
    pub fn leave_to_upstream(&mut self) {
        self.terms.finite = true;
        self.terms.marked = false;
        self.terms.linger = Linger::For(Duration::ZERO);
    }

    /// The upstream set its reconnection time.
    pub fn retry(&mut self, time: Duration) {
        self.backoff.ask(time);
    }

    /// The upstream's body ended, cleanly or not.
    pub fn closed(&mut self, clean: bool, now: Instant, jitter: f64) {
        if self.state != State::Live {
            return;
        }
        match (self.is_once(), clean, self.terms.marked) {
            (false, ..) => self.back_off(now, jitter, None),
            (true, true, false) => self.complete(now),
            (true, true, true) => self.truncate("upstream ended before its last event", now),
            (true, false, _) => self.truncate("upstream cut", now),
        }
    }

    /// The upstream broke a rule that asking again would not mend.
    pub fn broken(&mut self, reason: &'static str, now: Instant) {
        if self.state != State::Live {
            return;
        }
        if self.is_once() {
            self.truncate(reason, now);
        } else {
            self.rest(State::Failed, now);
        }
    }

    /// So many readers are attached.
    pub fn readers(&mut self, readers: usize, now: Instant) {
        self.readers = readers;
        if readers == 0 {
            self.alone_since.get_or_insert(now);
            return;
        }
        self.alone_since = None;
        self.over = false;
        // ## Dormant, Failed => Connecting, Following: somebody wants it again.
        if matches!(self.state, State::Dormant | State::Failed) {
            self.seek(now);
        }
    }

    /// The upstream is another process's from now on.
    pub fn disowned(&mut self, now: Instant) {
        self.disowned = true;
        if !matches!(self.state, State::Ended(_)) {
            self.rest(State::Following, now);
        }
    }

    /// The upstream is this process's from now on.
    pub fn owned(&mut self, now: Instant) {
        self.disowned = false;
        if self.state != State::Following {
            return;
        }
        if self.is_once() {
            // Whoever had it is gone, and it cannot be asked again.
            self.truncate("upstream cut", now);
        } else {
            self.seek(now);
        }
    }

    /// It is to go no further: not that nobody reads it, but that nobody is to.
    pub fn stop(&mut self, reason: &'static str, now: Instant) {
        if !matches!(self.state, State::Ended(_)) {
            self.truncate(reason, now);
        }
    }

    /// What is known of the stream from its owner.
    pub(crate) fn restore(&mut self, saved: &Saved, now: Instant) {
        self.finished |= saved.finished;
        if let Some(end) = saved.end {
            self.rest(State::Ended(end), now);
        }
    }

    /// The buffer is full and the upstream not read, or read again.
    ///
    /// An upstream that is not read cannot be heard, and a one-shot that is to
    /// run to its end cannot get there while nobody reads it.
    pub fn blocked(&mut self, blocked: bool, now: Instant) {
        if blocked {
            self.blocked_since.get_or_insert(now);
        } else if self.blocked_since.take().is_some() {
            self.heard = now;
        }
    }

    /// A fresh upstream connection is asked for.
    pub fn reset(&mut self, now: Instant) {
        if self.state == State::Live && !self.is_once() {
            self.state = State::Connecting;
            self.down_since = Some(now);
        }
    }

    /// The stream's memory is needed elsewhere.
    pub fn evict(&mut self) {
        self.over = self.readers == 0;
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant, jitter: f64) {
        if self.linger_end().is_some_and(|at| now >= at) {
            // ## Connecting, Live, BackingOff => Dormant, or Ended.
            if self.is_once() && !self.disowned {
                self.truncate("nobody read it", now);
            } else {
                self.rest(State::Dormant, now);
            }
        }
        if self.give_up_at().is_some_and(|at| now >= at) {
            self.rest(State::Failed, now);
        }
        match self.state {
            State::BackingOff { until } if now >= until => self.state = State::Connecting,
            State::Live if self.idle_at().is_some_and(|at| now >= at) => {
                self.closed(false, now, jitter);
            }
            _ => {}
        }
        if self.forget_at().is_some_and(|at| now >= at) {
            self.over = true;
        }
    }

    /// When to call [`tick`](Self::tick), if ever.
    pub fn deadline(&self) -> Option<Instant> {
        let backoff = match self.state {
            State::BackingOff { until } => Some(until),
            _ => None,
        };
        [
            backoff,
            self.linger_end(),
            self.give_up_at(),
            self.idle_at(),
            self.forget_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // === Deadlines. A time that cannot be represented never comes. ===

    fn linger_end(&self) -> Option<Instant> {
        let alone = self.alone_since.filter(|_| self.is_active())?;
        match self.terms.linger {
            Linger::For(time) => alone.checked_add(time),
            Linger::Complete if !self.terms.finite || self.disowned => {
                alone.checked_add(DEFAULT_LINGER)
            }
            Linger::Complete => [
                // Whoever left just now has the usual time to come back.
                self.begun
                    .checked_add(self.terms.max_runtime)
                    .map(|at| at.max(alone.checked_add(DEFAULT_LINGER).unwrap_or(at))),
                // If it cannot go on, a client may come back and make room.
                self.blocked_since
                    .and_then(|at| alone.max(at).checked_add(self.terms.retain)),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    fn give_up_at(&self) -> Option<Instant> {
        let time = if self.was_live {
            self.terms.reconnect.give_up_after
        } else {
            self.terms.hold
        };
        let since = self.down_since.filter(|_| self.is_active())?;
        since.checked_add(time)
    }

    fn idle_at(&self) -> Option<Instant> {
        let time = self.terms.upstream_idle?;
        let listening = self.state == State::Live && self.blocked_since.is_none();
        listening.then(|| self.heard.checked_add(time))?
    }

    fn forget_at(&self) -> Option<Instant> {
        let resting = matches!(self.state, State::Dormant | State::Failed | State::Ended(_));
        let alone = self.alone_since.filter(|_| resting)?;
        alone.max(self.rest_since).checked_add(self.terms.retain)
    }

    // === Transitions ===

    fn seek(&mut self, now: Instant) {
        if self.disowned {
            self.rest(State::Following, now);
            return;
        }
        self.state = State::Connecting;
        self.down_since = Some(now);
        self.backoff.reset();
    }

    fn back_off(&mut self, now: Instant, jitter: f64, floor: Option<Duration>) {
        if self.is_once() {
            return self.truncate("upstream cut", now);
        }
        let delay = self.backoff.next(jitter, floor);
        self.down_since.get_or_insert(now);
        // A delay past the end of time would be none at all; giving up, or the
        // last reader, comes long before this one.
        let delay = delay.min(LONGEST_DELAY);
        self.state = State::BackingOff {
            until: now.checked_add(delay).unwrap_or(now),
        };
    }

    /// Ends it, for this reason unless nothing is missing.
    fn truncate(&mut self, reason: &'static str, now: Instant) {
        if self.finished {
            return self.complete(now);
        }
        self.rest(State::Ended(End::Upstream(Ending::Aborted(reason))), now);
    }

    fn complete(&mut self, now: Instant) {
        self.rest(State::Ended(End::Upstream(Ending::Complete)), now);
    }

    fn rest(&mut self, state: State, now: Instant) {
        self.state = state;
        self.down_since = None;
        self.rest_since = now;
    }
}
