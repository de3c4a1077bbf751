//! What Redis has of the stream, and the scripts, restated.

use super::{Flaw, TTL};

/// What was given to clients, or kept: an event under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) epoch: u8,
    pub(super) seq: u8,
    pub(super) event: u8,
}

/// The name of one acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) replica: u8,
    pub(super) acquisition: u8,
}

/// A record: its block, the token of who wrote it, and the epoch its state tells
/// of, with which whoever reads it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kept {
    pub(super) block: Block,
    pub(super) token: u8,
    pub(super) epoch: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Request {
    Renew {
        owner: Owner,
        turn: Option<u8>,
    },
    Look {
        strive: bool,
        me: Owner,
        before: Owner,
        branch: Owner,
        high: u8,
    },
    Append {
        owner: Owner,
        turn: u8,
        record: Kept,
    },
    Release {
        owner: Owner,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Held,
    Refused,
    Other,
    Leased {
        remaining: u8,
    },
    Free,
    Mine {
        token: u8,
        last: u8,
        continuous: bool,
        branch: Owner,
    },
    Kept,
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) owner: Option<Owner>,
    pub(super) token: u8,
    until: u8,
    pub(super) turn: u8,
    run: u8,
    kept_run: u8,
    /// A branch is named for the acquisition that began it.
    pub(super) branch: Owner,
    parent: Option<Owner>,
    fork: u8,
    /// Whether an owner that was to begin an epoch has not told of it yet.
    doubt: bool,
    pub(super) records: Vec<Kept>,
    /// As it was before the newest record.
    before: Option<Box<Server>>,
}

impl Server {
    /// A stream that was just begun.
    pub(super) fn of(owner: Owner) -> Self {
        Self {
            owner: Some(owner),
            token: 1,
            until: TTL,
            turn: 0,
            run: 0,
            kept_run: 0,
            branch: owner,
            parent: None,
            fork: 0,
            doubt: false,
            records: Vec::new(),
            before: None,
        }
    }

    pub(super) fn last(&self) -> u8 {
        self.records.last().map_or(0, |kept| kept.block.seq)
    }

    /// As in the script of that name.
    pub(super) fn is_other(&self, branch: Owner, cursor: u8) -> bool {
        let child = self.parent == Some(branch);
        cursor > 0 && self.branch != branch && (!child || cursor > self.fork)
    }

    pub(super) fn execute(&mut self, request: &Request, time: u8, flaw: Flaw) -> Answer {
        match request {
            Request::Renew { owner, turn } => self.renew(time, *owner, *turn),
            Request::Append {
                owner,
                turn,
                record,
            } => self.append(time, *owner, *turn, record, flaw),
            Request::Look {
                strive,
                me,
                before,
                branch,
                high,
            } => {
                let ours = self.owner == Some(*before) || self.owner == Some(*me);
                let leased = self.owner.is_some() && self.until > time && !ours;
                if !ours && self.is_other(*branch, *high) {
                    Answer::Other
                } else if leased {
                    Answer::Leased {
                        remaining: self.until - time,
                    }
                } else if *strive {
                    self.take(time, *me, *high, flaw)
                } else {
                    Answer::Free
                }
            }
            Request::Release { owner } => {
                if self.owner == Some(*owner) {
                    self.owner = None;
                }
                Answer::Released
            }
        }
    }

    fn renew(&mut self, time: u8, owner: Owner, turn: Option<u8>) -> Answer {
        if self.owner != Some(owner) || turn.is_some_and(|turn| self.turn < turn) {
            return Answer::Refused;
        }
        if turn.is_some() {
            self.kept_run = self.run;
        }
        self.until = time + TTL;
        Answer::Held
    }

    fn append(&mut self, time: u8, owner: Owner, turn: u8, record: &Kept, flaw: Flaw) -> Answer {
        if self.owner != Some(owner) && flaw != Flaw::NoFence {
            return Answer::Refused;
        }
        if flaw != Flaw::NoTurns {
            if self.turn == turn {
                self.until = time + TTL;
                return Answer::Kept;
            }
            if self.turn + 1 != turn || record.block.seq <= self.last() {
                return Answer::Refused;
            }
        }
        self.before = Some(Box::new(Self {
            before: None,
            ..self.clone()
        }));
        self.turn = turn;
        self.until = time + TTL;
        self.doubt = false;
        self.records.push(record.clone());
        Answer::Kept
    }

    fn take(&mut self, time: u8, me: Owner, high: u8, flaw: Flaw) -> Answer {
        let same = self.run == self.kept_run && high <= self.last();
        let proved = same && (!self.doubt || flaw == Flaw::NoDoubt);
        let continuous = proved || flaw == Flaw::BlindTrust;
        if !continuous && flaw != Flaw::NoBranches {
            self.parent = Some(self.branch);
            self.branch = me;
            self.fork = self.last();
        }
        self.doubt |= !continuous;
        self.owner = Some(me);
        self.token += 1;
        self.turn = 0;
        self.kept_run = self.run;
        self.until = time + TTL;
        Answer::Mine {
            token: self.token,
            last: self.last(),
            continuous,
            branch: self.branch,
        }
    }

    // === Mishaps ===

    pub(super) fn restart(&mut self) {
        self.run += 1;
    }

    /// A restart without the newest record, and without whatever came after it:
    /// as with a file that is cut, or a server that had not been told yet.
    pub(super) fn lose_tail(&mut self) -> bool {
        let Some(before) = self.before.take() else {
            return false;
        };
        let run = self.run + 1;
        *self = Self { run, ..*before };
        true
    }
}
