//! Getting streams back from the journal: what another process has, or this
//! one had before a restart.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::{Instant, sleep, timeout};

use super::body::SseBody;
use super::cursor::Cursor;
use super::engine::Engine;
use super::inner::Inner;
use super::open::Upstream;
use super::opening::Place;
use super::policy::policy;
use super::principal;
use super::renewal::Renewal;
use super::settings::{Mode, Repeat};
use crate::journal::{self, JournalError, Kept, News, OnLoss, Replica};
use crate::stream::create::KeptStream;
use crate::stream::id::{Epoch, EventId};
use crate::stream::key::Key;
use crate::stream::policy::Kind;
use crate::stream::registry::{Claim, Claimed};
use crate::stream::saved::Birth;
use crate::stream::stream::{Phase, Stream};

/// The answer to a request that another process has sent is waited for this
/// long.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// Time between looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// Events that others have been given are here by then, or the owner is gone.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A stream that is let go again and again is as good as unknown.
const ATTEMPTS: usize = 3;

/// An ended stream is nobody's, so it is this process's by then.
const FREE: Duration = Duration::from_secs(2);

/// What the journal makes of a key that is claimed here.
pub(super) enum Recalled {
    /// The stream is to be opened.
    New(Option<Box<dyn Replica>>),
    /// It is back, and in the registry.
    Stream,
    /// The journal has something else under that name.
    Unusable,
}

/// Sees to it that what a client was given elsewhere is not taken for unknown.
/// It fails if that cannot be told, because the journal is out of reach, and is
/// waited for.
pub(super) async fn catch_up(
    engine: &Engine,
    stream: &Arc<Stream>,
    known: impl Fn(&Stream) -> bool + Sync,
) -> Result<(), JournalError> {
    if known(stream) {
        return Ok(());
    }
    // Unread, it would come to rest.
    let _presence = stream.enter();
    if stream.reach(&known, CATCH_UP).await || !engine.waits() {
        return Ok(());
    }
    // An owner that was deposed may not know it yet, and a follower not that it
    // hears nothing.
    if let Some(found) = engine.journal().find(&engine.names().name(&stream.key)) {
        found.await?;
        stream.reach(&known, CATCH_UP).await;
    }
    Ok(())
}

impl<S, B> Upstream<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    /// The stream an id of ours names, and its place there, if this client may
    /// have it. Somebody else's is as good as none.
    pub(super) async fn find(
        &mut self,
        id: &EventId,
    ) -> Result<Option<(Arc<Stream>, u64)>, JournalError> {
        let Some(locator) = id.epoch.locator() else {
            return Ok(None);
        };
        let key = Key::Located(locator);
        for _ in 0..ATTEMPTS {
            let Some(stream) = self.located(key.clone(), None).await? else {
                return Ok(None);
            };
            if !self.may_have(&stream) {
                return Ok(None);
            }
            let known = |stream: &Stream| stream.place(id).is_some();
            catch_up(&self.route.engine, &stream, known).await?;
            if stream.phase() != Phase::Gone {
                return Ok(stream.place(id).map(|seq| (stream, seq)));
            }
            // It was let go meanwhile; the journal may have it still.
            self.registry().remove(&key, &stream);
        }
        Ok(None)
    }

    /// A stream that is found by its epoch, here or in the journal.
    pub(super) async fn located(
        &mut self,
        key: Key,
        alias: Option<&Key>,
    ) -> Result<Option<Arc<Stream>>, JournalError> {
        let registry = Arc::clone(self.registry());
        if let Some(stream) = registry.find(&key) {
            return Ok(Some(stream));
        }
        let engine = self.route.engine.clone();
        let name = engine.names().name(&key);
        let Some(found) = engine.journal().find(&name) else {
            return Ok(None);
        };
        // Two clients that come back at once get the same stream back.
        let claimed = loop {
            match registry.claim(&key) {
                Claim::Open(stream) => return Ok(Some(stream)),
                Claim::Opening(opening) => {
                    opening.done().await;
                }
                Claim::Mine(claimed) => break claimed,
            }
        };
        let Some(kept) = found.await? else {
            return Ok(None);
        };
        let stream = self.revive(kept, key, alias.cloned());
        if stream.is_some() {
            claimed.filled();
        }
        Ok(stream)
    }

    /// What the journal has under a key that is claimed here; an ended stream
    /// only if it is wanted.
    pub(super) async fn recall(
        &mut self,
        key: &Key,
        ended: bool,
    ) -> Result<Recalled, JournalError> {
        let engine = self.route.engine.clone();
        let name = engine.names().name(key);
        loop {
            let Some(claim) = engine.journal().claim(&name) else {
                return Ok(Recalled::New(None));
            };
            let kept = match claim.await? {
                journal::Claim::Mine(replica) => return Ok(Recalled::New(Some(replica))),
                journal::Claim::Kept(kept) => kept,
            };
            if !ended && KeptStream::is_ended(&kept) {
                if forget(kept.replica).await? {
                    continue;
                }
                return Ok(Recalled::Unusable);
            }
            return Ok(match self.revive(kept, key.clone(), None) {
                Some(_) => Recalled::Stream,
                None => Recalled::Unusable,
            });
        }
    }

    /// Makes a stream of what was kept, if it is this client's to have.
    fn revive(&mut self, kept: Kept, key: Key, alias: Option<Key>) -> Option<Arc<Stream>> {
        let Ok(birth) = Birth::decode(kept.head.clone()) else {
            tracing::warn!("the journal has a stream that this version cannot read; it is left");
            return None;
        };
        let (principal, scope) = self.owner();
        let shared = birth.kind == Kind::Shared;
        let theirs = birth.scope == scope && principal::same(&birth.principal, &principal);
        if shared != matches!(key, Key::Request(_)) || !(shared || theirs) {
            return None;
        }
        // It would be asked for again by this request.
        if birth.kind != Kind::OneShot && !self.is_get() {
            return None;
        }
        // On a shared route, a stream of one's own leads back into the shared one.
        let aside = birth.kind == Kind::Private && self.route.settings.mode == Mode::Shared;
        let policy = policy(&self.route, birth.kind, aside);
        let new = KeptStream {
            source: self.again(birth.kind),
            kept,
            birth,
            key,
            alias,
            policy,
            scope: self.scope().into(),
        };
        let registry = Arc::clone(self.registry());
        let Ok((stream, pump)) = new.build(&registry) else {
            tracing::warn!("the journal has a stream whose records do not fit; it is left");
            return None;
        };
        for key in stream.keys() {
            registry.insert(key.clone(), &stream);
        }
        tokio::spawn(pump.run());
        Some(stream)
    }

    /// The answer to a shared stream's first client while the journal is out of
    /// reach.
    pub(super) async fn without_journal(
        mut self,
        key: Key,
        claimed: Claimed,
        cursor: &Cursor,
    ) -> Result<Response<SseBody<S::ResBody>>, S::Error> {
        let engine = &self.route.engine;
        let replica = engine.journal().follow(&engine.names().name(&key));
        let wait = engine.journal().on_loss() == OnLoss::Pause && replica.is_some();
        let place = Place::Claimed(key, claimed, replica);
        if wait {
            return Ok(self.wait(place));
        }
        self.draft.unknown = true;
        self.begin(cursor).open(Kind::Shared, place).await
    }

    /// Gives a one-shot its application's name in the journal, before it is sent
    /// anywhere.
    pub(super) async fn announce(
        &mut self,
        key: &Key,
        repeat: Repeat,
    ) -> Result<Announced, JournalError> {
        let engine = self.route.engine.clone();
        let random = |_| JournalError::new("no random numbers from the operating system");
        let epoch = Epoch::private().map_err(random)?;
        let Some(locator) = epoch.locator() else {
            return Ok(Announced::First);
        };
        let names = engine.names();
        let (alias, stream) = (names.name(key), names.name(&Key::Located(locator)));
        let renewal = Renewal::new(engine.clone(), alias, stream, &self.route.settings);
        let mut instead = None;
        loop {
            let Some(given) = renewal.give(instead.as_ref()).await else {
                return Ok(Announced::First);
            };
            // It may have been given all the same.
            let given = given.inspect_err(|_| renewal.take_back());
            let Some(other) = given? else {
                self.draft.announced = Some(Box::new((epoch, renewal)));
                return Ok(Announced::First);
            };
            let Some(located) = Key::of(&other) else {
                return Err(JournalError::new("a name in it is not one of a stream"));
            };
            if repeat == Repeat::Attach {
                return self.elsewhere(located, key).await.map(Announced::Stream);
            }
            let stream = self.located(located, None).await?;
            let running = stream.as_ref().is_some_and(|stream| is_running(stream));
            match repeat {
                Repeat::Refuse if running => return Ok(Announced::Busy),
                _ => stream.iter().for_each(|stream| stream.stop("superseded")),
            }
            instead = Some(other);
        }
    }

    /// The answer to a request that is on its way in another process, or was
    /// when that ended.
    async fn elsewhere(&mut self, located: Key, key: &Key) -> Result<Arc<Stream>, JournalError> {
        let shared = self.route.engine.is_shared();
        let begin = Instant::now();
        loop {
            if let Some(stream) = self.located(located.clone(), Some(key)).await? {
                return Ok(stream);
            }
            if !shared || begin.elapsed() >= ELSEWHERE {
                break;
            }
            sleep(LOOK).await;
        }
        Err(JournalError::new(
            "a request of that key was sent, and its answer is not known",
        ))
    }

    /// The stream that has this name in the journal.
    pub(super) async fn resolve(&mut self, key: &Key) -> Result<Option<Arc<Stream>>, JournalError> {
        let engine = self.route.engine.clone();
        let Some(known) = engine.journal().resolve(&engine.names().name(key)) else {
            return Ok(None);
        };
        let located = known.await?.as_ref().and_then(Key::of);
        match located {
            Some(located) => self.located(located, Some(key)).await,
            None => Ok(None),
        }
    }
}

/// What became of a one-shot's name.
pub(super) enum Announced {
    /// It is this request's, which nobody has sent.
    First,
    /// It was sent: this is the answer.
    Stream(Arc<Stream>),
    /// It is another's, which is running.
    Busy,
}

/// Whether a stream has not ended yet.
pub(super) fn is_running(stream: &Stream) -> bool {
    !matches!(stream.phase(), Phase::Ended(_) | Phase::Gone)
}

/// Removes an ended stream from the journal, as only its owner may. Whether that
/// was done.
async fn forget(mut replica: Box<dyn Replica>) -> Result<bool, JournalError> {
    replica.attend(true);
    let owned = async {
        loop {
            match poll_fn(|cx| replica.poll_news(cx)).await {
                News::Owned { .. } => return true,
                News::Alone | News::Diverged => return false,
                _ => {}
            }
        }
    };
    if !timeout(FREE, owned).await.unwrap_or(false) {
        tracing::warn!("a stream that has ended is in the way; the next one is not kept");
        return Ok(false);
    }
    if let Some(forgotten) = replica.forget() {
        forgotten.await?;
    }
    Ok(true)
}
