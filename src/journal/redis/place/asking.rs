//! What a replica has to ask of Redis.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Ask, FETCHED_AT_ONCE, State};
use crate::journal::News;
use crate::journal::redis::keys;
use crate::journal::redis::lease::{Call as Due, Loss};
use crate::journal::redis::scripts::{self, Argument, Call};

impl State {
    /// What is to be sent now.
    pub(in super::super) fn next(&mut self, now: Instant, generation: u64) -> Option<(Ask, Call)> {
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

    pub(super) fn due(&mut self, now: Instant) -> Option<Ask> {
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

    pub(super) fn tick(&mut self, now: Instant) {
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

    pub(super) fn disown(&mut self) {
        self.owned = false;
        self.acquired = None;
        self.settled = true;
    }

    pub(super) fn owner(&self) -> String {
        keys::owner(&self.common.process, self.id, self.acquisition)
    }

    pub(super) fn begin_call(&self) -> Option<Call> {
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
    pub(in super::super) fn claim_call(&self) -> Call {
        let arguments = [
            self.owner().argument(),
            self.common.terms.ttl.argument(),
            self.birth.argument(),
            self.common.watch.argument(),
        ];
        Call::new(&scripts::CLAIM, &self.keys, arguments)
    }

    pub(super) fn renew_call(&self, generation: u64) -> Call {
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

    pub(super) fn look_call(&self, now: Instant) -> Call {
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
    pub(in super::super) fn read_call(&self) -> Call {
        let arguments = [
            self.birth.argument(),
            self.branch.argument(),
            self.high.argument(),
            self.cursor.entry.argument(),
            FETCHED_AT_ONCE.argument(),
        ];
        Call::new(&scripts::READ, &self.keys, arguments)
    }

    pub(super) fn release_call(&self) -> Call {
        let arguments = [self.owner().argument(), self.token.argument()];
        Call::new(&scripts::RELEASE, &self.keys, arguments)
    }
}
