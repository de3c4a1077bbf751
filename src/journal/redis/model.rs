//! The protocol by which three replicas share a stream, explored exhaustively.
//!
//! Each replica is a real [`Lease`] and what [`super::place`] does around it;
//! Redis is the scripts, restated. Between any two steps, requests and answers
//! may be late or lost, a replica may sleep, wake or die, Redis may restart,
//! with or without its newest record, and an owner may let go. How many such
//! mishaps there are, how many events and how much time, is bounded; within the
//! bounds every order of steps is tried.
//!
//! What must hold in every state is in [`World::check`]. That the exploration
//! would notice if it did not is shown by flaws that are put in on purpose.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::lease::{Call, Lease, Terms};

const REPLICAS: usize = 3;
const UNIT: Duration = Duration::from_secs(1);

/// What can be wrong with the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Appends are not compared with who owns the stream.
    NoFence,
    /// A record that is sent again is kept again.
    NoTurns,
    /// Continuity is claimed whatever server it is.
    BlindTrust,
    /// That continuity was not proved is forgotten with the owner it was told.
    NoDoubt,
    /// What was replaced is read as if it had been there always.
    NoBranches,
    /// An owner does not look at its clock.
    NoExpiry,
}

/// How far the exploration goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    time: u8,
    events: u8,
    mishaps: u8,
}

/// What was given to clients, or kept: an event under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Block {
    epoch: u8,
    seq: u8,
    event: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Owner {
    replica: u8,
    acquisition: u8,
}

/// A record: its block, the token by which it was written, and the epoch its
/// state tells of, with which whoever reads it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    block: Block,
    token: u8,
    epoch: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    owner: Option<Owner>,
    token: u8,
    until: u8,
    turn: u8,
    run: u8,
    kept_run: u8,
    branch: u8,
    parent: Option<u8>,
    fork: u8,
    /// Whether an owner that was to begin an epoch has not told of it yet.
    doubt: bool,
    records: Vec<Kept>,
    /// As it was before the newest record.
    before: Option<Box<Server>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Request {
    Renew {
        owner: Owner,
        turn: Option<u8>,
    },
    Look {
        strive: bool,
        me: Owner,
        before: Owner,
        branch: u8,
        high: u8,
    },
    Append {
        owner: Owner,
        turn: u8,
        block: Block,
        epoch: u8,
    },
    Release {
        owner: Owner,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Answer {
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
        branch: u8,
    },
    Kept,
}

/// A request of which the answer is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    request: Request,
    sent: u8,
    answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replica {
    lease: Lease,
    awake: bool,
    dead: bool,
    diverged: bool,
    acquisition: u8,
    turn: u8,
    epoch: u8,
    branch: u8,
    refilled: Option<u8>,
    /// Owned, as the stream was told: its upstream connection is open.
    owned: bool,
    /// Where an owner goes on: what the log has beyond is given back first.
    next: u8,
    log: Vec<Block>,
    asked: Option<Asked>,
    append: Option<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    time: u8,
    events: u8,
    epochs: u8,
    mishaps: u8,
    lossy: bool,
    server: Server,
    replicas: Vec<Replica>,
    /// Requests that nobody waits for any more, and that may yet arrive.
    late: Vec<Request>,
    published: Vec<Block>,
}

struct Explorer {
    flaw: Flaw,
    bounds: Bounds,
    start: Instant,
}

fn terms() -> Terms {
    Terms {
        ttl: UNIT * 3,
        margin: UNIT,
        beat: UNIT,
        alone_after: None,
    }
}

impl Explorer {
    fn at(&self, time: u8) -> Instant {
        self.start + UNIT * u32::from(time)
    }

    fn first(&self) -> World {
        let now = self.at(0);
        let replica = |n| {
            let mut lease = Lease::following(terms(), now);
            lease.attend(true, now);
            if n == 0 {
                assert!(lease.mine(now, now));
            }
            Replica {
                lease,
                awake: true,
                dead: false,
                diverged: false,
                acquisition: 0,
                turn: 0,
                epoch: 0,
                branch: 0,
                refilled: None,
                owned: n == 0,
                next: 1,
                log: Vec::new(),
                asked: None,
                append: None,
            }
        };
        World {
            time: 0,
            events: 0,
            epochs: 0,
            mishaps: 0,
            lossy: false,
            server: Server {
                owner: Some(Owner {
                    replica: 0,
                    acquisition: 0,
                }),
                token: 1,
                until: 3,
                turn: 0,
                run: 0,
                kept_run: 0,
                branch: 0,
                parent: None,
                fork: 0,
                doubt: false,
                records: Vec::new(),
                before: None,
            },
            replicas: (0..REPLICAS).map(replica).collect(),
            late: Vec::new(),
            published: Vec::new(),
        }
    }

    /// Tries every order of steps; how many states there are, or how one came
    /// about in which something does not hold.
    fn explore(&self) -> Result<usize, String> {
        let mut seen = HashSet::new();
        let mut frontier = VecDeque::from([self.first()]);
        while let Some(world) = frontier.pop_front() {
            for next in self.steps(&world) {
                if let Err(what) = next.check() {
                    return Err(format!("{what} in {next:#?}"));
                }
                // 64 bits of a million states collide once in ten thousand
                // runs, and then a state is not looked at twice.
                let mut hasher = DefaultHasher::new();
                next.hash(&mut hasher);
                if seen.insert(hasher.finish()) {
                    frontier.push_back(next);
                }
            }
        }
        Ok(seen.len())
    }

    /// All that can happen next.
    fn steps(&self, world: &World) -> Vec<World> {
        let mut next = Vec::new();
        if world.time < self.bounds.time && !self.anything_due(world) {
            next.push(self.pass(world.clone()));
        }
        for at in 0..REPLICAS {
            self.steps_of(world, at, &mut next);
        }
        for at in 0..world.late.len() {
            let mut world = world.clone();
            let request = world.late.remove(at);
            self.execute(&mut world, &request);
            next.push(world);
        }
        if world.mishaps < self.bounds.mishaps {
            self.mishaps(world, &mut next);
        }
        next
    }

    /// Who is awake asks in time; not to be in time is a mishap.
    fn anything_due(&self, world: &World) -> bool {
        let mut awake = world.replicas.iter().enumerate();
        awake.any(|(at, replica)| {
            let asks = replica.acts() && !replica.diverged && replica.asked.is_none();
            asks && self.request(replica, at, world.time).is_some()
        })
    }

    fn pass(&self, mut world: World) -> World {
        world.time += 1;
        let now = self.at(world.time);
        for replica in &mut world.replicas {
            if replica.acts() {
                self.tick(replica, now);
            }
        }
        world
    }

    fn tick(&self, replica: &mut Replica, now: Instant) {
        if self.flaw != Flaw::NoExpiry && replica.lease.tick(now).is_some() {
            replica.owned = false;
        }
    }

    fn steps_of(&self, world: &World, at: usize, next: &mut Vec<World>) {
        let replica = &world.replicas[at];
        if !replica.acts() || replica.diverged {
            return;
        }
        let mut step = |act: &dyn Fn(&mut World)| {
            let mut world = world.clone();
            act(&mut world);
            next.push(world);
        };
        match &replica.asked {
            None => {
                if let Some(request) = self.request(replica, at, world.time) {
                    step(&|world| {
                        self.ask(world, at, &request);
                        self.hear(world, at);
                    });
                }
            }
            Some(_) => step(&|world| self.hear(world, at)),
        }
        match &replica.append {
            None if replica.owned => {
                if let Some(block) = self.block(world, replica) {
                    step(&|world| {
                        self.append(world, at, block);
                        self.hear_append(world, at);
                    });
                }
            }
            None => {}
            Some(_) => step(&|world| self.hear_append(world, at)),
        }
        let behind = replica.log.len() < world.server.records.len();
        if behind && !replica.owned {
            step(&|world| self.read(world, at));
        }
    }

    // === What a replica does ===

    fn request(&self, replica: &Replica, at: usize, time: u8) -> Option<Request> {
        let owner = replica.owner(at);
        match replica.lease.due(self.at(time))? {
            Call::Renew => Some(Request::Renew {
                owner,
                turn: replica.append.is_none().then_some(replica.turn),
            }),
            Call::Look { .. } if replica.append.is_some() => None,
            Call::Look { strive } => Some(Request::Look {
                strive,
                me: Owner {
                    acquisition: replica.acquisition + 1,
                    ..owner
                },
                before: owner,
                branch: replica.branch,
                high: replica.high(),
            }),
        }
    }

    fn ask(&self, world: &mut World, at: usize, request: &Request) {
        world.replicas[at].asked = self.send(world, request, Fate::USUAL);
    }

    fn hear(&self, world: &mut World, at: usize) {
        let (time, epochs) = (world.time, world.epochs + 1);
        let now = self.at(time);
        let replica = &mut world.replicas[at];
        let Some(asked) = replica.asked.take() else {
            return;
        };
        let sent = self.at(asked.sent);
        match asked.answer {
            None => replica.lease.failed(now),
            Some(Answer::Held | Answer::Kept) => replica.lease.confirmed(sent, now),
            Some(Answer::Refused) => replica.refused(now),
            Some(Answer::Other) => replica.diverged = true,
            Some(Answer::Leased { remaining }) => {
                replica.lease.held(UNIT * u32::from(remaining), now);
            }
            Some(Answer::Free) => replica.lease.free(now),
            Some(Answer::Mine {
                last,
                continuous,
                branch,
                ..
            }) => {
                replica.acquisition += 1;
                replica.turn = 0;
                if !replica.lease.mine(sent, now) {
                    return;
                }
                if replica.high() > last {
                    replica.refilled = Some(branch);
                } else {
                    replica.branch = branch;
                }
                replica.next = last + 1;
                // Read what others wrote, then own it: while it is ours, nobody
                // writes, so this may as well be one step.
                self.read(world, at);
                let replica = &mut world.replicas[at];
                replica.owned = !replica.diverged;
                if !continuous {
                    replica.epoch = epochs;
                    world.epochs = epochs;
                }
            }
        }
    }

    /// What the owner appends next: what Redis lacks, else what is new.
    fn block(&self, world: &World, replica: &Replica) -> Option<Block> {
        if let Some(block) = replica.log.get(usize::from(replica.next) - 1) {
            return Some(*block);
        }
        (world.events < self.bounds.events).then_some(Block {
            epoch: replica.epoch,
            seq: replica.next,
            event: world.events,
        })
    }

    fn append(&self, world: &mut World, at: usize, block: Block) {
        let request = world.new_append(at, block);
        world.replicas[at].append = self.send(world, &request, Fate::USUAL);
    }

    fn hear_append(&self, world: &mut World, at: usize) {
        let now = self.at(world.time);
        let Some(asked) = world.replicas[at].append.take() else {
            return;
        };
        let Request::Append { block, .. } = asked.request else {
            return;
        };
        match asked.answer {
            Some(Answer::Kept) => {
                let replica = &mut world.replicas[at];
                replica.lease.confirmed(self.at(asked.sent), now);
                replica.next = block.seq + 1;
                if replica.high() < block.seq {
                    replica.log.push(block);
                    world.published.push(block);
                }
                let replica = &mut world.replicas[at];
                if block.seq >= replica.high() {
                    replica.branch = replica.refilled.take().unwrap_or(replica.branch);
                }
            }
            Some(_) => world.replicas[at].refused(now),
            // Tried until there is an answer.
            None => {
                let answer = self.execute(world, &asked.request);
                world.replicas[at].append = Some(Asked {
                    sent: world.time,
                    answer,
                    ..asked
                });
            }
        }
    }

    fn read(&self, world: &mut World, at: usize) {
        let World {
            server,
            replicas,
            published,
            ..
        } = world;
        let replica = &mut replicas[at];
        let known = replica.refilled.is_some()
            || self.flaw == Flaw::NoBranches
            || !server.is_other(replica.branch, replica.high());
        if !known {
            replica.diverged = true;
            replica.owned = false;
            return;
        }
        if replica.refilled.is_none() {
            replica.branch = server.branch;
        }
        for record in server.records.iter().skip(replica.log.len()) {
            replica.log.push(record.block);
            if !published.contains(&record.block) {
                published.push(record.block);
            }
            replica.epoch = record.epoch;
        }
    }

    // === What Redis does ===

    fn execute(&self, world: &mut World, request: &Request) -> Option<Answer> {
        let time = world.time;
        let server = &mut world.server;
        Some(match request {
            Request::Renew { owner, turn } => {
                let whole = turn.is_none_or(|turn| server.turn >= turn);
                if server.owner == Some(*owner) && whole {
                    server.until = time + 3;
                    server.kept_run = if turn.is_some() {
                        server.run
                    } else {
                        server.kept_run
                    };
                    Answer::Held
                } else {
                    Answer::Refused
                }
            }
            Request::Append {
                owner,
                turn,
                block,
                epoch,
            } => {
                let token = server.token;
                let record = Kept {
                    block: *block,
                    token,
                    epoch: *epoch,
                };
                self.keep(server, time, *owner, *turn, record)
            }
            Request::Look {
                strive,
                me,
                before,
                branch,
                high,
            } => self.look(server, time, *strive, *me, *before, *branch, *high),
            Request::Release { owner } => {
                if server.owner == Some(*owner) {
                    server.owner = None;
                }
                Answer::Free
            }
        })
    }

    fn keep(
        &self,
        server: &mut Server,
        time: u8,
        owner: Owner,
        turn: u8,
        mut record: Kept,
    ) -> Answer {
        if server.owner != Some(owner) && self.flaw != Flaw::NoFence {
            return Answer::Refused;
        }
        let again = server.turn == turn;
        if again && self.flaw != Flaw::NoTurns {
            server.until = time + 3;
            return Answer::Kept;
        }
        let fenced = self.flaw != Flaw::NoFence && self.flaw != Flaw::NoTurns;
        if fenced && (server.turn + 1 != turn || record.block.seq <= server.last()) {
            return Answer::Refused;
        }
        server.before = Some(Box::new(Server {
            before: None,
            ..server.clone()
        }));
        server.turn = turn;
        server.until = time + 3;
        server.doubt = false;
        if server.owner != Some(owner) {
            record.token = 0;
        }
        server.records.push(record);
        Answer::Kept
    }

    #[expect(clippy::too_many_arguments, reason = "the arguments of a script")]
    fn look(
        &self,
        server: &mut Server,
        time: u8,
        strive: bool,
        me: Owner,
        before: Owner,
        branch: u8,
        high: u8,
    ) -> Answer {
        let ours = server.owner == Some(before) || server.owner == Some(me);
        let leased = server.owner.is_some() && server.until > time && !ours;
        if self.flaw != Flaw::NoBranches && !ours && server.is_other(branch, high) {
            return Answer::Other;
        }
        if leased {
            return Answer::Leased {
                remaining: server.until - time,
            };
        }
        if !strive {
            return Answer::Free;
        }
        let whole = server.run == server.kept_run && high <= server.last();
        let proved = whole && (!server.doubt || self.flaw == Flaw::NoDoubt);
        let continuous = proved || self.flaw == Flaw::BlindTrust;
        if !continuous {
            // Tokens are counted by a server, and it may lose count; names of
            // acquisitions are not.
            server.parent = Some(server.branch);
            server.branch = 10 * (1 + me.replica) + me.acquisition;
            server.fork = server.last();
            server.doubt = true;
        }
        server.owner = Some(me);
        server.token += 1;
        server.turn = 0;
        server.kept_run = server.run;
        server.until = time + 3;
        Answer::Mine {
            token: server.token,
            last: server.last(),
            continuous,
            branch: server.branch,
        }
    }

    // === Mishaps ===

    fn mishaps(&self, world: &World, next: &mut Vec<World>) {
        let mut mishap = |act: &dyn Fn(&mut World)| {
            let mut world = world.clone();
            world.mishaps += 1;
            act(&mut world);
            next.push(world);
        };
        for at in 0..REPLICAS {
            let replica = &world.replicas[at];
            if replica.dead {
                continue;
            }
            mishap(&|world| world.replicas[at].dead = true);
            if replica.awake {
                mishap(&|world| world.replicas[at].awake = false);
            }
            if replica.acts() && !replica.diverged {
                self.mishaps_of(world, at, &mut mishap);
            }
        }
        mishap(&|world| world.server.run += 1);
        if world.server.before.is_some() {
            mishap(&|world| world.lose_tail());
        }
        for at in 0..REPLICAS {
            if !world.replicas[at].awake {
                // To wake is no mishap of its own.
                let mut world = world.clone();
                world.replicas[at].awake = true;
                self.tick(&mut world.replicas[at], self.at(world.time));
                next.push(world);
            }
        }
    }

    /// What can go wrong with a request: it, its answer or both are late or lost.
    fn mishaps_of(&self, world: &World, at: usize, mishap: &mut impl FnMut(&dyn Fn(&mut World))) {
        let replica = &world.replicas[at];
        let fates = [
            Fate {
                executed: true,
                answered: true,
                late: false,
            },
            Fate {
                executed: true,
                answered: false,
                late: false,
            },
            Fate {
                executed: true,
                answered: false,
                late: true,
            },
            Fate {
                executed: false,
                answered: false,
                late: true,
            },
            Fate {
                executed: false,
                answered: false,
                late: false,
            },
        ];
        let due = self.request(replica, at, world.time);
        for fate in fates {
            if let Some(request) = due.as_ref().filter(|_| replica.asked.is_none()) {
                mishap(&|world| world.replicas[at].asked = self.send(world, request, fate));
            }
            let block = self.block(world, replica).filter(|_| replica.owned);
            if let Some(block) = block.filter(|_| replica.append.is_none()) {
                mishap(&|world| {
                    let request = world.new_append(at, block);
                    world.replicas[at].append = self.send(world, &request, fate);
                });
            }
        }
        if replica.owned && replica.append.is_none() {
            mishap(&|world| self.release(world, at));
        }
    }

    fn send(&self, world: &mut World, request: &Request, fate: Fate) -> Option<Asked> {
        let answer = fate
            .executed
            .then(|| self.execute(world, request))
            .flatten();
        if fate.late {
            world.late.push(request.clone());
        }
        Some(Asked {
            request: request.clone(),
            sent: world.time,
            answer: answer.filter(|_| fate.answered),
        })
    }

    fn release(&self, world: &mut World, at: usize) {
        let owner = world.replicas[at].owner(at);
        let replica = &mut world.replicas[at];
        replica.lease.released(self.at(world.time));
        replica.owned = false;
        self.execute(world, &Request::Release { owner });
    }
}

/// What becomes of a request.
#[derive(Clone, Copy)]
struct Fate {
    executed: bool,
    answered: bool,
    /// It, or a copy of it, may be executed at any later time.
    late: bool,
}

impl Fate {
    const USUAL: Self = Self {
        executed: true,
        answered: true,
        late: false,
    };
}

impl Replica {
    fn acts(&self) -> bool {
        self.awake && !self.dead
    }

    fn owner(&self, at: usize) -> Owner {
        Owner {
            replica: u8::try_from(at).unwrap(),
            acquisition: self.acquisition,
        }
    }

    fn high(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap()
    }

    fn refused(&mut self, now: Instant) {
        self.lease.refused(now);
        self.owned = false;
    }
}

impl Server {
    fn last(&self) -> u8 {
        self.records.last().map_or(0, |kept| kept.block.seq)
    }

    fn is_other(&self, branch: u8, cursor: u8) -> bool {
        let child = self.parent == Some(branch);
        cursor > 0 && self.branch != branch && (!child || cursor > self.fork)
    }
}

impl World {
    fn new_append(&mut self, at: usize, block: Block) -> Request {
        let replica = &mut self.replicas[at];
        if block.seq > replica.high() {
            self.events += 1;
        }
        replica.turn += 1;
        Request::Append {
            owner: replica.owner(at),
            turn: replica.turn,
            block,
            epoch: replica.epoch,
        }
    }

    /// A restart without the newest record, and without whatever came after it:
    /// as with a file that is cut, or a server that had not been told yet.
    fn lose_tail(&mut self) {
        if let Some(before) = self.server.before.take() {
            let run = self.server.run + 1;
            self.lossy = true;
            self.server = Server { run, ..*before };
        }
    }

    /// What must hold always.
    fn check(&self) -> Result<(), &'static str> {
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
        let open = self.replicas.iter().filter(|r| r.acts() && r.owned);
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

    /// Who follows has what is kept, as far as both go, or is told to forget.
    fn check_logs(&self) -> Result<(), &'static str> {
        for replica in self.replicas.iter().filter(|r| r.acts() && !r.diverged) {
            let kept = self.server.records.iter().map(|kept| &kept.block);
            let differs = replica.log.iter().zip(kept).any(|(a, b)| a != b);
            let known = !self.server.is_other(replica.branch, replica.high());
            if differs && known && replica.refilled.is_none() {
                return Err("a log differs from what is kept, and nobody can tell");
            }
        }
        Ok(())
    }
}

fn explorer(flaw: Flaw, bounds: Bounds) -> Explorer {
    Explorer {
        flaw,
        bounds,
        start: Instant::now(),
    }
}

#[test]
fn what_is_promised_holds_whatever_happens() {
    let bounds = match std::env::var("MODEL").ok() {
        Some(t) => {
            let v: Vec<u8> = t.split(',').map(|x| x.parse().unwrap()).collect();
            Bounds {
                time: v[0],
                events: v[1],
                mishaps: v[2],
            }
        }
        None => Bounds {
            time: 5,
            events: 2,
            mishaps: 1,
        },
    };
    match explorer(Flaw::None, bounds).explore() {
        Ok(states) => println!("{states} states, {bounds:?}"),
        Err(how) => panic!("{how}"),
    }
}

#[test]
fn a_flaw_is_found() {
    for (flaw, mishaps) in [
        (Flaw::NoFence, 2),
        (Flaw::NoTurns, 1),
        (Flaw::BlindTrust, 1),
        (Flaw::NoDoubt, 2),
        (Flaw::NoBranches, 1),
        (Flaw::NoExpiry, 1),
    ] {
        let bounds = Bounds {
            time: 4,
            events: 2,
            mishaps,
        };
        let begun = std::time::Instant::now();
        let found = explorer(flaw, bounds).explore();
        let how = found.expect_err(&format!("{flaw:?} changes nothing"));
        println!(
            "{:?} {flaw:?}: {}",
            begun.elapsed(),
            how.split(" in ").next().unwrap()
        );
    }
}
