//! Proxies before proxies: whatever hop is cut and whoever is killed, a client
//! at the end of the chain sees what one of a single proxy would.
//!
//! Every hop but the first has a proxy for its upstream, which goes on after
//! `Last-Event-ID`: so it is declared, even where the origin does not.

use crate::checker::{Kind, Promise, Upstream, check};
use crate::crowd::Crowd;
use crate::origin::{Manner, Origin};
use crate::process::{Proxy, Setup};
use crate::relay::Relay;
use crate::seed::Seed;
use crate::transcript::Story;

const RESUMES: &str = "resume: last_event_id";

/// The origin, and proxies one before the other, with a network between any
/// two and before the last.
struct Chain {
    origin: Origin,
    proxies: Vec<Proxy>,
    relays: Vec<Relay>,
    crowd: Crowd,
}

impl Chain {
    /// So many hops; `ids` is what all but the first do with the ids of shared
    /// and of private streams.
    async fn start(hops: usize, [shared_ids, private_ids]: [&str; 2]) -> Self {
        let origin = Origin::start(Manner::default()).await;
        let mut upstream = origin.url().to_owned();
        let (mut proxies, mut relays) = (Vec::new(), Vec::new());
        for hop in 0..hops {
            let (bare, common, own) = match hop {
                0 => ("resume: none", "ids: auto", "ids: auto"),
                _ => (RESUMES, shared_ids, private_ids),
            };
            let proxy = Proxy::start(
                &format!("hop {hop}"),
                &Setup {
                    upstream: &upstream,
                    journal: "kind: memory",
                    routes: &[
                        ("/shared/ids", &shared(&[RESUMES, common])),
                        ("/shared/bare", &shared(&[bare, common])),
                        ("/private/ids", &[RESUMES, own].join(", ")),
                        ("/private/bare", &[bare, own].join(", ")),
                    ],
                },
            )
            .await;
            let relay = Relay::to(proxy.address()).await;
            upstream = format!("http://{}", relay.address());
            proxies.push(proxy);
            relays.push(relay);
        }
        let last = relays.last().unwrap().address();
        let mut crowd = Crowd::new([last]);
        crowd.join_shared(8, "/shared/ids");
        crowd.join_shared(8, "/shared/bare");
        crowd.join_private(6, "/private/ids");
        crowd.join_private(6, "/private/bare");
        crowd.begun().await;
        Self {
            origin,
            proxies,
            relays,
            crowd,
        }
    }

    /// Cuts some clients, or a hop.
    fn cut(&self, seed: &mut Seed) {
        match seed.below(self.relays.len() + 1) {
            0 => self.crowd.shuffle(seed, 3),
            hop => self.relays[hop - 1].reset(),
        }
    }

    /// That, and some of the origin's connections.
    async fn cut_everything(&self, seed: &mut Seed) {
        for _ in 0..60 {
            seed.pause(0..200).await;
            self.cut(seed);
            if seed.one_in(4) {
                self.origin.cut(|_| seed.one_in(3));
            }
        }
    }

    async fn finish(&self) -> Story {
        self.crowd.finish(&self.origin).await
    }
}

fn shared(more: &[&str]) -> String {
    format!("mode: shared, principal: [], {}", more.join(", "))
}

/// What is promised while the first proxy has its log, and the origin is not
/// cut: whatever became of the others, nobody can tell.
fn nothing_lost(_: &str) -> Promise {
    Promise {
        kind: Kind::Endless,
        gaps: &[],
        kept: true,
        upstream: Upstream::One,
    }
}

/// What is promised when the origin is cut: only one that resends can make up
/// for it. What came before the cut, everybody is given.
fn with_seams(feed: &str) -> Promise {
    Promise {
        gaps: gaps(feed, &["upstream"]),
        ..nothing_lost(feed)
    }
}

/// What is promised when the first proxy loses its log, and with it all that an
/// origin does not resend. A client that is cut before it has an id of its new
/// private stream is given another one; the first one goes when nobody comes.
fn with_losses(feed: &str) -> Promise {
    Promise {
        gaps: gaps(feed, &["upstream", "unknown-id"]),
        kept: !feed.contains("/bare"),
        upstream: if feed.contains("/private") {
            Upstream::Leased
        } else {
            Upstream::One
        },
        ..nothing_lost(feed)
    }
}

fn gaps(feed: &str, reasons: &'static [&'static str]) -> &'static [&'static str] {
    if feed.contains("/bare") { reasons } else { &[] }
}

const ASSIGNED: [&str; 2] = ["ids: assign", "ids: assign"];
const AUTO: [&str; 2] = ["ids: auto", "ids: auto"];
const PRESERVED: [&str; 2] = ["ids: preserve", "ids: preserve"];
/// What a shared stream was, the next hop asks its upstream for; a private one
/// is found by the next hop itself.
const MIXED: [&str; 2] = ["ids: preserve", "ids: auto"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_are_cut() {
    let mut seed = Seed::of("two_hops_are_cut");
    let chain = Chain::start(2, AUTO).await;
    chain.cut_everything(&mut seed).await;
    check(chain.finish().await, with_seams).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hops_are_cut() {
    let mut seed = Seed::of("three_hops_are_cut");
    let chain = Chain::start(3, AUTO).await;
    chain.cut_everything(&mut seed).await;
    check(chain.finish().await, with_seams).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_middle_of_three_is_killed() {
    let mut seed = Seed::of("the_middle_of_three_is_killed");
    let mut chain = Chain::start(3, MIXED).await;
    for _ in 0..12 {
        seed.pause(100..600).await;
        chain.cut(&mut seed);
        chain.proxies[1].process.kill().await;
        seed.pause(0..100).await;
        chain.proxies[1].process.restart().await;
    }
    check(chain.finish().await, nothing_lost).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_middle_of_three_is_drained() {
    let mut seed = Seed::of("the_middle_of_three_is_drained");
    let mut chain = Chain::start(3, MIXED).await;
    for _ in 0..8 {
        seed.pause(100..600).await;
        chain.cut(&mut seed);
        chain.proxies[1].process.terminate().await;
        seed.pause(0..100).await;
        chain.proxies[1].process.restart().await;
    }
    check(chain.finish().await, nothing_lost).assert_kept();
}

/// The third hop's ids of a private stream would be too long to carry two
/// others: what it forgets, its upstream is to be asked for by its own ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_three_is_killed_and_ids_are_preserved() {
    let mut seed = Seed::of("any_of_three_is_killed_and_ids_are_preserved");
    any_is_killed(Chain::start(3, PRESERVED).await, &mut seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_of_two_is_killed_and_ids_are_assigned() {
    let mut seed = Seed::of("either_of_two_is_killed_and_ids_are_assigned");
    any_is_killed(Chain::start(2, ASSIGNED).await, &mut seed).await;
}

async fn any_is_killed(mut chain: Chain, seed: &mut Seed) {
    for _ in 0..12 {
        seed.pause(100..600).await;
        chain.cut(seed);
        let victim = seed.below(chain.proxies.len());
        chain.proxies[victim].process.kill().await;
        seed.pause(0..100).await;
        chain.proxies[victim].process.restart().await;
    }
    check(chain.finish().await, with_losses).assert_kept();
}
