use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Chunk, Ending, Log};

/// A place in a log: a cursor and a waker. Dropping it detaches it.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    slot: usize,
    cursor: u64,
    /// The head when this reader came: what lies before is replay.
    came_at: u64,
    told: Told,
}

/// How a reader reads, and what it was told beside the blocks.
#[derive(Debug)]
pub(super) struct Told {
    /// Number of the last upstream comment.
    pub(super) comment: u64,
    /// Position of the last gap.
    pub(super) gap: Option<u64>,
    /// Whether it takes blocks by units.
    pub(super) by_unit: bool,
}

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Blocks, of which `replayed` were retained before the reader came.
    Data {
        /// The blocks.
        chunk: Chunk,
        /// How many there are.
        events: u64,
        /// How many of them are replay.
        replayed: u64,
    },
    /// Between the last block and the next one, the upstream lost events: so
    /// many, if that is known. Said once.
    Gap(Option<u64>),
    /// A comment line of the upstream, complete with its line end.
    Comment(Bytes),
    /// So many blocks were trimmed before this reader took them. It cannot go
    /// on: its client must come back and be told.
    Lagged(u64),
    /// The reader is asked to end cleanly at that time. Said once.
    CloseAt(Instant),
    /// Nothing more will come.
    Ended(Ending),
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, slot: usize, cursor: u64, came_at: u64, comment: u64) -> Self {
        Self {
            log,
            slot,
            cursor,
            came_at,
            told: Told {
                comment,
                gap: None,
                by_unit: false,
            },
        }
    }

    /// From now on takes blocks by units, of which others, if there are any, may
    /// need the same [form](super::Form).
    pub fn by_unit(mut self) -> Self {
        self.told.by_unit = true;
        self
    }

    /// Position of the last block taken.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next thing to write, or a wake-up when there is one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let (slot, cursor, came_at) = (self.slot, self.cursor, self.came_at);
        let told = &mut self.told;
        let next = if told.by_unit {
            self.log.poll_next::<true>(slot, cursor, came_at, told, cx)
        } else {
            self.log.poll_next::<false>(slot, cursor, came_at, told, cx)
        };
        if let Poll::Ready(Next::Data { chunk, .. }) = &next {
            self.cursor = chunk.last;
        }
        next
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.detach(self.slot);
    }
}
