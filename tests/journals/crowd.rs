//! All clients of a test, and how it comes to an end that can be judged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::client::{Session, Wish};
use crate::origin::Origin;
use crate::process::{PATIENCE, eventually};
use crate::seed::Seed;
use crate::transcript::Story;

/// A reader that is connected gets to where a feed stands within this time.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Clients of the same proxies.
pub(crate) struct Crowd {
    proxies: Arc<[String]>,
    sessions: Vec<Session>,
}

impl Crowd {
    /// Of proxies given by host and port.
    pub(crate) fn new(proxies: impl IntoIterator<Item = String>) -> Self {
        Self {
            proxies: proxies.into_iter().collect(),
            sessions: Vec::new(),
        }
    }

    /// One more, at any of the proxies.
    pub(crate) fn join(&mut self, wish: Wish) -> &Session {
        let first = self.sessions.len() % self.proxies.len();
        self.join_at(wish, first)
    }

    pub(crate) fn join_at(&mut self, wish: Wish, proxy: usize) -> &Session {
        let name = format!("client {} of {}", self.sessions.len(), wish.path());
        let session = Session::start(&name, wish, &self.proxies, proxy);
        self.sessions.push(session);
        self.sessions.last().unwrap()
    }

    /// So many readers of a feed that all share.
    pub(crate) fn join_shared(&mut self, count: usize, path: &str) {
        for _ in 0..count {
            self.join(Wish::feed(path));
        }
    }

    /// So many users, each with a feed of its own below this path.
    pub(crate) fn join_private(&mut self, count: usize, path: &str) {
        for user in 0..count {
            let user = format!("user-{user}");
            self.join(Wish::feed(format!("{path}/{user}")).of(&user));
        }
    }

    /// Every client has had an event.
    pub(crate) async fn begun(&self) {
        let reads = |session: &Session| session.last() > 0;
        eventually("every client has had an event", || {
            self.sessions.iter().all(reads)
        })
        .await;
    }

    /// One in so many clients loses its connection, and goes to any proxy.
    pub(crate) fn shuffle(&self, seed: &mut Seed, chance: usize) {
        for session in &self.sessions {
            if seed.one_in(chance) {
                session.go_to(seed.below(self.proxies.len()));
            }
        }
    }

    /// How many wait for the rest of an answer.
    pub(crate) fn waiting(&self) -> usize {
        let waits = |session: &&Session| session.wants_answer() && !session.is_done();
        self.sessions.iter().filter(waits).count()
    }

    /// Everything runs again: lets all clients come to the same end, and tells
    /// what they have seen. Whoever does not get there is for the checker.
    pub(crate) async fn finish(&self, origin: &Origin) -> Story {
        let feeds = self.sessions.iter().filter(|s| !s.wants_answer());
        let marks: Vec<_> = feeds.map(|s| (s, origin.high(s.feed()))).collect();
        let wait = async {
            // Past this moment first: then each of them is connected.
            all(|| marks.iter().all(|(s, mark)| s.last() > *mark)).await;
            let read = || marks.iter().all(|(s, _)| s.last() == origin.high(s.feed()));
            loop {
                origin.count(false);
                if timeout(STANDSTILL, all(read)).await.is_ok() {
                    break;
                }
                // Somebody's upstream was just lost, and does not resend.
                origin.count(true);
                sleep(STANDSTILL).await;
            }
            all(|| self.waiting() == 0).await;
            // Whoever was deposed knows it by then.
            all(|| origin.most_crowded() <= 1).await;
        };
        let _ = timeout(PATIENCE / 2, wait).await;
        origin.count(false);
        let feeds = marks.iter().map(|(s, _)| s.feed());
        let ends = feeds.map(|feed| (feed.to_owned(), origin.high(feed)));
        let (connections, executions) = origin.story();
        Story {
            ends: ends.collect(),
            sessions: self.sessions.iter().map(Session::transcript).collect(),
            connections,
            executions,
        }
    }
}

/// Asks again and again until it is so, however long that takes.
async fn all(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(10)).await;
    }
}
