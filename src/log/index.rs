use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// Where in the log an upstream id was last delivered from.
///
/// An id is indexed by its first occurrence: a client that names it is sent
/// everything after that, which may repeat an event but cannot lose one.
#[derive(Debug, Default)]
pub(crate) struct Index {
    // Ids come from outside: the map's hash is keyed (std's default).
    by_id: HashMap<Bytes, u64>,
    order: VecDeque<(u64, Bytes)>,
}

impl Index {
    pub(crate) fn insert(&mut self, id: &Bytes, seq: u64) {
        if let Entry::Vacant(place) = self.by_id.entry(id.clone()) {
            place.insert(seq);
            self.order.push_back((seq, id.clone()));
        }
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// The id that was first delivered at this position.
    pub(crate) fn at(&self, seq: u64) -> Option<&Bytes> {
        let at = self.order.partition_point(|(at, _)| *at < seq);
        let (found, id) = self.order.get(at)?;
        (*found == seq).then_some(id)
    }

    /// The last id up to this position.
    pub(crate) fn last(&self, seq: u64) -> Option<&(u64, Bytes)> {
        let after = self.order.partition_point(|(at, _)| *at <= seq);
        self.order.get(after.checked_sub(1)?)
    }

    /// Forgets ids from which replay would no longer be complete.
    pub(crate) fn trim(&mut self, oldest_cursor: u64) {
        while let Some((seq, _)) = self.order.front() {
            if *seq >= oldest_cursor {
                break;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.by_id.remove(&id);
            }
        }
    }
}
