use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::journal::Journaling;
use super::place::{Exchange, Place, Step, encoded};
use super::scripts::Call;
use crate::journal::{Appended, JournalError, News, Record, Replica, Reply};

/// A stream's place in Redis.
pub(super) struct RedisReplica {
    journaling: Arc<Journaling>,
    place: Arc<Place>,
}

impl RedisReplica {
    pub(super) fn new(journaling: Arc<Journaling>, place: Arc<Place>) -> Self {
        journaling.shared.add(&place);
        Self { journaling, place }
    }

    fn stir(&self) {
        self.journaling.shared.stir(self.place.id);
    }

    fn ask(&self, call: Call) -> Reply<()> {
        let client = Arc::clone(&self.journaling.shared.client);
        Box::pin(async move {
            match client.call(&call).await {
                Ok(_) => Ok(()),
                Err(away) => Err(JournalError::new(away.0)),
            }
        })
    }
}

impl Replica for RedisReplica {
    fn begin(&mut self, head: Bytes, retain: Duration) {
        let now = Instant::now();
        self.place.with(|state| state.begin(head, retain, now));
        self.stir();
    }

    fn append(&mut self, record: Record) -> Option<Reply<Appended>> {
        let now = Instant::now();
        if !self.place.with(|state| state.start_append(now)) {
            return Some(Box::pin(std::future::ready(Ok(Appended::Disowned))));
        }
        let append = Append {
            journaling: Arc::clone(&self.journaling),
            place: Arc::clone(&self.place),
            bytes: encoded(&record),
            record,
        };
        Some(Box::pin(append.run()))
    }

    fn trim(&mut self, low: u64) {
        self.place.with(|state| state.trim(low));
    }

    fn attend(&mut self, read: bool) {
        let now = Instant::now();
        self.place.with(|state| state.attend(read, now));
        self.stir();
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        let (news, wants_more) = self.place.with(|state| {
            let news = state.poll_news(cx);
            let wants_more = news.is_pending() && state.wants_more();
            (news, wants_more)
        });
        if wants_more {
            self.stir();
        }
        news
    }

    fn stop(&mut self, forget: bool) {
        let told = self.ask(self.place.with(|state| state.stop_call(forget)));
        tokio::spawn(async move {
            if let Err(error) = told.await {
                tracing::warn!(%error, "a stream's owner was not told to end it");
            }
        });
    }

    fn release(&mut self) -> Option<Reply<()>> {
        let now = Instant::now();
        let call = self.place.with(|state| state.release(now));
        self.stir();
        call.map(|call| self.ask(call))
    }

    fn forget(self: Box<Self>) -> Option<Reply<()>> {
        let call = self.place.with(super::place::State::forget);
        call.map(|call| self.ask(call))
    }
}

impl Drop for RedisReplica {
    fn drop(&mut self) {
        self.place.with(super::place::State::drop_it);
        self.stir();
    }
}

impl fmt::Debug for RedisReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name finds the stream, so it is not for logs.
        f.debug_struct("RedisReplica")
            .field("id", &self.place.id)
            .finish_non_exhaustive()
    }
}

/// A record on its way. Dropping it leaves open what becomes of the record.
struct Append {
    journaling: Arc<Journaling>,
    place: Arc<Place>,
    record: Record,
    bytes: Bytes,
}

impl Append {
    /// Tries until there is an answer. Trying again is harmless: a record that
    /// is there already is not kept twice, and one that a deposed owner sends
    /// is refused.
    async fn run(self) -> Result<Appended, JournalError> {
        let client = Arc::clone(&self.journaling.shared.client);
        let mut attempt = 0;
        loop {
            let step = self
                .place
                .with(|state| state.append_step(&self.record, &self.bytes));
            let call = match step {
                Step::Send(call) => call,
                Step::Wait => {
                    self.place.settled.notified().await;
                    continue;
                }
                Step::Give(what) => return Ok(self.give(what)),
            };
            let (sent, generation) = (Instant::now(), client.generation());
            let Ok(reply) = client.call(&call).await else {
                client.breather(attempt).await;
                attempt += 1;
                continue;
            };
            let when = Exchange {
                sent,
                now: Instant::now(),
                generation,
            };
            let last = self.record.batch.last();
            if let Ok(what) = self.place.with(|state| state.appended(last, reply, when)) {
                return Ok(self.give(what));
            }
            return Err(JournalError::new("redis answered an append strangely"));
        }
    }

    fn give(&self, what: Appended) -> Appended {
        self.place.with(super::place::State::settle_append);
        what
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        let now = Instant::now();
        self.place.with(|state| state.abandon_append(now));
        self.journaling.shared.stir(self.place.id);
    }
}
