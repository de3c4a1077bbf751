//! The one task that asks Redis on behalf of all streams of a process.
//!
//! It wakes for whoever has something to do, and when the earliest deadline of
//! any place comes. Requests of many places are under way at once, on the one
//! connection; of one place, one at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::client::{Away, Client};
use super::lock::Lock;
use super::place::{Ask, Common, Exchange, Place};
use super::scripts::Reply;
use super::tail::Hub;

/// How long the streams of a journal that is closed are waited for.
const PARTING: Duration = Duration::from_secs(1);

const TURN: Duration = Duration::from_millis(1);

/// What the streams of one process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    pub(super) common: Arc<Common>,
    pub(super) hub: Hub,
    places: Lock<HashMap<u64, Arc<Place>>>,
    names: Lock<HashMap<String, Vec<u64>>>,
    next_id: AtomicU64,
    /// Places that have something to do.
    stirred: Lock<Vec<u64>>,
    stir: Notify,
    closing: AtomicBool,
    pub(super) closed: Notify,
}

impl Shared {
    pub(super) fn new(client: Arc<Client>, common: Arc<Common>) -> Self {
        Self {
            client,
            common,
            hub: Hub::default(),
            places: Lock::default(),
            names: Lock::default(),
            next_id: AtomicU64::new(1),
            stirred: Lock::default(),
            stir: Notify::new(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes care of a place from now on.
    pub(super) fn add(&self, place: &Arc<Place>) {
        if self.closing.load(Ordering::Acquire) {
            place.with(super::place::State::drop_it);
        }
        let [meta, _] = &place.keys;
        let mut names = self.names.lock();
        names.entry(meta.clone()).or_default().push(place.id);
        drop(names);
        self.places.lock().insert(place.id, Arc::clone(place));
        self.stir(place.id);
    }

    fn remove(&self, id: u64) {
        let Some(place) = self.places.lock().remove(&id) else {
            return;
        };
        let [meta, _] = &place.keys;
        let mut names = self.names.lock();
        if let Some(ids) = names.get_mut(meta) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                names.remove(meta);
            }
        }
        drop(names);
        self.hub.leave(meta, id);
    }

    /// Lets the keeper look after a place.
    pub(super) fn stir(&self, id: u64) {
        self.stirred.lock().push(id);
        self.stir.notify_one();
    }

    /// Something was published about a stream.
    pub(super) fn heard(&self, meta: &str, what: &[u8]) {
        let ids = self.names.lock().get(meta).cloned().unwrap_or_default();
        let now = Instant::now();
        for id in ids {
            if let Some(place) = self.place(id) {
                place.with(|state| state.stirred(what, now));
                self.stir(id);
            }
        }
    }

    /// What was published about these streams may have been missed.
    pub(super) fn may_have_missed(&self, metas: &[String]) {
        let now = Instant::now();
        for meta in metas {
            let ids = self.names.lock().get(meta).cloned().unwrap_or_default();
            for id in ids {
                if let Some(place) = self.place(id) {
                    place.with(|state| state.may_have_missed(now));
                    self.stir(id);
                }
            }
        }
    }

    fn place(&self, id: u64) -> Option<Arc<Place>> {
        self.places.lock().get(&id).cloned()
    }

    /// How many streams are owned here, and how many followed.
    pub(super) fn count(&self) -> (usize, usize) {
        let places: Vec<_> = self.places.lock().values().cloned().collect();
        let owns = |place: &&Arc<Place>| place.with(|state| state.owns());
        let owned = places.iter().filter(owns).count();
        (owned, places.len() - owned)
    }

    /// Everything is handed over, and nothing begun any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let places: Vec<_> = self.places.lock().values().cloned().collect();
        for place in places {
            place.with(super::place::State::drop_it);
            self.stir(place.id);
        }
        self.stir.notify_one();
    }
}

/// An answer, and to what.
type Answer = (Arc<Place>, Ask, Exchange, Result<Reply, Away>);

/// The keeper's own.
struct Keeper {
    shared: Arc<Shared>,
    /// What is asked of Redis.
    asked: FuturesUnordered<BoxFuture<'static, Answer>>,
    deadlines: BTreeSet<(Instant, u64)>,
    deadline_of: HashMap<u64, Instant>,
    /// No answer to a request is worth more of the lease than this.
    limit: Duration,
}

/// Keeps the places, until the journal is closed and they are handed over.
pub(super) async fn keep(shared: Arc<Shared>, timeout: Duration) {
    let limit = timeout.min(shared.common.terms.ttl / 2);
    let mut keeper = Keeper {
        shared,
        asked: FuturesUnordered::new(),
        deadlines: BTreeSet::new(),
        deadline_of: HashMap::new(),
        limit,
    };
    let mut parting = None;
    while !keeper.is_done(parting) {
        keeper.step(parting).await;
        if parting.is_none() && keeper.shared.closing.load(Ordering::Acquire) {
            parting = Some(Instant::now() + PARTING);
        }
    }
    keeper.shared.closed.notify_waiters();
    keeper.shared.closed.notify_one();
}

impl Keeper {
    fn is_done(&self, parting: Option<Instant>) -> bool {
        parting.is_some_and(|at| self.shared.places.lock().is_empty() || Instant::now() >= at)
    }

    async fn step(&mut self, parting: Option<Instant>) {
        let shared = Arc::clone(&self.shared);
        let next = self.deadlines.first().map(|(at, _)| *at);
        let next = [next, parting].into_iter().flatten().min();
        // Without a deadline there is nothing to sleep for; any time will do.
        let until = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            () = shared.stir.notified() => {
                let ids = std::mem::take(&mut *shared.stirred.lock());
                for id in ids {
                    self.look_after(id);
                }
            }
            Some(answer) = self.asked.next(), if !self.asked.is_empty() => self.answered(answer),
            () = sleep_until(until) => self.due(),
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            self.deadline_of.remove(&id);
            self.look_after(id);
        }
    }

    fn answered(&mut self, (place, ask, when, answer): Answer) {
        place.with(|state| match answer {
            Ok(reply) => {
                if state.answered(ask, reply, when).is_err() {
                    tracing::error!(?ask, "redis answered a script strangely");
                    state.failed(ask, when.now);
                }
            }
            Err(_) => state.failed(ask, when.now),
        });
        self.look_after(place.id);
    }

    /// Asks what a place has to ask, and notes when to look after it again.
    fn look_after(&mut self, id: u64) {
        let Some(place) = self.shared.place(id) else {
            return;
        };
        let now = Instant::now();
        let generation = self.shared.client.generation();
        let (asks, listens, over, deadline) = place.with(|state| {
            let asks = state.next(now, generation);
            (asks, state.listens(), state.is_over(), state.deadline())
        });
        if over {
            self.set_deadline(id, None);
            return self.shared.remove(id);
        }
        self.listen(&place, listens);
        self.set_deadline(id, deadline);
        if let Some((ask, call)) = asks {
            let client = Arc::clone(&self.shared.client);
            let limit = self.limit;
            self.asked.push(Box::pin(async move {
                let sent = Instant::now();
                let answer = client.call_within(&call, limit).await;
                let when = Exchange {
                    sent,
                    now: Instant::now(),
                    generation,
                };
                (place, ask, when, answer)
            }));
        }
    }

    fn listen(&self, place: &Place, listens: bool) {
        let [meta, _] = &place.keys;
        if listens {
            self.shared.hub.join(meta, place.id);
        } else {
            self.shared.hub.leave(meta, place.id);
        }
    }

    fn set_deadline(&mut self, id: u64, deadline: Option<Instant>) {
        if let Some(at) = self.deadline_of.remove(&id) {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = deadline {
            // Whatever a deadline is, the others have their turn before it.
            let at = at.max(Instant::now() + TURN);
            self.deadlines.insert((at, id));
            self.deadline_of.insert(id, at);
        }
    }
}
