//! The name of a one-shot in the journal, which is to be known for as long as
//! its answer runs: once it is forgotten, the same request would be executed
//! again.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::Engine;
use super::settings::Settings;
use crate::journal::{JournalError, Name};

/// Names are not said to be in use more often than twice in this.
const LEAST: Duration = Duration::from_secs(60);

/// What it takes to say that a name is in use.
#[derive(Clone)]
pub(super) struct Renewal {
    engine: Engine,
    alias: Name,
    stream: Name,
    retain: Duration,
    /// How long it is known beyond `retain`.
    spare: Duration,
}

impl Renewal {
    /// Of a name that this stream is to have.
    pub(super) fn new(engine: Engine, alias: Name, stream: Name, settings: &Settings) -> Self {
        Self {
            engine,
            alias,
            stream,
            retain: settings.retain,
            spare: settings.max_runtime.max(LEAST),
        }
    }

    /// Gives the stream its name, or says that it is in use: see
    /// [`Journal::alias`](crate::journal::Journal::alias). `None` if nothing is
    /// kept.
    pub(super) async fn give(
        &self,
        instead: Option<&Name>,
    ) -> Option<Result<Option<Name>, JournalError>> {
        let term = self.retain.saturating_add(self.spare);
        let journal = self.engine.journal();
        Some(
            journal
                .alias(&self.alias, &self.stream, term, instead)?
                .await,
        )
    }

    /// Takes the name back: nothing came of it.
    pub(super) fn take_back(&self) {
        self.engine.journal().unalias(&self.alias, &self.stream);
    }

    /// Does this, and says again and again meanwhile that the name is in use,
    /// while it is needed.
    pub(super) async fn during<T>(
        self,
        work: impl Future<Output = T>,
        needed: impl Fn() -> bool,
    ) -> T {
        let mut work = pin!(work);
        let mut renewing = pin!(self.renew(needed));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            renewing.as_mut().poll(cx).map(|never| match never {})
        })
        .await
    }

    async fn renew(self, needed: impl Fn() -> bool) -> Infallible {
        loop {
            sleep(self.spare / 2).await;
            if !needed() {
                return pending().await;
            }
            if let Some(Err(error)) = self.give(None).await {
                tracing::warn!(%error, "an answer's name is not renewed; it is tried again");
            }
        }
    }
}
