//! Getting streams back from the journal: what another process has, or this
//! one had before a restart.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::{Instant, sleep, timeout};

use super::attach;
use super::body::SseBody;
use super::cursor::Cursor;
use super::inner::Inner;
use super::open::{Place, Upstream, policy};
use super::principal;
use super::settings::Mode;
use crate::journal::{self, JournalError, Kept, News, OnLoss, Replica};
use crate::stream::create::KeptStream;
use crate::stream::id::{Epoch, EventId};
use crate::stream::key::Key;
use crate::stream::policy::Kind;
use crate::stream::registry::{Claim, Claimed};
use crate::stream::saved::Birth;
use crate::stream::stream::Stream;

/// The answer to a request that another process has sent is waited for this
/// long.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// Time between looks for it.
const LOOK: Duration = Duration::from_millis(100);

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
        let Some(stream) = self.located(Key::Located(locator), None).await? else {
            return Ok(None);
        };
        if !self.may_have(&stream) {
            return Ok(None);
        }
        let seq = attach::catch_up(&stream, id).await;
        Ok(seq.map(|seq| (stream, seq)))
    }

    /// A stream that is found by its epoch, here or in the journal.
    async fn located(
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
        self.unknown = true;
        self.begin(cursor).open(Kind::Shared, place).await
    }

    /// Gives a one-shot its application's name in the journal, before it is sent
    /// anywhere. If another has that name, it is the answer.
    pub(super) async fn announce(
        &mut self,
        key: &Key,
    ) -> Result<Option<Arc<Stream>>, JournalError> {
        let engine = self.route.engine.clone();
        let random = |_| JournalError::new("no random numbers from the operating system");
        let epoch = Epoch::private().map_err(random)?;
        let Some(locator) = epoch.locator() else {
            return Ok(None);
        };
        let names = engine.names();
        let stream = names.name(&Key::Located(locator));
        let retain = self.route.settings.retain;
        let Some(given) = engine.journal().alias(&names.name(key), &stream, retain) else {
            return Ok(None);
        };
        let Some(other) = given.await? else {
            self.epoch = Some(epoch);
            return Ok(None);
        };
        let Some(located) = Key::of(&other) else {
            return Err(JournalError::new("a name in it is not one of a stream"));
        };
        // It is on its way in another process, or was when that ended.
        let begin = Instant::now();
        loop {
            if let Some(stream) = self.located(located.clone(), Some(key)).await? {
                return Ok(Some(stream));
            }
            if !engine.is_shared() || begin.elapsed() >= ELSEWHERE {
                break;
            }
            sleep(LOOK).await;
        }
        Err(JournalError::new(
            "a request of that key was sent, and its answer is not known",
        ))
    }
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
