//! The protocol by which three replicas share a stream, explored exhaustively.
//!
//! Each replica is a real [`Lease`](super::lease::Lease) and what
//! [`super::place`] does around it; Redis is the scripts, restated. Between any
//! two steps, requests and answers may be late or lost, a replica may sleep, and
//! wake or not, Redis may restart, with or without its newest record, and an
//! owner may let go. How many such mishaps there are, how many events and how
//! much time, is bounded; within the bounds every order of steps is tried.
//!
//! Not in it: how a stream is claimed and begun, trimming, and replicas that go
//! on alone.
//!
//! What must hold in every state is in [`World::check`]. That the exploration
//! would notice if it did not is shown by flaws that are put in on purpose.
//! `TOWER_SSE_MODEL=time,events,mishaps` explores within other bounds; each
//! mishap more means about forty times as many states.

mod mishap;
mod replica;
mod server;
mod world;

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use self::world::World;

const REPLICAS: usize = 3;
const UNIT: Duration = Duration::from_secs(1);
/// In units, how long Redis holds a stream for its owner.
const TTL: u8 = 3;

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
    /// What was replaced is not told from what was there before.
    NoBranches,
    /// An owner does not look at its clock.
    NoExpiry,
    /// What is read meanwhile, and what becomes of an append, are both believed.
    NoPatience,
}

/// How far the exploration goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    time: u8,
    events: u8,
    mishaps: u8,
}

/// What is explored, and how far.
#[derive(Clone, Copy, Debug)]
struct Rules {
    flaw: Flaw,
    bounds: Bounds,
    start: Instant,
}

impl Rules {
    fn new(flaw: Flaw, bounds: Bounds) -> Self {
        Self {
            flaw,
            bounds,
            start: Instant::now(),
        }
    }

    fn at(&self, time: u8) -> Instant {
        self.start + UNIT * u32::from(time)
    }

    /// Tries every order of steps; how many states there are, or how one came
    /// about in which something does not hold.
    fn explore(&self) -> Result<usize, String> {
        let mut seen = HashSet::new();
        let mut frontier = VecDeque::from([World::first(self)]);
        while let Some(world) = frontier.pop_front() {
            for mut next in world.steps(self) {
                next.normalize(self);
                if !seen.insert(digest(&next)) {
                    continue;
                }
                if let Err(what) = next.check() {
                    return Err(format!("{what} in {next:#?}"));
                }
                frontier.push_back(next);
            }
        }
        Ok(seen.len())
    }
}

/// 64 bits of a million states collide once in forty million runs, and then a
/// state is not looked at.
fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn bounds() -> Bounds {
    let Ok(text) = std::env::var("TOWER_SSE_MODEL") else {
        return Bounds {
            time: 3,
            events: 2,
            mishaps: 1,
        };
    };
    let mut numbers = text.split(',').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    Bounds {
        time: next(),
        events: next(),
        mishaps: next(),
    }
}

#[test]
fn what_is_promised_holds_whatever_happens() {
    let bounds = bounds();
    match Rules::new(Flaw::None, bounds).explore() {
        Ok(states) => println!("{states} states within {bounds:?}"),
        Err(how) => panic!("{how}"),
    }
}

#[test]
fn every_flaw_is_found() {
    for (flaw, time, events, mishaps) in [
        (Flaw::NoFence, 4, 2, 2),
        (Flaw::NoTurns, 1, 1, 1),
        (Flaw::BlindTrust, 3, 2, 1),
        (Flaw::NoDoubt, 1, 2, 2),
        (Flaw::NoBranches, 3, 2, 1),
        (Flaw::NoExpiry, 3, 0, 1),
        (Flaw::NoPatience, 2, 1, 2),
    ] {
        let bounds = Bounds {
            time,
            events,
            mishaps,
        };
        let found = Rules::new(flaw, bounds).explore();
        let how = found.expect_err("the flaw changes nothing");
        println!("{flaw:?}: {}", how.lines().next().unwrap());
    }
}
