//! What all layers of a process share.

use std::fmt;
use std::future::{Future, pending};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(feature = "proxy")]
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

#[cfg(feature = "proxy")]
use super::claims::Claims;
#[cfg(feature = "proxy")]
use super::principal::Principal;
use super::principal::Principals;
#[cfg(feature = "proxy")]
use super::settings::Settings;
use crate::journal::{Health, Journal, Memory, OnLoss};
use crate::stream::key::Names;
use crate::stream::policy::Kind;
use crate::stream::registry::Registry;

/// Bytes retained over all streams where nothing else is said: 1 GiB.
const DEFAULT_BYTES: usize = 1 << 30;

/// A journal is not waited for longer than this when the process ends.
const CLOSING: Duration = Duration::from_secs(5);

/// Nor are streams waited for that do not let their upstream go.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Time between looks for a journal that is out of reach.
const LOOK: Duration = Duration::from_millis(500);

/// The streams of a process: one cap on their memory, one drain.
///
/// Every [`SseLayer`](super::SseLayer) has one; give several layers the same
/// with [`SseLayer::engine`](super::SseLayer::engine) to bound and drain them
/// together.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Arc<Registry>,
    principals: Principals,
    names: Names,
    journal: Arc<dyn Journal>,
    routes: AtomicU64,
    /// When the drain's spread is over, once it has begun.
    drain: watch::Sender<Option<Instant>>,
    /// From when to when clients that leave are told to come back.
    farewell: OnceLock<(Duration, Duration)>,
}

impl Engine {
    /// An engine that retains at most so many bytes for replay, over all
    /// streams. Beyond it, streams nobody reads are forgotten, the longest
    /// unread first; then those that are read give up the older half of what
    /// they retain.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers to give: without them,
    /// ids could be guessed.
    pub fn new(buffered_bytes: usize) -> Self {
        Self::with_journal(buffered_bytes, Arc::new(Memory))
    }

    /// The same, with streams that outlive this process in a journal.
    ///
    /// Layers are told apart by their order there, so processes that share a
    /// journal (or one after a restart) must make the same layers in the same
    /// order, or name them with [`SseLayer::name`](super::SseLayer::name).
    ///
    /// End with [`drain`](Self::drain), which closes the journal in order.
    ///
    #[cfg_attr(
        feature = "disk",
        doc = r#"```no_run
use std::sync::Arc;
use tower_sse::journal::disk::{Disk, DiskSettings};
use tower_sse::{Engine, SseLayer};

# fn main() -> Result<(), tower_sse::journal::JournalError> {
let journal = Disk::open(DiskSettings::new("/var/lib/my-service/streams"))?;
let engine = Engine::with_journal(1 << 30, Arc::new(journal));
let layer = SseLayer::new().engine(engine.clone()).name("chat");
# Ok(())
# }
```
"#
    )]
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn with_journal(buffered_bytes: usize, journal: Arc<dyn Journal>) -> Self {
        let names = Names::new(journal.secret().unwrap_or_else(random_key));
        Self {
            shared: Arc::new(Shared {
                registry: Arc::new(Registry::new(buffered_bytes)),
                principals: Principals::new(names.hash(b"principals", b"")),
                names,
                journal,
                routes: AtomicU64::new(0),
                drain: watch::Sender::new(None),
                farewell: OnceLock::new(),
            }),
        }
    }

    /// Bytes retained for replay now, with an allowance for each stream.
    pub fn buffered_bytes(&self) -> u64 {
        self.shared.registry.bytes()
    }

    /// Ends every live GET stream cleanly, each client's at a random moment
    /// within `spread`, so that they do not all come back at once. One-shot
    /// streams may run on. Resolves when nobody reads any more, or after
    /// `deadline`, when the rest is aborted.
    pub async fn drain(&self, spread: Duration, deadline: Duration) {
        let registry = &self.shared.registry;
        let begin = Instant::now();
        for stream in registry.streams() {
            stream.hand_over();
        }
        self.shared
            .drain
            .send_replace(Some(moment_at(begin, spread)));
        loop {
            let elapsed = begin.elapsed();
            let streams = registry.streams();
            let left = spread.saturating_sub(elapsed);
            for stream in &streams {
                if stream.policy.kind != Kind::OneShot {
                    if let Some((least, most)) = self.shared.farewell.get() {
                        stream.part_with(*least, *most);
                    }
                    stream.log().close_readers(|| moment_within(left));
                }
            }
            let read = || streams.iter().any(|s| s.log().readers() > 0);
            if elapsed >= deadline {
                for stream in &streams {
                    stream.log().abort_readers("shutting down");
                }
                return self.close().await;
            }
            if !read() {
                return self.close().await;
            }
            // Clients still come on connections that are open.
            let step = Duration::from_millis(50).min(deadline.saturating_sub(elapsed));
            tokio::time::sleep(step).await;
        }
    }

    /// Has the clients that a [`drain`](Self::drain) asks to leave told when to
    /// come back: each after another time of this range, by a `retry:` that is
    /// the last line it reads. Without it they are not told. A client keeps to
    /// that time for as long as its page lives, or until it is told another.
    pub fn part_with(&self, range: RangeInclusive<Duration>) {
        let _ = self.shared.farewell.set(range.into_inner());
    }

    /// Retains from now on at most so many bytes for replay, over all streams.
    pub fn set_buffered_bytes(&self, bytes: usize) {
        self.shared.registry.set_cap(bytes);
    }

    /// What the journal has is made as safe as it can be, and others may go on
    /// with it.
    async fn close(&self) {
        if self.is_shared() {
            self.let_go().await;
        }
        let Some(closed) = self.shared.journal.close() else {
            return;
        };
        match tokio::time::timeout(CLOSING, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the journal was not closed in order"),
            Err(_) => tracing::warn!("the journal took too long to close"),
        }
    }

    /// Forgets all streams but one-shots. Each lets its upstream go, and then its
    /// place in the journal; a journal that is closed would give the place to
    /// others first, and they would connect upstream beside this process.
    async fn let_go(&self) {
        let begin = Instant::now();
        while begin.elapsed() < LETTING_GO {
            let mut streams = self.shared.registry.streams();
            streams.retain(|stream| stream.policy.kind != Kind::OneShot);
            if streams.is_empty() {
                return;
            }
            for stream in streams {
                stream.part();
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether other processes have the same streams.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.journal.is_shared()
    }

    /// Whether clients wait for a journal that is out of reach.
    pub(super) fn waits(&self) -> bool {
        self.is_shared() && self.shared.journal.on_loss() == OnLoss::Pause
    }

    /// Resolves when it is worth asking the journal again: not for all who wait
    /// at the same moment.
    pub(super) fn journal_is_back(&self) -> impl Future<Output = ()> + Send + use<> {
        let journal = Arc::clone(&self.shared.journal);
        async move {
            loop {
                sleep(LOOK.mul_f64(0.5 + fastrand::f64())).await;
                if journal.health().durable {
                    return;
                }
            }
        }
    }

    /// How the journal does.
    pub fn journal_health(&self) -> Health {
        self.shared.journal.health()
    }

    /// Resolves at a random moment of the drain, for bodies that are in no
    /// registry.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut drain = self.shared.drain.subscribe();
        async move {
            // An error means that the engine is gone: nobody will drain it.
            let Ok(until) = drain.wait_for(Option::is_some).await.map(|until| *until) else {
                return pending().await;
            };
            let left = until.map_or(Duration::ZERO, |at| at - Instant::now());
            sleep_until(moment_within(left)).await;
        }
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    pub(super) fn principals(&self) -> &Principals {
        &self.shared.principals
    }

    /// Whose a request is, for limits that are not the layer's.
    #[cfg(feature = "proxy")]
    pub(crate) fn principal_of(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        claims: Option<&Claims>,
    ) -> Principal {
        let credentials = settings.credentials();
        self.principals().of(credentials, headers, claims)
    }

    pub(super) fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
    }

    /// What streams are called in the journal.
    pub(super) fn names(&self) -> &Names {
        &self.shared.names
    }

    /// A number that tells this engine's routes apart.
    pub(super) fn next_route(&self) -> u64 {
        self.shared.routes.fetch_add(1, Ordering::Relaxed)
    }
}

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    #[expect(clippy::expect_used, reason = "nothing may run without it")]
    getrandom::fill(&mut key).expect("the operating system's random numbers");
    key
}

/// A random moment from now on.
fn moment_within(spread: Duration) -> Instant {
    let delay = Duration::try_from_secs_f64(spread.as_secs_f64() * fastrand::f64());
    moment_at(Instant::now(), delay.unwrap_or_default())
}

/// So long after. Past the end of time it is as good as at once: the deadline
/// would come first.
fn moment_at(from: Instant, delay: Duration) -> Instant {
    from.checked_add(delay).unwrap_or(from)
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("registry", &self.shared.registry)
            .finish_non_exhaustive()
    }
}
