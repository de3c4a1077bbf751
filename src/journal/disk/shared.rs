use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::queue::{Command, Queue};
use crate::journal::Health;

/// What the writer shares with those who ask it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    health: Mutex<Health>,
    tokens: AtomicU64,
    /// Room in the queue, in pieces of [`PIECE`].
    room: Arc<Semaphore>,
}

const PIECE: usize = 1 << 10;

/// So much may wait to be written, in bytes. Whoever comes with more waits
/// until there is room.
const ROOM: usize = 64 << 20;

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::default(),
            health: Mutex::default(),
            tokens: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(ROOM / PIECE)),
        }
    }

    /// Sends a command; after the end its sender has no answer.
    pub(super) fn send(&self, command: Command) {
        drop(self.queue.push(command));
    }

    /// A token that nobody has had.
    pub(super) fn token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// Room for so many bytes, if there is.
    pub(super) fn try_room(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room);
        room.try_acquire_many_owned(pieces(size)).ok()
    }

    /// The same, once there is. What is larger than all there is takes all.
    pub(super) async fn room(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room);
        room.acquire_many_owned(pieces(size)).await.ok()
    }

    pub(super) fn health(&self) -> Health {
        let health = self.health.lock();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_health(&self, health: Health) {
        let mut known = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *known = health;
    }
}

fn pieces(size: usize) -> u32 {
    u32::try_from(size.div_ceil(PIECE).clamp(1, ROOM / PIECE)).unwrap_or(u32::MAX)
}
