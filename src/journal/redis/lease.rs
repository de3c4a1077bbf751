//! Who owns a stream, as one replica knows it, and what it has to ask.
//!
//! A [`Lease`] does no I/O and reads no clock. The time and what was answered
//! go in; [`Lease::due`] says what is to be asked, [`Lease::deadline`] when to
//! look again, and [`Lease::tick`] that ownership must be thought lost.
//!
//! ```text
//!             mine                    refused, or not confirmed in time
//!  Follows ─────────▶ Owns { until } ───────────────────────────────────▶ Follows
//! ```
//!
//! Two clocks count the same lease. Redis begins when it executes a request,
//! the owner when it *sent* it, and the owner's count is shorter by a margin:
//! so it stops before Redis lets anybody else begin, as long as neither clock
//! runs faster than the other by more than that margin in the time of a lease.

use std::time::Duration;

use tokio::time::Instant;

/// How long a lease is and how often it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    /// How long Redis holds a stream for an owner that is not heard of.
    pub(super) ttl: Duration,
    /// By how much sooner the owner thinks it lost.
    pub(super) margin: Duration,
    /// Time from one sign of life to the next.
    pub(super) beat: Duration,
    /// Time without an answer after which a replica that is read goes on
    /// [alone](Loss::Alone), if it is to do so at all.
    pub(super) alone_after: Option<Duration>,
}

impl Terms {
    /// Terms by which a dead owner is replaced within `lease`: three fifths of
    /// it pass until Redis lets go, and a follower tries in that moment.
    pub(super) fn of(lease: Duration, goes_on_alone: bool) -> Self {
        Self {
            ttl: lease * 3 / 5,
            margin: lease / 20,
            beat: lease / 5,
            alone_after: goes_on_alone.then_some(lease),
        }
    }

    /// How long an owner counts on what it was granted.
    fn kept(&self) -> Duration {
        self.ttl.saturating_sub(self.margin)
    }
}

/// What is to be asked of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    /// Hold on to what is owned.
    Renew,
    /// See how things stand, and with `strive`, take what nobody owns.
    Look {
        /// Whether to become owner.
        strive: bool,
    },
}

/// How a replica stops to be what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Loss {
    /// Another replica may own the stream from now on.
    Disowned,
    /// Nobody can be asked any more; it goes on by itself.
    Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stand {
    Follows,
    /// Until then at least, by this process's clock, nobody else can.
    Owns {
        until: Option<Instant>,
    },
}

/// One replica's knowledge of who owns its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    terms: Terms,
    stand: Stand,
    /// Whether the stream is read here.
    read: bool,
    /// It was owned here, and nobody is known to have taken it.
    keen: bool,
    /// It was said to go on alone, and has not heard of anybody since.
    alone: bool,
    /// When the lease of another owner ends, if nothing is heard of it.
    free: Option<Instant>,
    /// Others go first until then.
    yields: Option<Instant>,
    /// When Redis answered last.
    heard: Instant,
    /// When it is to be asked next.
    next: Instant,
}

impl Lease {
    /// Of a stream that only this replica knows: there is nothing to hold on to
    /// until it is [`begun`](Self::begun).
    pub(super) fn unheard_of(terms: Terms, now: Instant) -> Self {
        let mut lease = Self::following(terms, now);
        lease.stand = Stand::Owns { until: None };
        lease
    }

    /// Of a stream that somebody else may own.
    pub(super) fn following(terms: Terms, now: Instant) -> Self {
        Self {
            terms,
            stand: Stand::Follows,
            read: false,
            keen: false,
            alone: false,
            free: None,
            yields: None,
            heard: now,
            next: now,
        }
    }

    // === How things stand ===

    /// Whether this replica may act as the owner.
    pub(super) fn owns(&self) -> bool {
        matches!(self.stand, Stand::Owns { .. })
    }

    /// Whether it was told to go on alone, and does.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether it would own the stream if nobody else did.
    fn strives(&self) -> bool {
        self.read || self.keen || self.alone
    }

    /// What to ask now. One thing at a time: not before the last one has been
    /// answered, or has [`failed`](Self::failed).
    pub(super) fn due(&self, now: Instant) -> Option<Call> {
        match self.stand {
            Stand::Owns { until } => (until.is_some() && now >= self.next).then_some(Call::Renew),
            Stand::Follows => {
                // Whether the other's lease has ended is for Redis to say.
                let strive = self.strives() && self.yields.is_none_or(|at| now >= at);
                let moment = strive && self.free.is_some_and(|at| now >= at);
                (now >= self.next || moment).then_some(Call::Look { strive })
            }
        }
    }

    /// When to call [`tick`](Self::tick) and [`due`](Self::due) again, if ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stand {
            Stand::Owns { until } => until.map(|until| until.min(self.next)),
            Stand::Follows => {
                let free = self.free.filter(|_| self.strives());
                let free = free.map(|at| self.yields.map_or(at, |yields| at.max(yields)));
                [Some(self.next), free, self.alone_at()]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// When [`tick`](Self::tick) has something to say, if nothing is heard.
    pub(super) fn ends(&self) -> Option<Instant> {
        match self.stand {
            Stand::Owns { until } => until,
            Stand::Follows => self.alone_at(),
        }
    }

    fn alone_at(&self) -> Option<Instant> {
        let after = self.terms.alone_after?;
        (self.strives() && !self.alone).then(|| self.heard + after)
    }

    // === Inputs ===

    /// Time passed.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Loss> {
        match self.stand {
            Stand::Owns { until: Some(until) } if now >= until => {
                self.alone = self.terms.alone_after.is_some();
                self.lose(now);
                Some(self.loss())
            }
            Stand::Follows if self.alone_at().is_some_and(|at| now >= at) => {
                self.alone = true;
                Some(Loss::Alone)
            }
            _ => None,
        }
    }

    /// The stream is about to be made known: what is not confirmed from now on
    /// counts as lost like any lease.
    pub(super) fn begun(&mut self, now: Instant) {
        if let Stand::Owns { until: None } = self.stand {
            self.stand = self.owned_since(now);
            self.next = now + self.terms.beat;
        }
    }

    /// Ownership was taken by a request sent at `sent`. Whether it is still to
    /// be had: an answer can be too late.
    pub(super) fn mine(&mut self, sent: Instant, now: Instant) -> bool {
        self.heard = now;
        self.free = None;
        self.alone = false;
        self.stand = self.owned_since(sent);
        self.next = sent + self.terms.beat;
        self.tick(now).is_none()
    }

    /// A request sent at `sent` was executed, and this replica was the owner.
    pub(super) fn confirmed(&mut self, sent: Instant, now: Instant) {
        self.heard = now;
        if let Stand::Owns { until: Some(until) } = self.stand {
            let later = sent + self.terms.kept();
            self.stand = Stand::Owns {
                until: Some(until.max(later)),
            };
            self.next = self.next.max(sent + self.terms.beat);
        }
    }

    /// Redis says that this replica is not the owner. Whether it thought so.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        self.heard = now;
        let owned = self.owns();
        if owned {
            self.lose(now);
        }
        owned
    }

    /// Another replica owns it for this long, unless it is heard of again.
    pub(super) fn held(&mut self, remaining: Duration, now: Instant) {
        self.heard = now;
        self.keen = false;
        self.alone = false;
        // Redis counts in whole milliseconds.
        self.free = Some(now + remaining + Duration::from_millis(1));
        self.rest(now);
    }

    /// Nobody owns it.
    pub(super) fn free(&mut self, now: Instant) {
        self.heard = now;
        self.free = None;
        self.rest(now);
    }

    /// Somebody said that it is to be looked at.
    pub(super) fn stirred(&mut self, now: Instant) {
        self.next = now;
    }

    /// What was asked is not answered.
    pub(super) fn failed(&mut self, now: Instant) {
        let again = now + self.terms.beat / 4;
        self.next = again;
        self.free = self.free.map(|at| at.max(again));
    }

    /// The stream is, or is not, read here.
    pub(super) fn attend(&mut self, read: bool, now: Instant) {
        if read && !self.read && self.stand == Stand::Follows {
            self.next = now;
        }
        self.read = read;
    }

    /// Ownership was given up: others go first.
    pub(super) fn released(&mut self, now: Instant) {
        self.stand = Stand::Follows;
        self.keen = false;
        self.next = now + self.terms.beat;
        self.free = None;
        self.yields = Some(self.next);
    }

    // === Transitions ===

    fn owned_since(&self, sent: Instant) -> Stand {
        Stand::Owns {
            until: Some(sent + self.terms.kept()),
        }
    }

    fn lose(&mut self, now: Instant) {
        self.stand = Stand::Follows;
        self.keen = true;
        self.free = None;
        self.next = now;
    }

    fn loss(&self) -> Loss {
        if self.alone {
            Loss::Alone
        } else {
            Loss::Disowned
        }
    }

    /// A follower that nobody reads may lag: it asks at every fifth beat.
    fn rest(&mut self, now: Instant) {
        let beats = if self.strives() { 1 } else { 5 };
        self.next = now + self.terms.beat * beats;
    }
}
