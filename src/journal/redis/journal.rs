use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Away, Client};
use super::keeper::{self, Shared};
use super::lease::Terms;
use super::place::{Common, Exchange, Place, State};
use super::replica::RedisReplica;
use super::scripts::{self, Argument, Call, Strange};
use super::settings::RedisSettings;
use super::{keys, tail};
use crate::journal::{
    Claim, Health, Journal, JournalError, Kept, Name, News, OnLoss, Replica, Reply,
};

/// How long [`Journal::close`] takes at most.
const PARTING: Duration = Duration::from_millis(1100);

/// The journal in Redis.
///
/// Clones are the same journal. The tasks that keep it end with the last clone
/// and the last replica.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Journaling>);

/// The journal, as long as anybody uses it.
pub(super) struct Journaling {
    pub(super) shared: Arc<Shared>,
    settings: RedisSettings,
    connecting: JoinHandle<()>,
    listening: JoinHandle<()>,
}

impl Redis {
    /// A journal that connects, and connects again, in the background: Redis
    /// need not be there (yet). Must be called in a Tokio runtime, which has to
    /// outlive the journal.
    ///
    /// # Errors
    ///
    /// If the settings cannot be right whatever Redis says.
    pub fn connect(settings: RedisSettings) -> Result<Self, JournalError> {
        settings.check().map_err(JournalError::new)?;
        let client = Arc::new(Client::new(&settings).map_err(JournalError::new)?);
        let process = keys::process(&settings.prefix)
            .map_err(|error| JournalError::new(format!("no random bits: {error}")))?;
        let common = Arc::new(Common {
            terms: Terms::of(settings.lease, settings.on_loss == OnLoss::Continue),
            process,
            watch: settings.lease * 3,
        });
        let shared = Arc::new(Shared::new(Arc::clone(&client), common));
        tokio::spawn(keeper::keep(Arc::clone(&shared), settings.timeout));
        Ok(Self(Arc::new(Journaling {
            connecting: tokio::spawn(client.run()),
            listening: tokio::spawn(tail::listen(Arc::clone(&shared))),
            shared,
            settings,
        })))
    }
}

impl Drop for Journaling {
    fn drop(&mut self) {
        // The keeper ends by itself, when what was owned is handed over; until
        // then there must be a connection.
        self.shared.close();
        self.listening.abort();
        let (shared, connecting) = (Arc::clone(&self.shared), self.connecting.abort_handle());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = timeout(PARTING, shared.closed.notified()).await;
                connecting.abort();
            });
        } else {
            connecting.abort();
        }
    }
}

impl Journal for Redis {
    fn secret(&self) -> Option<[u8; 32]> {
        Some(self.0.settings.secret)
    }

    fn create(&self, stream: &Name) -> Option<Box<dyn Replica>> {
        Some(self.0.place(stream, State::created).replica())
    }

    fn find(&self, stream: &Name) -> Option<Reply<Option<Kept>>> {
        let seat = self.0.place(stream, State::following);
        let limit = self.0.settings.timeout * 2;
        Some(Box::pin(
            async move { Ok(within(limit, seat.find()).await?) },
        ))
    }

    fn claim(&self, stream: &Name) -> Option<Reply<Claim>> {
        let seat = self.0.place(stream, State::following);
        let limit = self.0.settings.lease + self.0.settings.timeout * 2;
        Some(Box::pin(
            async move { Ok(within(limit, seat.claim()).await?) },
        ))
    }

    fn follow(&self, stream: &Name) -> Option<Box<dyn Replica>> {
        Some(self.0.place(stream, State::following).replica())
    }

    fn alias(
        &self,
        alias: &Name,
        stream: &Name,
        retain: Duration,
        instead: Option<&Name>,
    ) -> Option<Reply<Option<Name>>> {
        let key = keys::alias(&self.0.settings.prefix, alias);
        let arguments = [
            stream.0.clone(),
            retain.max(MILLISECOND).argument(),
            instead.map_or_else(Bytes::new, |name| name.0.clone()),
        ];
        let call = Call::new(&scripts::ALIAS, &[key], arguments);
        let client = Arc::clone(&self.0.shared.client);
        let stream = stream.clone();
        Some(Box::pin(async move {
            client.connected().await;
            let mut reply = client.call(&call).await.map_err(Failure::from)?;
            if reply.word() == "new" {
                return Ok(None);
            }
            let given = Name(reply.bytes().map_err(Failure::from)?);
            Ok((given != stream).then_some(given))
        }))
    }

    fn resolve(&self, alias: &Name) -> Option<Reply<Option<Name>>> {
        let key = keys::alias(&self.0.settings.prefix, alias);
        let call = Call::new(&scripts::RESOLVE, &[key], []);
        let client = Arc::clone(&self.0.shared.client);
        Some(Box::pin(async move {
            client.connected().await;
            let mut reply = client.call(&call).await.map_err(Failure::from)?;
            if reply.word() == "none" {
                return Ok(None);
            }
            let given = reply.bytes().map_err(Failure::from)?;
            Ok(Some(Name(given)))
        }))
    }

    fn unalias(&self, alias: &Name, stream: &Name) {
        let stream = stream.0.clone();
        let key = keys::alias(&self.0.settings.prefix, alias);
        let client = Arc::clone(&self.0.shared.client);
        tokio::spawn(async move {
            let call = Call::new(&scripts::UNALIAS, &[key], [stream]);
            if client.call(&call).await.is_err() {
                tracing::warn!("a name stays given although nothing came of it");
            }
        });
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn on_loss(&self) -> OnLoss {
        self.0.settings.on_loss
    }

    fn health(&self) -> Health {
        let condition = self.0.shared.client.condition();
        let (owned, followed) = self.0.shared.count();
        let place = self.0.shared.client.place();
        let seconds = condition.time.as_secs();
        let how = match condition.trouble {
            _ if condition.connected => format!("connected for {seconds} s"),
            Some(trouble) => format!("out of reach for {seconds} s: {trouble}"),
            None => "not connected yet".to_owned(),
        };
        Health {
            durable: condition.connected,
            detail: format!("redis at {place}: {how}; {owned} streams owned, {followed} followed"),
        }
    }

    fn close(&self) -> Option<Reply<()>> {
        let shared = Arc::clone(&self.0.shared);
        Some(Box::pin(async move {
            let closed = shared.closed.notified();
            shared.close();
            let _ = timeout(PARTING, closed).await;
            Ok(())
        }))
    }
}

/// No request waits for Redis for longer than this, however many it takes.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(limit, request).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new("redis is too slow: a request took too long")),
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl Journaling {
    fn place(
        self: &Arc<Self>,
        stream: &Name,
        state: impl FnOnce(Arc<Common>, u64, [String; 2], Instant) -> State,
    ) -> Seat {
        let (id, keys) = (
            self.shared.id(),
            keys::stream(&self.settings.prefix, stream),
        );
        let common = Arc::clone(&self.shared.common);
        let state = state(common, id, keys.clone(), Instant::now());
        Seat {
            journaling: Arc::clone(self),
            place: Arc::new(Place::new(id, keys, state)),
        }
    }
}

/// A place that is not taken yet.
struct Seat {
    journaling: Arc<Journaling>,
    place: Arc<Place>,
}

impl Seat {
    fn replica(self) -> Box<dyn Replica> {
        Box::new(RedisReplica::new(self.journaling, self.place))
    }

    async fn find(self) -> Result<Option<Kept>, Failure> {
        let client = &self.journaling.shared.client;
        client.connected().await;
        let watch = self.journaling.shared.common.watch.argument();
        let mut reply = client
            .call(&Call::new(&scripts::FIND, &self.place.keys, [watch]))
            .await?;
        if reply.word() == "none" {
            return Ok(None);
        }
        let head = reply.bytes()?;
        let retain = Duration::from_millis(reply.number()?);
        let owned = reply.number()? == 1;
        self.place
            .with(|state| state.keep_head(head.clone(), retain));
        self.read(head, owned).await.map(Some)
    }

    /// All records there are, and whoever reads on from there.
    async fn read(self, head: Bytes, owned: bool) -> Result<Kept, Failure> {
        let mut records = Vec::new();
        loop {
            let call = self.place.with(|state| state.read_call());
            let reply = self.journaling.shared.client.call(&call).await?;
            let (more, news) = self
                .place
                .with(|state| (state.fetched(reply), state.take_news()));
            for news in news {
                match news {
                    News::Record(record) => records.push(record),
                    _ => return Err(Failure::new("the stream was replaced while it was read")),
                }
            }
            if !more? {
                break;
            }
        }
        Ok(Kept {
            head,
            records: without_holes(records),
            owned,
            replica: self.replica(),
        })
    }

    /// Asks for the name until it is either had or begun by somebody. Who has
    /// claimed it seldom takes long to begin, or to give up.
    async fn claim(self) -> Result<Claim, Failure> {
        let shared = Arc::clone(&self.journaling.shared);
        shared.client.connected().await;
        let give_up = Instant::now() + self.journaling.settings.lease;
        let mut pause = Duration::from_millis(5);
        loop {
            let call = self.place.with(|state| state.claim_call());
            let (sent, generation) = (Instant::now(), shared.client.generation());
            let mut reply = shared.client.call(&call).await?;
            match reply.word() {
                "mine" => {
                    let when = Exchange {
                        sent,
                        now: Instant::now(),
                        generation,
                    };
                    self.place.with(|state| state.claimed(reply, when))?;
                    return Ok(Claim::Mine(self.replica()));
                }
                "kept" => return self.kept().await,
                _ => {}
            }
            let remaining = Duration::from_millis(reply.number()?);
            if Instant::now() >= give_up {
                return Err(Failure::new(
                    "another process has been about to begin this stream for too long",
                ));
            }
            sleep(pause.min(remaining + MILLISECOND)).await;
            pause = (pause * 2).min(Duration::from_millis(80));
        }
    }

    async fn kept(self) -> Result<Claim, Failure> {
        match self.find().await? {
            Some(kept) => Ok(Claim::Kept(kept)),
            None => Err(Failure::new(
                "the stream was forgotten while it was asked for",
            )),
        }
    }
}

/// What is retained of a stream while it was read: what was trimmed meanwhile
/// leaves a hole, and whatever is before that is no longer retained.
fn without_holes(mut records: Vec<crate::journal::Record>) -> Vec<crate::journal::Record> {
    let hole = records
        .windows(2)
        .rposition(|pair| pair[1].batch.first > pair[0].batch.last() + 1);
    if let Some(at) = hole {
        records.drain(..=at);
    }
    records
}

/// What Redis was asked for could not be had.
struct Failure(JournalError);

impl Failure {
    fn new(what: &str) -> Self {
        Self(JournalError::new(what))
    }
}

impl From<Away> for Failure {
    fn from(Away(why): Away) -> Self {
        Self(JournalError::new(why))
    }
}

impl From<Strange> for Failure {
    fn from(Strange: Strange) -> Self {
        Self::new("redis answered a script strangely; does another version use this prefix?")
    }
}

impl From<Failure> for JournalError {
    fn from(Failure(error): Failure) -> Self {
        error
    }
}

// Settings hold passwords.
impl fmt::Debug for Journaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journaling")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
