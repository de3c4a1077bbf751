//! The incarnations of one log.

use super::id::{Epoch, EventId};

/// So many former ones are remembered: each is one loss of continuity, which
/// clients of before the one before are not expected to have slept through.
const FORMER: usize = 4;

/// Under which epochs the blocks of a log were published.
///
/// A log goes on under a new epoch when it cannot be ruled out that others have
/// been given the ids that would come next. Its positions go on; what was
/// published before is still found under its old ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epochs {
    current: Epoch,
    /// With the last position under each, oldest first.
    former: Vec<(Epoch, u64)>,
}

impl Epochs {
    pub(crate) fn new(current: Epoch) -> Self {
        Self::with_former(current, Vec::new())
    }

    pub(crate) fn with_former(current: Epoch, former: Vec<(Epoch, u64)>) -> Self {
        Self { current, former }
    }

    /// Under which the next block is published.
    pub(crate) fn current(&self) -> Epoch {
        self.current
    }

    pub(crate) fn former(&self) -> &[(Epoch, u64)] {
        &self.former
    }

    /// Goes on under another epoch after the position `last`.
    pub(crate) fn begin(&mut self, next: Epoch, last: u64) {
        let former = std::mem::replace(&mut self.current, next);
        // What they had beyond it is lost: others come in its place.
        for (_, end) in &mut self.former {
            *end = last.min(*end);
        }
        self.former.push((former, last));
        if self.former.len() > FORMER {
            self.former.remove(0);
        }
    }

    /// Whether a log that is published under these can be what one that has
    /// reached `high` under `ours` goes on as: what that one published last must
    /// be in it.
    pub(crate) fn continue_from(&self, ours: &Self, high: u64) -> bool {
        let mut known = self.former.iter();
        self.current == ours.current
            || known.any(|(epoch, last)| *epoch == ours.current && *last >= high)
    }

    /// The position an id names in a log that has reached `high`, if any.
    pub(crate) fn place(&self, id: &EventId, high: u64) -> Option<u64> {
        let last = if id.epoch == self.current {
            high
        } else {
            let former = self.former.iter().find(|(epoch, _)| *epoch == id.epoch);
            former?.1.min(high)
        };
        (id.seq <= last).then_some(id.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: Epoch, seq: u64) -> EventId {
        EventId {
            epoch,
            seq,
            carried: None,
        }
    }

    #[test]
    fn an_id_is_found_under_the_epoch_it_was_given_in_and_no_other() {
        let first = Epoch::private().unwrap();
        let second = first.next().unwrap();
        let mut epochs = Epochs::new(first);
        assert_eq!(epochs.place(&id(first, 7), 7), Some(7));
        epochs.begin(second, 7);
        assert_eq!(epochs.place(&id(first, 7), 9), Some(7));
        // Given to somebody by an owner that is no more, but not to this log.
        assert_eq!(epochs.place(&id(first, 8), 9), None);
        assert_eq!(epochs.place(&id(second, 9), 9), Some(9));
        assert_eq!(epochs.place(&id(second, 10), 9), None);
        assert_eq!(epochs.place(&id(first.next().unwrap(), 1), 9), None);
    }

    #[test]
    fn a_log_goes_on_only_from_what_is_part_of_it() {
        let [first, second, third] = [(); 3].map(|()| Epoch::shared().unwrap());
        let ours = Epochs::new(first);
        assert!(ours.continue_from(&ours, 150));
        let mut later = ours.clone();
        later.begin(second, 100);
        assert!(later.continue_from(&ours, 100));
        // Somebody else took 100 for the last of it.
        assert!(!later.continue_from(&ours, 101));
        later.begin(third, 200);
        assert!(later.continue_from(&ours, 100));
        assert!(!Epochs::new(second).continue_from(&ours, 0));
    }

    #[test]
    fn what_was_lost_is_not_taken_for_what_comes_in_its_place() {
        let [first, second, third] = [(); 3].map(|()| Epoch::shared().unwrap());
        let mut epochs = Epochs::new(first);
        epochs.begin(second, 8);
        epochs.begin(third, 5);
        assert_eq!(epochs.place(&id(first, 5), 20), Some(5));
        for lost in [id(first, 6), id(first, 8), id(second, 6)] {
            assert_eq!(epochs.place(&lost, 20), None);
        }
    }

    #[test]
    fn only_the_latest_are_remembered() {
        let first = Epoch::shared().unwrap();
        let mut epochs = Epochs::new(first);
        for last in 1..=FORMER as u64 + 1 {
            epochs.begin(Epoch::shared().unwrap(), last);
        }
        assert_eq!(epochs.former().len(), FORMER);
        assert_eq!(epochs.place(&id(first, 1), 9), None);
    }
}
