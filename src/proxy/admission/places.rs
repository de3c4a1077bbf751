//! How many of something each client has at this moment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose places are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Address(IpAddr),
    Principal([u8; 32]),
}

/// Counts of those who have any: there are never more entries than permits.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<HashMap<Who, usize>>,
}

/// One place, until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
    who: Who,
}

impl Places {
    /// A place, unless `limit` are taken already.
    pub(crate) fn take(places: &Arc<Self>, who: Who, limit: usize) -> Option<Permit> {
        let mut taken = places.lock();
        let count = taken.entry(who).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Permit {
            places: Arc::clone(places),
            who,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Entry::Occupied(mut count) = taken.entry(self.who) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_and_nobody_is_remembered() {
        let places = Arc::<Places>::default();
        let who = |last| Who::Address(IpAddr::from([192, 0, 2, last]));
        let first = Places::take(&places, who(1), 2).unwrap();
        let second = Places::take(&places, who(1), 2).unwrap();
        assert!(Places::take(&places, who(1), 2).is_none());
        let other = Places::take(&places, who(2), 2).unwrap();
        drop(first);
        let third = Places::take(&places, who(1), 2).unwrap();
        assert!(Places::take(&places, who(1), 2).is_none());
        drop((second, third, other));
        assert!(places.lock().is_empty());
    }

    #[test]
    fn a_limit_of_none_leaves_nothing_behind() {
        let places = Arc::<Places>::default();
        let who = Who::Principal([1; 32]);
        let held = Places::take(&places, who, 1).unwrap();
        assert!(Places::take(&places, who, 1).is_none());
        drop(held);
        assert!(places.lock().is_empty());
    }
}
