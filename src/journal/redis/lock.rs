use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that is held for a few assignments and never across an await. What
/// it guards is whole between them, so a panic elsewhere does not spoil it.
#[derive(Debug, Default)]
pub(super) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
