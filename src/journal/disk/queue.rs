use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::reading::Reading;
use crate::journal::{Appended, JournalError, Name, News, Record};

/// Where an answer goes. Whoever asked may be gone.
pub(super) type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the writer is asked to do. A replica is called by its token, which is
/// given once.
#[derive(Debug)]
pub(super) enum Command {
    Create {
        name: Name,
        token: u64,
        news: UnboundedSender<News>,
    },
    Find {
        name: Name,
        token: u64,
        news: UnboundedSender<News>,
        /// Whether it is to be made if it is not there.
        claim: bool,
        answer: Answer<Place>,
    },
    Begin {
        token: u64,
        head: Bytes,
        retain: Duration,
    },
    Append {
        token: u64,
        record: Record,
        /// Its share of what may be in the queue.
        room: Option<OwnedSemaphorePermit>,
        answer: Answer<Appended>,
    },
    Trim {
        token: u64,
        low: u64,
    },
    Leave {
        token: u64,
    },
    Forget {
        token: u64,
        answer: Answer<()>,
    },
    Unalias {
        alias: Name,
        stream: Name,
    },
    Alias {
        alias: Name,
        stream: Name,
        retain: Duration,
        instead: Option<Name>,
        answer: Answer<Option<Name>>,
    },
    Resolve {
        alias: Name,
        answer: Answer<Option<Name>>,
    },
    /// A sync that was begun is done, or has failed.
    Synced,
    Close {
        answer: Option<Answer<()>>,
    },
}

/// What was found under a name.
#[derive(Debug)]
pub(super) enum Place {
    Nothing,
    /// It was nobody's, and is now the asker's.
    New,
    Kept(Reading),
}

/// Commands on their way to the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    /// Whether the writer has to be woken.
    waiting: bool,
    closed: bool,
}

impl Queue {
    // Nothing that can panic is done under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command; gives it back after the end. To drop it then is to
    /// answer it.
    pub(super) fn push(&self, command: Command) -> Option<Command> {
        let mut state = self.state();
        if state.closed {
            return Some(command);
        }
        state.commands.push(command);
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        if waiting {
            self.ready.notify_one();
        }
        None
    }

    /// Takes all there are, in order, into an empty `into`; waits for one, but
    /// no longer than this.
    pub(super) fn take(&self, into: &mut Vec<Command>, wait: Option<Duration>) {
        let mut state = self.state();
        if state.commands.is_empty() && wait != Some(Duration::ZERO) {
            state.waiting = true;
            let idle = |state: &mut State| state.commands.is_empty();
            state = if let Some(wait) = wait {
                let woken = self.ready.wait_timeout_while(state, wait, idle);
                woken.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let woken = self.ready.wait_while(state, idle);
                woken.unwrap_or_else(PoisonError::into_inner)
            };
            state.waiting = false;
        }
        mem::swap(into, &mut state.commands);
    }

    /// Takes no more, and returns what is still there.
    pub(super) fn close(&self) -> Vec<Command> {
        let mut state = self.state();
        state.closed = true;
        mem::take(&mut state.commands)
    }
}
