use std::time::Duration;

use super::{Claim, Journal, Kept, Name, Replica, Reply};

/// The journal that keeps nothing: the log in memory is all there is.
///
/// Every stream has one owner, this process, and none survives it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Journal for Memory {
    fn create(&self, _: &Name) -> Option<Box<dyn Replica>> {
        None
    }

    fn find(&self, _: &Name) -> Option<Reply<Option<Kept>>> {
        None
    }

    fn claim(&self, _: &Name) -> Option<Reply<Claim>> {
        None
    }

    fn alias(
        &self,
        _: &Name,
        _: &Name,
        _: Duration,
        _: Option<&Name>,
    ) -> Option<Reply<Option<Name>>> {
        None
    }

    fn resolve(&self, _: &Name) -> Option<Reply<Option<Name>>> {
        None
    }

    fn unalias(&self, _: &Name, _: &Name) {}
}
