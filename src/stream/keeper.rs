//! A stream's place in its journal, and who may write there.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::saved::{Birth, Saved};
use crate::journal::{Appended, News, Record, Replica, Reply};
use crate::log::Batch;

/// A replica, and what its stream makes of it.
pub(super) struct Keeper {
    replica: Box<dyn Replica>,
    pub(super) role: Role,
    /// What came while a record was on its way.
    pending: VecDeque<News>,
    /// For a journal that does not have the stream, or not any more.
    birth: Bytes,
    /// How the last owner left the stream, for the next one.
    pub(super) saved: Saved,
    /// Whether replicas that follow have readers.
    pub(super) read_elsewhere: bool,
    read_here: bool,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// This process: what it publishes is kept first.
    Owner,
    /// Another one, or none yet.
    Follower,
    /// The same, and whether there is such a stream is not known yet.
    Waiting,
    /// This process, without the journal.
    Alone,
}

impl Keeper {
    /// Of a stream that begins here.
    pub(super) fn owner(mut replica: Box<dyn Replica>, birth: &Birth, retain: Duration) -> Self {
        let encoded = birth.encode();
        replica.begin(encoded.clone(), retain);
        Self::new(replica, Role::Owner, encoded, Saved::new(birth))
    }

    /// Of one that begins here while the journal is out of reach.
    pub(super) fn unknown(replica: Box<dyn Replica>, role: Role, birth: &Birth) -> Self {
        Self::new(replica, role, birth.encode(), Saved::new(birth))
    }

    /// Of one that the journal has.
    pub(super) fn follower(replica: Box<dyn Replica>, birth: Bytes, saved: Saved) -> Self {
        Self::new(replica, Role::Follower, birth, saved)
    }

    fn new(replica: Box<dyn Replica>, role: Role, birth: Bytes, saved: Saved) -> Self {
        Self {
            replica,
            role,
            pending: VecDeque::new(),
            birth,
            saved,
            read_elsewhere: false,
            read_here: false,
        }
    }

    /// Whether what is published is in the journal.
    pub(super) fn is_durable(&self) -> bool {
        self.role != Role::Alone
    }

    /// Whether another process has the upstream, or may have.
    pub(super) fn follows(&self) -> bool {
        matches!(self.role, Role::Follower | Role::Waiting)
    }

    /// Makes a stream known that the journal does not have.
    pub(super) fn begin(&mut self, retain: Duration) {
        self.replica.begin(self.birth.clone(), retain);
    }

    pub(super) fn append(
        &mut self,
        batch: Batch,
        saved: &Saved,
        low: u64,
    ) -> Option<Reply<Appended>> {
        // The last record is kept whatever is retained: it has the last state.
        let low = low.min(batch.last().saturating_sub(1));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = since.map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        });
        self.replica.append(Record {
            batch,
            state: saved.encode(),
            at,
            low,
        })
    }

    pub(super) fn attend(&mut self, read: bool) {
        if std::mem::replace(&mut self.read_here, read) != read {
            self.replica.attend(read);
        }
    }

    /// What lies up to `low` is not retained; the log has reached `high`.
    pub(super) fn trim(&mut self, low: u64, high: u64) {
        if self.role == Role::Owner {
            self.replica.trim(low.min(high.saturating_sub(1)));
        }
    }

    /// Follows from now on, if others are there to go on.
    pub(super) fn release(&mut self) -> Option<Reply<()>> {
        self.role = Role::Follower;
        self.replica.release()
    }

    /// Asks whoever owns the stream to end it.
    pub(super) fn stop(&mut self, forget: bool) {
        self.replica.stop(forget);
    }

    /// Nothing of it is to be kept.
    pub(super) fn forget(self) -> Option<Reply<()>> {
        self.replica.forget()
    }

    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        match self.pending.pop_front() {
            Some(news) => Poll::Ready(news),
            None => self.replica.poll_news(cx),
        }
    }

    /// Looks for news while a record is on its way. They wait for what becomes
    /// of it; but whether the stream is disowned must be known at once.
    pub(super) fn is_disowned(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(news) = self.replica.poll_news(cx) {
            self.pending.push_back(news);
        }
        self.pending.contains(&News::Disowned)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("replica", &self.replica)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
