use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::queue::Command;
use super::shared::Shared;
use crate::journal::{Appended, JournalError, News, Record, Replica, Reply};

/// A stream's place in a journal on disk. Nobody but this process can follow
/// it, so it is owned for as long as it lives.
pub(super) struct DiskReplica {
    shared: Arc<Shared>,
    token: u64,
    news: UnboundedReceiver<News>,
    /// Nothing is to be said when it is dropped.
    forgotten: bool,
}

impl DiskReplica {
    /// A replica, and what it is told by.
    pub(super) fn new(shared: &Arc<Shared>) -> (Self, UnboundedSender<News>) {
        let (sender, news) = unbounded_channel();
        let replica = Self {
            shared: Arc::clone(shared),
            token: shared.token(),
            news,
            forgotten: false,
        };
        (replica, sender)
    }

    pub(super) fn token(&self) -> u64 {
        self.token
    }
}

impl Replica for DiskReplica {
    fn begin(&mut self, head: Bytes, retain: Duration) {
        self.shared.send(Command::Begin {
            token: self.token,
            head,
            retain,
        });
    }

    fn append(&mut self, record: Record) -> Option<Reply<Appended>> {
        let (answer, kept) = oneshot::channel();
        let token = self.token;
        let size = record.batch.bytes.len() + record.state.len();
        // Room there is nearly always; then the record is on its way before
        // the answer is first asked for.
        let Some(room) = self.shared.try_room(size) else {
            let shared = Arc::clone(&self.shared);
            return Some(Box::pin(async move {
                let room = shared.room(size).await;
                let command = Command::Append {
                    token,
                    record,
                    room,
                    answer,
                };
                shared.send(command);
                answered(kept.await)
            }));
        };
        self.shared.send(Command::Append {
            token,
            record,
            room: Some(room),
            answer,
        });
        Some(Box::pin(async move { answered(kept.await) }))
    }

    fn trim(&mut self, low: u64) {
        let token = self.token;
        self.shared.send(Command::Trim { token, low });
    }

    fn attend(&mut self, _read: bool) {}

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        match self.news.poll_recv(cx) {
            Poll::Ready(Some(news)) => Poll::Ready(news),
            // The writer has ended and has nothing more to say.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// There is nobody to give it to.
    fn release(&mut self) -> Option<Reply<()>> {
        None
    }

    fn forget(mut self: Box<Self>) -> Option<Reply<()>> {
        self.forgotten = true;
        let (answer, done) = oneshot::channel();
        let token = self.token;
        self.shared.send(Command::Forget { token, answer });
        Some(Box::pin(async move { answered(done.await) }))
    }
}

impl Drop for DiskReplica {
    fn drop(&mut self) {
        if !self.forgotten {
            let token = self.token;
            self.shared.send(Command::Leave { token });
        }
    }
}

impl fmt::Debug for DiskReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskReplica")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// An answer that never came is one that the closed journal did not give.
pub(super) fn answered<T>(
    answer: Result<Result<T, JournalError>, oneshot::error::RecvError>,
) -> Result<T, JournalError> {
    answer.unwrap_or_else(|_| Err(JournalError::new("closed; nothing more is kept")))
}
