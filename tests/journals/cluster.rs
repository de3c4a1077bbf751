//! Three proxies before one origin, and one Redis behind them; between each
//! proxy and Redis a network of its own.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use crate::crowd::Crowd;
use crate::origin::{Manner, Origin};
use crate::process::{Proxy, Setup};
use crate::redis::Redis;
use crate::relay::Relay;
use crate::seed::Seed;
use crate::service::{ANSWER, ROUTES};
use crate::transcript::Story;

/// How long a dead owner keeps its place. Short, so that tests see many.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) struct Cluster {
    pub(crate) origin: Origin,
    pub(crate) redis: Redis,
    pub(crate) networks: Vec<Relay>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) crowd: Crowd,
    /// One at a time: on a busy machine an owner may fail to keep its lease,
    /// and all would see only that.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::const_new(());

/// What a cluster's journals are told, beside where their Redis is.
pub(crate) struct Terms<'a> {
    pub(crate) lease: Duration,
    pub(crate) on_journal_loss: &'a str,
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self {
            lease: LEASE,
            on_journal_loss: "pause",
        }
    }
}

impl Terms<'_> {
    fn journal(&self, redis: &str) -> String {
        let (lease, loss) = (self.lease.as_millis(), self.on_journal_loss);
        format!(
            "kind: redis, url: \"redis://{redis}\", secret: \"of the tests, and long enough\", \
             lease: {lease}ms, on_journal_loss: {loss}"
        )
    }
}

impl Cluster {
    /// Without clients.
    pub(crate) async fn start(terms: &Terms<'_>) -> Self {
        Self::with(|redis| terms.journal(redis)).await
    }

    /// With journals that need not be in Redis, given where it is.
    pub(crate) async fn with(journal: impl Fn(&str) -> String) -> Self {
        let turn = TURN.lock().await;
        let redis = Redis::start().await;
        let origin = Origin::start(Manner {
            pace: Duration::from_millis(200),
            answer: ANSWER,
            ..Manner::default()
        })
        .await;
        let (mut networks, mut proxies) = (Vec::new(), Vec::new());
        for name in ["proxy A", "proxy B", "proxy C"] {
            let network = Relay::to(redis.address()).await;
            let setup = Setup {
                upstream: origin.url(),
                journal: &journal(&network.address()),
                routes: ROUTES,
            };
            proxies.push(Proxy::start(name, &setup).await);
            networks.push(network);
        }
        let crowd = Crowd::new(proxies.iter().map(|proxy| proxy.address().to_owned()));
        Self {
            origin,
            redis,
            networks,
            proxies,
            crowd,
            _turn: turn,
        }
    }

    /// So many clients of each of four kinds of streams, spread over all
    /// proxies.
    pub(crate) async fn filled(mut self, shared: usize, private: usize) -> Self {
        self.crowd.join_shared(shared, "/shared/ids");
        self.crowd.join_shared(shared, "/shared/bare");
        self.crowd.join_private(private, "/private/ids");
        self.crowd.join_private(private, "/private/bare");
        self.crowd.begun().await;
        self
    }

    /// Kills a proxy, and brings it back when others own what it owned.
    pub(crate) async fn kill(&mut self, victim: usize) {
        self.proxies[victim].process.kill().await;
        sleep(LEASE).await;
        self.proxies[victim].process.restart().await;
    }

    /// Stops a proxy for longer than its lease. Its clients hear nothing, and
    /// some of them leave before they give it up.
    pub(crate) async fn pause(&mut self, victim: usize, seed: &mut Seed) {
        self.proxies[victim].process.pause().await;
        sleep(LEASE / 2).await;
        self.crowd.shuffle(seed, 2);
        sleep(LEASE * 3 / 2).await;
        self.proxies[victim].process.resume().await;
    }

    /// Cuts a proxy from Redis for longer than its lease.
    pub(crate) async fn cut_off(&self, victim: usize) {
        self.networks[victim].cut();
        sleep(LEASE * 2).await;
        self.networks[victim].heal();
    }

    pub(crate) async fn finish(&self) -> Story {
        self.crowd.finish(&self.origin).await
    }
}

/// Proxies that know nothing of each other are found out.
mod tests {
    use super::*;
    use crate::checker::{Violation, check};
    use crate::service::kept;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_memories_are_not_one() {
        let mut seed = Seed::of("three_memories_are_not_one");
        let cluster = Cluster::with(|_| "kind: memory".to_owned()).await;
        let mut cluster = cluster.filled(6, 6).await;
        for _ in 0..5 {
            seed.pause(0..300).await;
            cluster.crowd.shuffle(&mut seed, 2);
        }
        cluster.proxies[0].process.kill().await;
        cluster.proxies[0].process.restart().await;
        let report = check(cluster.crowd.finish(&cluster.origin).await, kept);
        println!("{report}");
        let found = |what: fn(&Violation) -> bool| {
            let mut all = report.violations.iter();
            assert!(all.any(|(_, violation)| what(violation)), "{report}");
        };
        found(|v| matches!(v, Violation::Crowded { .. }));
        found(|v| matches!(v, Violation::Needless { .. }));
    }
}
