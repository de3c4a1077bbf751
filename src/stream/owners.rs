//! Streams by whose they are: to list them, to end them all, and to bound what
//! somebody leaves running.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::stream::Stream;

const SHARDS: usize = 16;

type Principal = [u8; 32];

/// The streams of everybody who can be told from others.
#[derive(Default)]
pub(crate) struct Owners {
    // Locked for a look or a change, never together with anything else.
    shards: [Mutex<HashMap<Principal, Belongings>>; SHARDS],
}

/// What one principal has.
#[derive(Default)]
struct Belongings {
    /// By the stream's address, which it keeps as long as it lives.
    streams: HashMap<usize, Weak<Stream>>,
    /// Those that run although nobody reads them, the longest first.
    detached: VecDeque<usize>,
}

impl Owners {
    /// Notes a stream, if it is anybody's.
    pub(crate) fn add(&self, stream: &Arc<Stream>) {
        if let Some(principal) = &stream.principal {
            let mut shard = self.shard(principal);
            let belongings = shard.entry(*principal).or_default();
            let entry = Arc::downgrade(stream);
            belongings.streams.insert(address(stream), entry);
        }
    }

    /// It is no more.
    pub(crate) fn remove(&self, stream: &Arc<Stream>) {
        let Some(principal) = &stream.principal else {
            return;
        };
        let mut shard = self.shard(principal);
        if let Entry::Occupied(mut entry) = shard.entry(*principal) {
            let belongings = entry.get_mut();
            belongings.streams.remove(&address(stream));
            belongings.detached.retain(|at| *at != address(stream));
            if belongings.streams.is_empty() {
                entry.remove();
            }
        }
    }

    /// All streams of a principal.
    pub(crate) fn streams(&self, principal: &Principal) -> Vec<Arc<Stream>> {
        let shard = self.shard(principal);
        let belongings = shard.get(principal);
        let streams = belongings.map(|belongings| belongings.streams.values());
        streams
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Notes that a stream runs although nobody reads it, or no more. If its
    /// principal has more of those than `limit`, the one that has been so for
    /// the longest time is to stop.
    pub(crate) fn detach(
        &self,
        stream: &Arc<Stream>,
        detached: bool,
        limit: usize,
    ) -> Option<Arc<Stream>> {
        let mut shard = self.shard(stream.principal.as_ref()?);
        let belongings = shard.get_mut(stream.principal.as_ref()?)?;
        belongings.detached.retain(|at| *at != address(stream));
        if !detached {
            return None;
        }
        belongings.detached.push_back(address(stream));
        if belongings.detached.len() <= limit {
            return None;
        }
        let first = belongings.detached.pop_front()?;
        belongings.streams.get(&first)?.upgrade()
    }

    fn shard(&self, principal: &Principal) -> MutexGuard<'_, HashMap<Principal, Belongings>> {
        // It is a hash already.
        let shard = &self.shards[usize::from(principal[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(stream: &Arc<Stream>) -> usize {
    Arc::as_ptr(stream).addr()
}
