//! Every stream of the process, by key, under one cap on bytes.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::key::Key;
use super::owners::Owners;
use super::stream::{Standing, Stream};

const SHARDS: usize = 64;

/// Time between searches for streams to evict, if there are none.
const AGAIN: Duration = Duration::from_millis(100);

/// All streams.
pub struct Registry {
    // Sharded, because every new client takes a lock once; never held while
    // anything else is locked or polled.
    shards: Box<[Mutex<HashMap<Key, Slot>>]>,
    hasher: RandomState,
    bytes: AtomicI64,
    cap: AtomicI64,
    owners: Owners,
    /// When a search for streams to evict last found none.
    in_vain: Mutex<Option<Instant>>,
}

enum Slot {
    Opening(Opening),
    Open(Arc<Stream>),
}

/// What became of a claim on a key.
pub enum Claim {
    /// The stream exists.
    Open(Arc<Stream>),
    /// Somebody else is opening it; wait for [`Opening::done`], then look again.
    Opening(Opening),
    /// It is yours to open.
    Mine(Claimed),
}

/// Somebody else's attempt to open a stream.
#[derive(Clone)]
pub struct Opening {
    done: watch::Receiver<bool>,
    cancel: watch::Sender<bool>,
}

impl Opening {
    /// Asks whoever makes the attempt to give it up.
    pub fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// Resolves when the attempt is over, whatever came of it: whether there was
    /// an answer, or whoever made it left before.
    pub async fn done(mut self) -> bool {
        // Nothing is ever announced; the end is that the sender is dropped.
        while self.done.changed().await.is_ok() {}
        *self.done.borrow()
    }
}

/// The right to open the stream of a key, given up when dropped.
pub struct Claimed {
    registry: Arc<Registry>,
    key: Key,
    open: bool,
    done: watch::Sender<bool>,
    cancel: watch::Receiver<bool>,
}

impl Claimed {
    /// Notes that the upstream has answered, with a stream or without.
    pub fn answered(&self) {
        self.done.send_if_modified(|answered| {
            *answered = true;
            false
        });
    }

    /// Resolves when somebody wants the attempt to be given up.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut cancel = self.cancel.clone();
        async move {
            if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
                // There is nobody left who could want it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Puts the stream in its place.
    pub fn fill(mut self, stream: &Arc<Stream>) {
        self.open = true;
        self.registry.insert(self.key.clone(), stream);
    }

    /// The stream is in its place, and moves already: it may be gone again.
    pub(crate) fn filled(mut self) {
        self.open = true;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.open {
            self.registry.shard(&self.key).remove(&self.key);
        }
    }
}

impl Registry {
    /// An empty registry that keeps no more than so many bytes for replay.
    pub fn new(cap: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            bytes: AtomicI64::new(0),
            cap: AtomicI64::new(i64::try_from(cap).unwrap_or(i64::MAX)),
            owners: Owners::default(),
            in_vain: Mutex::new(None),
        }
    }

    /// Keeps no more than so many bytes from now on: if there are more, the next
    /// event makes room.
    pub fn set_cap(&self, cap: usize) {
        let cap = i64::try_from(cap).unwrap_or(i64::MAX);
        self.cap.store(cap, Ordering::Relaxed);
    }

    fn cap(&self) -> i64 {
        self.cap.load(Ordering::Relaxed)
    }

    /// Streams by whose they are.
    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Slot>> {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[at])
    }

    /// The stream of a key.
    pub fn find(&self, key: &Key) -> Option<Arc<Stream>> {
        match self.shard(key).get(key) {
            Some(Slot::Open(stream)) => Some(Arc::clone(stream)),
            _ => None,
        }
    }

    /// The stream of a key, or the right to open it.
    pub fn claim(self: &Arc<Self>, key: &Key) -> Claim {
        match self.shard(key).entry(key.clone()) {
            Entry::Occupied(slot) => match slot.get() {
                Slot::Open(stream) => Claim::Open(Arc::clone(stream)),
                Slot::Opening(opening) => Claim::Opening(opening.clone()),
            },
            Entry::Vacant(slot) => {
                let (done, waiting) = watch::channel(false);
                let (cancel, cancelled) = watch::channel(false);
                slot.insert(Slot::Opening(Opening {
                    done: waiting,
                    cancel,
                }));
                Claim::Mine(Claimed {
                    registry: Arc::clone(self),
                    key: key.clone(),
                    open: false,
                    done,
                    cancel: cancelled,
                })
            }
        }
    }

    /// An attempt to open the stream of a key, if one is under way.
    pub fn opening(&self, key: &Key) -> Option<Opening> {
        match self.shard(key).get(key)? {
            Slot::Opening(opening) => Some(opening.clone()),
            Slot::Open(_) => None,
        }
    }

    /// Adds a stream.
    pub fn insert(&self, key: Key, stream: &Arc<Stream>) {
        self.shard(&key).insert(key, Slot::Open(Arc::clone(stream)));
    }

    /// Removes a stream, unless another one has its key by now.
    pub(crate) fn remove(&self, key: &Key, stream: &Arc<Stream>) {
        if let Entry::Occupied(slot) = self.shard(key).entry(key.clone())
            && matches!(slot.get(), Slot::Open(kept) if Arc::ptr_eq(kept, stream))
        {
            slot.remove();
        }
    }

    /// Bytes retained over all streams.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Adds to the bytes retained. Over the cap, streams nobody reads are
    /// evicted, the longest unread first; says whether it is still over it.
    pub(crate) fn charge(&self, bytes: i64) -> bool {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        bytes > 0 && now > self.cap() && self.evict_unread()
    }

    fn evict_unread(&self) -> bool {
        // One at a time: whoever comes meanwhile only trims itself.
        let Ok(mut in_vain) = self.in_vain.try_lock() else {
            return true;
        };
        // Nor again at once: with all streams read, every batch would look
        // through all of them.
        if in_vain.is_some_and(|at| at.elapsed() < AGAIN) {
            return true;
        }
        // Evicted streams go when their tasks get to it: what they will free is
        // counted as free already, or all would have to go.
        let mut bytes = self.bytes.load(Ordering::Relaxed);
        let mut unread = Vec::new();
        for stream in self.streams() {
            match stream.standing() {
                Standing::Read => {}
                Standing::Unread(since) => unread.push((since, stream)),
                Standing::Leaving => bytes -= stream.cost(),
            }
        }
        *in_vain = unread.is_empty().then(Instant::now);
        unread.sort_by_key(|(since, _)| *since);
        // Make room for more than one batch, so that this is done rarely.
        let target = self.cap() - self.cap() / 16;
        for (_, stream) in unread {
            if bytes <= target {
                break;
            }
            bytes -= stream.cost();
            stream.evict();
        }
        bytes > self.cap()
    }

    /// Every stream there is now.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams = Vec::new();
        for shard in &self.shards {
            streams.extend(lock(shard).values().filter_map(|slot| match slot {
                Slot::Open(stream) => Some(Arc::clone(stream)),
                Slot::Opening(_) => None,
            }));
        }
        streams
    }
}

// A map is never left half changed by a panic of its users.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("bytes", &self.bytes())
            .field("cap", &self.cap())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claimed")
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening")
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Opening(_) => "Opening",
            Self::Mine(_) => "Mine",
        })
    }
}
