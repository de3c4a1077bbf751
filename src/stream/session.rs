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
//!  204, 401, 403, 404, 410, end of a one-shot: ▶ Ended
//!  Dormant, Failed, Ended and unread for `retain`: ▶ Gone
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::policy::{DEFAULT_LINGER, Linger, Reconnect};
use super::source::Refusal;
use crate::log::Ending;

/// What an upstream may ask to be left alone for: a year.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a session is told once.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether the upstream's answer ends, once, for good (one-shot).
    pub finite: bool,
    /// Life without readers.
    pub linger: Linger,
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
            204 => self.rest(State::Ended(End::Upstream(Ending::Complete)), now),
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

    /// The upstream set its reconnection time.
    pub fn retry(&mut self, time: Duration) {
        self.backoff.ask(time);
    }

    /// The upstream's body ended, cleanly or not.
    pub fn closed(&mut self, clean: bool, now: Instant, jitter: f64) {
        if self.state != State::Live {
            return;
        }
        match (self.terms.finite, clean) {
            (true, true) => self.rest(State::Ended(End::Upstream(Ending::Complete)), now),
            (true, false) => self.truncate("upstream cut", now),
            (false, _) => self.back_off(now, jitter, None),
        }
    }

    /// The upstream broke a rule that asking again would not mend.
    pub fn broken(&mut self, reason: &'static str, now: Instant) {
        if self.state != State::Live {
            return;
        }
        if self.terms.finite {
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
        if self.terms.finite {
            // Whoever had it is gone, and it cannot be asked again.
            self.truncate("upstream cut", now);
        } else {
            self.seek(now);
        }
    }

    /// The owner said how the stream ended.
    pub fn ended(&mut self, end: End, now: Instant) {
        self.rest(State::Ended(end), now);
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
        if self.state == State::Live && !self.terms.finite {
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
            if self.terms.finite && !self.disowned {
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
            // It goes on unless it cannot; then a client has the usual time to
            // come back and make room.
            Linger::Complete => alone
                .max(self.blocked_since?)
                .checked_add(self.terms.retain),
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
        if self.terms.finite {
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

    fn truncate(&mut self, reason: &'static str, now: Instant) {
        self.rest(State::Ended(End::Upstream(Ending::Aborted(reason))), now);
    }

    fn rest(&mut self, state: State, now: Instant) {
        self.state = state;
        self.down_since = None;
        self.rest_since = now;
    }
}
