//! Clients of a lost region, coming back to the others.
//!
//! Every client notices, waits, and asks one of the surviving regions at random.
//! There it is accepted, waits in the queue of those not accepted yet, or is
//! refused because the queue is full; then it waits again. A region's edges are
//! taken for one queue: a load balancer is thought to be fair.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use fastrand::Rng;

use crate::options::Options;

/// How long clients wait before they ask again. Times in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// What they were once told by `retry:`, each its own value of a range.
    Told { low: f64, high: f64 },
    /// Drawn each time from zero to a bound that doubles.
    FullJitter { initial: f64, most: f64 },
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Storm {
    /// Attempts that found the queue full.
    pub(crate) refused: u64,
    /// The longest time anybody waited to be accepted, having arrived.
    pub(crate) longest_queue: f64,
    /// Moments of all attempts and of all successes, in order.
    arrived: Vec<f64>,
    accepted: Vec<f64>,
}

/// One client, who knows what it was told and how often it has asked.
#[derive(Clone, Copy)]
struct Client {
    told: f64,
    attempts: u32,
}

pub(crate) fn surviving_edges(options: &Options) -> u64 {
    (options.regions - 1) * options.edges()
}

impl Storm {
    pub(crate) fn run(options: &Options, wait: Wait) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let mut regions = vec![Region::new(options); usize_of(options.regions - 1)];
        let mut clients = Vec::new();
        let mut next = BinaryHeap::new();
        for number in 0..usize_of(options.clients / options.regions) {
            let mut client = wait.client(&mut rng);
            let noticed = rng.f64() * options.notice;
            next.push(Reverse((
                micros(noticed + wait.next(&mut client, &mut rng)),
                number,
            )));
            clients.push(client);
        }
        let mut storm = Self {
            refused: 0,
            longest_queue: 0.0,
            arrived: Vec::new(),
            accepted: Vec::new(),
        };
        while let Some(Reverse((at, number))) = next.pop() {
            let now = at as f64 / 1e6;
            storm.arrived.push(now);
            let region = rng.usize(..regions.len());
            if let Some(accepted) = regions[region].ask(now) {
                storm.longest_queue = storm.longest_queue.max(accepted - now);
                storm.accepted.push(accepted);
            } else {
                storm.refused += 1;
                let pause = wait.next(&mut clients[number], &mut rng);
                next.push(Reverse((micros(now + pause), number)));
            }
        }
        storm.accepted.sort_by(f64::total_cmp);
        storm
    }

    /// Most attempts within one second of the clock.
    pub(crate) fn peak(&self) -> u64 {
        self.seconds()
            .map(|(arrived, _)| arrived)
            .max()
            .unwrap_or(0)
    }

    /// When half of the clients are back.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.accepted.get(self.accepted.len() / 2);
        middle.copied().unwrap_or(0.0)
    }

    /// When all are.
    pub(crate) fn last(&self) -> f64 {
        self.accepted.last().copied().unwrap_or(0.0)
    }

    /// Attempts and successes in each second.
    pub(crate) fn seconds(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut from = 0.0;
        std::iter::from_fn(move || {
            let until = from + 1.0;
            let within = |moments: &[f64]| {
                let first = moments.partition_point(|at| *at < from);
                let end = moments.partition_point(|at| *at < until);
                (end - first) as u64
            };
            let counts = (within(&self.arrived), within(&self.accepted));
            let more = from <= self.last();
            from = until;
            more.then_some(counts)
        })
    }
}

impl Wait {
    fn client(self, rng: &mut Rng) -> Client {
        let told = match self {
            Self::Told { low, high } => low + rng.f64() * (high - low),
            Self::FullJitter { .. } => 0.0,
        };
        Client { told, attempts: 0 }
    }

    fn next(self, client: &mut Client, rng: &mut Rng) -> f64 {
        client.attempts += 1;
        match self {
            Self::Told { .. } => client.told,
            Self::FullJitter { initial, most } => {
                let doubled = initial * f64::from(1 << (client.attempts - 1).min(20));
                rng.f64() * doubled.min(most)
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { low, high } => write!(f, "retry: {low}s..{high}s"),
            Self::FullJitter { initial, most } => {
                write!(f, "full jitter, {initial} s to {most} s")
            }
        }
    }
}

/// A queue that is served at a steady rate.
#[derive(Clone, Debug)]
struct Region {
    per_second: f64,
    backlog: f64,
    /// When whoever is in it now will have been accepted.
    free: f64,
}

impl Region {
    fn new(options: &Options) -> Self {
        let edges = options.edges();
        Self {
            per_second: (edges * options.accept) as f64,
            backlog: (edges * options.backlog) as f64,
            free: 0.0,
        }
    }

    /// When a client that asks now is accepted; never, if too many wait.
    fn ask(&mut self, now: f64) -> Option<f64> {
        let begin = self.free.max(now);
        let waiting = ((begin - now) * self.per_second).round();
        if waiting >= self.backlog {
            return None;
        }
        self.free = begin + 1.0 / self.per_second;
        Some(self.free)
    }
}

/// Moments as whole numbers, which have an order.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "moments are positive and within an hour or so"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Cases that can be reckoned by hand.
pub(crate) fn self_test() {
    let options = Options {
        clients: 20_000,
        regions: 2,
        per_proxy: 10_000,
        accept: 1_000,
        backlog: 100_000,
        notice: 0.0,
        ..Options::default()
    };
    let together = Wait::Told {
        low: 3.0,
        high: 3.0,
    };
    let storm = Storm::run(&options, together);
    assert_eq!((storm.peak(), storm.refused), (10_000, 0));
    // 10,000 at once, and 1,000 a second after that.
    assert!((storm.last() - 13.0).abs() < 1e-3, "{}", storm.last());
    assert!((storm.longest_queue - 10.0).abs() < 1e-3);

    // 100 find room at first, and as many whenever the others come back, all
    // of whom have been accepted by then.
    let short = Options {
        backlog: 100,
        ..options.clone()
    };
    let storm = Storm::run(&short, together);
    let rounds = 10_000 / 100;
    assert_eq!(storm.refused, 100 * (1..rounds).sum::<u64>());
    assert!((storm.last() - 300.1).abs() < 1e-3, "{}", storm.last());

    // Who is spread enough meets nobody, and is back exactly when it comes.
    let spread = Wait::Told {
        low: 2.0,
        high: 30.0,
    };
    let quick = Options {
        accept: 1_000_000_000,
        ..options
    };
    let storm = Storm::run(&quick, spread);
    assert_eq!(storm.accepted.len(), 10_000);
    assert!((storm.median() - 16.0).abs() < 0.5, "{}", storm.median());
    assert!(storm.peak() < 10_000 / 28 * 2, "{}", storm.peak());
    assert_eq!(storm, Storm::run(&quick, spread), "the same seed");
}
