//! All replicas and the server: what can happen next, and what must hold.

use super::replica::{Asked, Replica};
use super::server::{Answer, Block, Owner, Request, Server};
use super::{REPLICAS, Rules, UNIT};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) time: u8,
    events: u8,
    epochs: u8,
    pub(super) mishaps: u8,
    /// The server lost something.
    pub(super) lossy: bool,
    /// A stream was told that a block is kept that it had read already.
    repeated: bool,
    pub(super) server: Server,
    pub(super) replicas: [Replica; REPLICAS],
    /// Requests that nobody waits for any more, and that may yet arrive.
    pub(super) late: Vec<Request>,
    published: Vec<Block>,
}

impl World {
    /// One replica has just begun the stream, and the others have found it.
    pub(super) fn first(rules: &Rules) -> Self {
        let now = rules.at(0);
        let owner = Owner {
            replica: 0,
            acquisition: 0,
        };
        let mut replicas = [0, 1, 2].map(|name| Replica::reading(name, owner, now));
        replicas[0].begins(now);
        Self {
            time: 0,
            events: 0,
            epochs: 0,
            mishaps: 0,
            lossy: false,
            repeated: false,
            server: Server::of(owner),
            replicas,
            late: Vec::new(),
            published: Vec::new(),
        }
    }

    /// The same for worlds that differ in nothing that can matter.
    pub(super) fn normalize(&mut self, rules: &Rules) {
        self.late.sort_unstable();
        self.late.dedup();
        self.published.sort_unstable();
        for (name, replica) in (0..).zip(&mut self.replicas) {
            if replica.diverged {
                // Nothing is done by it, or for it, any more.
                *replica = Replica::reading(name, replica.branch, rules.at(0));
                replica.diverged = true;
            }
        }
    }

    /// What becomes of `act` in a world like this.
    pub(super) fn after(&self, act: impl FnOnce(&mut Self)) -> Self {
        let mut world = self.clone();
        act(&mut world);
        world
    }

    // === What can happen next ===

    pub(super) fn steps(&self, rules: &Rules) -> Vec<Self> {
        let mut next = Vec::new();
        if self.time < rules.bounds.time && !self.is_anything_due(rules) {
            next.push(self.after(|world| world.pass(rules)));
        }
        for at in 0..REPLICAS {
            self.steps_of(rules, at, &mut next);
        }
        for at in 0..self.late.len() {
            next.push(self.after(|world| {
                let request = world.late.remove(at);
                world.execute(rules, &request);
            }));
        }
        if self.mishaps < rules.bounds.mishaps {
            self.push_mishaps(rules, &mut next);
        }
        next
    }

    /// Who is awake asks in time; not to be in time is a mishap.
    fn is_anything_due(&self, rules: &Rules) -> bool {
        let now = rules.at(self.time);
        let mut replicas = self.replicas.iter();
        replicas.any(|replica| replica.request(now).is_some())
    }

    fn pass(&mut self, rules: &Rules) {
        self.time += 1;
        for replica in self.replicas.iter_mut().filter(|replica| replica.acts()) {
            replica.tick(rules, self.time);
        }
    }

    fn steps_of(&self, rules: &Rules, at: usize, next: &mut Vec<Self>) {
        let replica = &self.replicas[at];
        if !replica.awake {
            // To wake is no mishap of its own.
            next.push(self.after(|world| {
                world.replicas[at].awake = true;
                world.replicas[at].tick(rules, world.time);
            }));
        }
        if !replica.acts() {
            return;
        }
        if let Some(request) = replica.request(rules.at(self.time)) {
            next.push(self.after(|world| {
                let answer = world.execute(rules, &request);
                world.replicas[at].asked = Some(world.asked(request, Some(answer)));
                world.hear(rules, at);
            }));
        }
        if let Some(block) = replica.block(self.event(rules)) {
            next.push(self.after(|world| {
                let request = world.append(at, block);
                let answer = world.execute(rules, &request);
                world.replicas[at].append = Some(world.asked(request, Some(answer)));
                world.hear_append(rules, at);
            }));
        }
        if replica.asked.is_some() {
            next.push(self.after(|world| world.hear(rules, at)));
        }
        if replica.append.is_some() {
            next.push(self.after(|world| world.hear_append(rules, at)));
        }
        if replica.reads(rules) && replica.log.len() < self.server.records.len() {
            next.push(self.after(|world| world.read(at)));
        }
    }

    /// The next thing that happens upstream.
    pub(super) fn event(&self, rules: &Rules) -> Option<u8> {
        (self.events < rules.bounds.events).then_some(self.events)
    }

    pub(super) fn asked(&self, request: Request, answer: Option<Answer>) -> Asked {
        Asked {
            request,
            sent: self.time,
            answer,
        }
    }

    pub(super) fn execute(&mut self, rules: &Rules, request: &Request) -> Answer {
        self.server.execute(request, self.time, rules.flaw)
    }

    pub(super) fn append(&mut self, at: usize, block: Block) -> Request {
        let replica = &mut self.replicas[at];
        if block.seq > replica.high() {
            self.events += 1;
        }
        replica.append(block)
    }

    fn hear(&mut self, rules: &Rules, at: usize) {
        let now = rules.at(self.time);
        let replica = &mut self.replicas[at];
        let Some(asked) = replica.asked.take() else {
            return;
        };
        let sent = rules.at(asked.sent);
        match asked.answer {
            None => replica.lease.failed(now),
            Some(Answer::Held | Answer::Kept) => replica.lease.confirmed(sent, now),
            Some(Answer::Refused) => replica.refused(now),
            Some(Answer::Other) => replica.diverge(),
            Some(Answer::Leased { remaining }) => {
                replica.lease.held(UNIT * u32::from(remaining), now);
            }
            Some(Answer::Free | Answer::Released) => replica.lease.free(now),
            Some(ref answer @ Answer::Mine { continuous, .. }) => {
                if replica.taken(answer, sent, now) {
                    // While it is its own nobody else writes, so to read what
                    // others wrote, and to be told, may as well be one step.
                    self.read(at);
                    let epoch = (!continuous).then_some(self.epochs + 1);
                    self.epochs = epoch.unwrap_or(self.epochs);
                    self.replicas[at].goes_on(epoch);
                }
            }
        }
    }

    fn hear_append(&mut self, rules: &Rules, at: usize) {
        let now = rules.at(self.time);
        let Some(asked) = self.replicas[at].append.take() else {
            return;
        };
        let Request::Append { record, .. } = &asked.request else {
            return;
        };
        let (block, replica) = (record.block, &mut self.replicas[at]);
        match asked.answer {
            Some(Answer::Kept) => {
                replica.lease.confirmed(rules.at(asked.sent), now);
                self.repeated |= !replica.kept(block);
                self.publish(block);
            }
            Some(_) => replica.refused(now),
            // Tried until there is an answer.
            None => {
                let answer = self.execute(rules, &asked.request);
                self.replicas[at].append = Some(self.asked(asked.request, Some(answer)));
            }
        }
    }

    fn publish(&mut self, block: Block) {
        if !self.published.contains(&block) {
            self.published.push(block);
        }
    }

    fn read(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        if replica.refilled.is_none() {
            if self.server.is_other(replica.branch, replica.high()) {
                return replica.diverge();
            }
            replica.branch = self.server.branch;
        }
        let known = replica.log.len();
        for record in self.server.records.iter().skip(known) {
            replica.reads_on(record);
        }
        for block in self.replicas[at].log.clone().into_iter().skip(known) {
            self.publish(block);
        }
    }

    // === What must hold ===

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let tokens = self.server.records.iter().map(|kept| kept.token);
        if !tokens.is_sorted() {
            return Err("two owners' writes interleave");
        }
        let seqs = self.server.records.iter().map(|kept| kept.block.seq);
        if !seqs.eq(1..=self.server.last()) {
            return Err("what is kept has a hole, or something twice");
        }
        let named_twice = |a: &Block| {
            let same = |b: &&Block| (a.epoch, a.seq) == (b.epoch, b.seq);
            self.published.iter().find(same).is_some_and(|b| a != b)
        };
        if self.published.iter().any(named_twice) {
            return Err("one id names two events");
        }
        if self.repeated {
            return Err("a stream is told twice of one event");
        }
        let open = self.replicas.iter().filter(|r| r.awake && r.owned);
        // A server that lost who owns the stream lets another one have it, until
        // the first one asks again: that can only be counted, not prevented.
        if !self.lossy && open.count() > 1 {
            return Err("two upstream connections are open, and nobody sleeps");
        }
        let lacks = |block: &Block| self.server.records.iter().all(|kept| kept.block != *block);
        if !self.lossy && self.published.iter().any(lacks) {
            return Err("something is published and not kept");
        }
        self.check_logs()
    }

    /// Who follows has what is kept, as far as both go, or is told to forget;
    /// who owns has given back what was lost, before anything new.
    fn check_logs(&self) -> Result<(), &'static str> {
        for replica in self.replicas.iter().filter(|r| r.acts()) {
            let kept = self.server.records.iter().map(|kept| &kept.block);
            let differs = replica.log.iter().zip(kept.clone()).any(|(a, b)| a != b);
            let known = !self.server.is_other(replica.branch, replica.high());
            if differs && known && replica.refilled.is_none() {
                return Err("a log differs from what is kept, and nobody can tell");
            }
            let owner = self.server.owner == Some(replica.owner());
            let settled = owner && replica.turn == self.server.turn && replica.append.is_none();
            if settled && replica.has_given_back_all() && !replica.log.iter().eq(kept) {
                return Err("an owner goes on without having given back what was lost");
            }
        }
        Ok(())
    }
}
