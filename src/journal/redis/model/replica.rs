//! One replica: its lease, and what is done around it.

use tokio::time::Instant;

use super::server::{Answer, Block, Kept, Owner, Request};
use super::{Flaw, Rules, TTL, UNIT};
use crate::journal::redis::lease::{Call, Lease, Terms};

/// A request of which the answer is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) sent: u8,
    /// None if it is lost.
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Replica {
    name: u8,
    pub(super) lease: Lease,
    /// One that dies is one that does not wake again.
    pub(super) awake: bool,
    pub(super) diverged: bool,
    acquisition: u8,
    token: u8,
    pub(super) turn: u8,
    epoch: u8,
    pub(super) branch: Owner,
    pub(super) refilled: Option<Owner>,
    /// Owned, as the stream was told: its upstream connection is open.
    pub(super) owned: bool,
    /// Where an owner goes on: what the log has beyond is given back first.
    next: u8,
    /// Whether the block that is appended is in the log already.
    gives_back: bool,
    pub(super) log: Vec<Block>,
    pub(super) asked: Option<Asked>,
    pub(super) append: Option<Asked>,
}

fn terms() -> Terms {
    Terms {
        ttl: UNIT * u32::from(TTL),
        margin: UNIT,
        beat: UNIT,
        alone_after: None,
    }
}

impl Replica {
    /// One that is read, and knows nothing yet.
    pub(super) fn reading(name: u8, branch: Owner, now: Instant) -> Self {
        let mut lease = Lease::following(terms(), now);
        lease.attend(true, now);
        Self {
            name,
            lease,
            awake: true,
            diverged: false,
            acquisition: 0,
            token: 0,
            turn: 0,
            epoch: 0,
            branch,
            refilled: None,
            owned: false,
            next: 1,
            gives_back: false,
            log: Vec::new(),
            asked: None,
            append: None,
        }
    }

    pub(super) fn begins(&mut self, now: Instant) {
        self.owned = self.lease.mine(now, now);
        self.token = 1;
    }

    pub(super) fn owner(&self) -> Owner {
        Owner {
            replica: self.name,
            acquisition: self.acquisition,
        }
    }

    pub(super) fn high(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap()
    }

    pub(super) fn acts(&self) -> bool {
        self.awake && !self.diverged
    }

    pub(super) fn tick(&mut self, rules: &Rules, time: u8) {
        if rules.flaw != Flaw::NoExpiry && self.lease.tick(rules.at(time)).is_some() {
            self.owned = false;
        }
    }

    pub(super) fn diverge(&mut self) {
        self.diverged = true;
        self.owned = false;
    }

    pub(super) fn refused(&mut self, now: Instant) {
        self.lease.refused(now);
        self.owned = false;
    }

    // === What it asks ===

    /// What the keeper has to ask.
    pub(super) fn request(&self, now: Instant) -> Option<Request> {
        if self.asked.is_some() || !self.acts() {
            return None;
        }
        let owner = self.owner();
        match self.lease.due(now)? {
            Call::Renew => Some(Request::Renew {
                owner,
                turn: self.append.is_none().then_some(self.turn),
            }),
            Call::Look { .. } if self.append.is_some() => None,
            Call::Look { strive } => Some(Request::Look {
                strive,
                me: Owner {
                    acquisition: self.acquisition + 1,
                    ..owner
                },
                before: owner,
                branch: self.branch,
                high: self.high(),
            }),
        }
    }

    /// What is appended next: what Redis lacks, else this event.
    pub(super) fn block(&self, event: Option<u8>) -> Option<Block> {
        if !self.acts() || !self.owned || self.append.is_some() {
            return None;
        }
        let lacking = self.log.get(usize::from(self.next) - 1).copied();
        let new = event.map(|event| Block {
            epoch: self.epoch,
            seq: self.next,
            event,
        });
        lacking.or(new)
    }

    pub(super) fn append(&mut self, block: Block) -> Request {
        self.turn += 1;
        self.gives_back = block.seq <= self.high();
        Request::Append {
            owner: self.owner(),
            turn: self.turn,
            record: Kept {
                block,
                token: self.token,
                epoch: self.epoch,
            },
        }
    }

    /// Whether it takes what it has not read yet.
    pub(super) fn reads(&self, rules: &Rules) -> bool {
        let waits = self.append.is_some() && rules.flaw != Flaw::NoPatience;
        self.acts() && !self.owned && !waits
    }

    // === What it is answered ===

    /// It is owner, whose log ends with `last`, unless that is too late.
    pub(super) fn taken(&mut self, answer: &Answer, sent: Instant, now: Instant) -> bool {
        let Answer::Mine {
            token,
            last,
            branch,
            ..
        } = *answer
        else {
            return false;
        };
        self.acquisition += 1;
        self.token = token;
        self.turn = 0;
        if !self.lease.mine(sent, now) {
            return false;
        }
        if self.high() > last {
            self.refilled = Some(branch);
        } else {
            self.branch = branch;
        }
        self.next = last + 1;
        true
    }

    pub(super) fn goes_on(&mut self, epoch: Option<u8>) {
        self.owned = !self.diverged;
        self.epoch = epoch.unwrap_or(self.epoch);
    }

    /// Its record is kept, and published unless that is given back. Whether the
    /// log has it once.
    pub(super) fn kept(&mut self, block: Block) -> bool {
        self.next = block.seq + 1;
        let new = self.high() < block.seq;
        if new {
            self.log.push(block);
        }
        if block.seq >= self.high() {
            self.branch = self.refilled.take().unwrap_or(self.branch);
        }
        new != self.gives_back
    }

    pub(super) fn reads_on(&mut self, record: &Kept) {
        self.log.push(record.block);
        self.epoch = record.epoch;
    }

    /// Everything its log has is kept, as far as it can know.
    pub(super) fn has_given_back_all(&self) -> bool {
        self.owned && self.next > self.high()
    }
}
