//! What others want of a stream, and what is told of it to those who count.

use tokio::time::Instant;

use super::{Pump, Upstream};
use crate::log::Ending;
use crate::observe::Signal;
use crate::stream::policy::Kind;
use crate::stream::session::End;
use crate::stream::stream::{Orders, Phase, Standing, Stop};

impl Pump {
    pub(super) fn obey(&mut self, orders: Orders) {
        let now = Instant::now();
        self.readers = orders.readers;
        self.count_readers();
        self.handing_over |= orders.wishes.hand_over;
        self.parting |= orders.wishes.part;
        if orders.wishes.evict {
            self.session.evict();
        }
        if let Some(stop) = orders.wishes.stop {
            self.stop(stop, now);
        }
        if orders.wishes.reset && !self.follows() && self.may_reset(now) {
            self.afresh = true;
            self.session.reset(now);
        }
    }

    pub(super) fn stop(&mut self, stop: Stop, now: Instant) {
        self.forgotten |= stop.forget;
        if let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.follows()) {
            // Its owner has the upstream; what comes of it will be told.
            keeper.stop(stop.forget);
            self.torn |= stop.forget;
            return;
        }
        // At once: it may cost money for as long as it is read.
        self.upstream = Upstream::None;
        self.session.stop(stop.reason, now);
    }

    /// An upstream connection serves whoever reads, here or elsewhere.
    pub(super) fn count_readers(&mut self) {
        let mut readers = self.readers;
        if let Some(keeper) = &mut self.keeper {
            keeper.attend(readers > 0);
            readers += usize::from(keeper.read_elsewhere);
        }
        self.session.readers(readers, Instant::now());
    }

    /// A client that fell behind may ask for a reset, and may do so on purpose:
    /// not so often that the others never get to read.
    fn may_reset(&mut self, now: Instant) -> bool {
        let pause = self.stream.policy.reconnect.max;
        let again = self
            .reset_at
            .is_none_or(|at| now.duration_since(at) >= pause);
        if again {
            self.reset_at = Some(now);
        }
        again
    }

    pub(super) fn count_answer(&self, end: End) {
        let counted = self.stream.log.ending().is_some();
        if !counted && self.stream.policy.kind == Kind::OneShot {
            let complete = end == End::Upstream(Ending::Complete);
            self.observe(Signal::AnswerEnded { complete });
        }
    }

    /// Somebody who leaves many answers unread must not have all of them run on.
    pub(super) fn count_detached(&mut self, phase: Phase) {
        if !self.stream.may_be_left() {
            return;
        }
        let unread =
            matches!(self.stream.standing(), Standing::Unread(_)) && !self.is_read_elsewhere_only();
        // What another process runs is counted there.
        let detached = unread && phase == Phase::Active && !self.follows();
        if std::mem::replace(&mut self.detached, detached) == detached {
            return;
        }
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let limit = self.stream.policy.max_detached;
        if let Some(first) = registry.owners().detach(&self.stream, detached, limit) {
            tracing::info!(
                limit,
                "too many answers of one client run unread; one is stopped"
            );
            first.stop("too many answers unread");
        }
    }
}
