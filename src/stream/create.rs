//! What a stream is made of, and how it comes into being.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::epochs::Epochs;
use super::id::{Epoch, is_header_safe};
use super::keeper::{Keeper, Role};
use super::key::Key;
use super::policy::{Ids, Kind, UpstreamResume};
use super::pump::{Beginning, Pump};
use super::registry::Registry;
use super::saved::{Birth, Saved};
use super::session::Terms;
use super::source::Source;
use super::stream::{Account, Head, Identity, Phase, Policy, Stream};
use super::writer::Rules;
use crate::journal::{Garbled, Kept, Record, Replica};
use crate::log::Ring;

/// Everything a new stream is made of.
pub struct NewStream {
    /// What it is found by; its epoch, if `None`. A one-shot is found by both:
    /// clients come back to it with its ids.
    pub key: Option<Key>,
    /// What its application calls it.
    pub name: Option<Box<str>>,
    /// Its first epoch.
    pub epoch: Epoch,
    /// What is decided about it.
    pub policy: Policy,
    /// The head later answers are given.
    pub head: Head,
    /// Whose it is.
    pub principal: Option<[u8; 32]>,
    /// The resource it belongs to.
    pub scope: Box<[u8]>,
    /// The id its first upstream connection was asked to go on from.
    pub opened_with: Option<Bytes>,
    /// How to ask the upstream again, if that may be done.
    pub source: Option<Arc<dyn Source>>,
    /// Its upstream.
    pub beginning: Beginning,
    /// Its place in a journal, and what is kept there of the above.
    pub journaled: Option<(Box<dyn Replica>, Birth)>,
    /// The journal is out of reach: it may have such a stream already.
    pub unknown: bool,
}

/// Everything a stream is made of that a journal has kept.
pub struct KeptStream {
    /// What the journal has.
    pub kept: Kept,
    /// What it has of the stream's beginning, read.
    pub birth: Birth,
    /// What it is found by.
    pub key: Key,
    /// Another key it is found by.
    pub alias: Option<Key>,
    /// What is decided about it.
    pub policy: Policy,
    /// The resource it belongs to.
    pub scope: Box<[u8]>,
    /// How to ask the upstream again, if that may be done.
    pub source: Option<Arc<dyn Source>>,
}

impl NewStream {
    /// Makes the stream and its pump. The caller puts the one in the registry
    /// and spawns the other.
    pub fn build(self, registry: &Arc<Registry>) -> (Arc<Stream>, Box<Pump>) {
        let (key, alias) = match (self.key, self.epoch.locator()) {
            (alias, Some(locator)) => (Key::Located(locator), alias),
            (Some(key), None) => (key, None),
            // It has no way to be found: only its first client reads it.
            (None, None) => (Key::Request(Box::default()), None),
        };
        let identity = Identity {
            key,
            alias,
            name: self.name,
            principal: self.principal,
            scope: self.scope,
        };
        let stream = Arc::new(Stream::new(
            identity,
            Epochs::new(self.epoch),
            self.policy,
            self.head,
            self.opened_with.as_ref(),
        ));
        let keeper = self.journaled.map(|(replica, birth)| {
            let retain = stream.policy.retain;
            match self.beginning {
                Beginning::Live { .. } | Beginning::Held if self.unknown => {
                    Keeper::unknown(replica, Role::Alone, &birth)
                }
                Beginning::Live { .. } | Beginning::Held => Keeper::owner(replica, &birth, retain),
                Beginning::Kept => Keeper::unknown(replica, Role::Waiting, &birth),
            }
        });
        let pump = Pump::new(
            Arc::clone(&stream),
            registry,
            self.source,
            self.beginning,
            self.opened_with,
            keeper,
        );
        (stream, Box::new(pump))
    }
}

impl KeptStream {
    /// Whether the journal has the end of a stream.
    pub fn is_ended(kept: &Kept) -> bool {
        let last = kept.records.last();
        let saved = last.and_then(|record| Saved::decode(record.state.clone()).ok());
        saved.is_some_and(|saved| saved.end.is_some())
    }

    /// Makes the stream again, with what was retained of it, and its pump.
    ///
    /// # Errors
    ///
    /// [`Garbled`], if the journal's records are not such a stream's.
    pub fn build(self, registry: &Arc<Registry>) -> Result<(Arc<Stream>, Box<Pump>), Garbled> {
        let records = self.kept.records;
        let mut saved = match records.last() {
            Some(last) => Saved::decode(last.state.clone())?,
            None => Saved::new(&self.birth),
        };
        saved.doubtful |= !self.kept.owned && !may_go_on(self.policy.resume, &saved);
        let opened_with = self.birth.opened_with;
        let identity = Identity {
            key: self.key,
            alias: self.alias,
            name: None,
            principal: self.birth.principal,
            scope: self.scope,
        };
        let stream = Arc::new(Stream::new(
            identity,
            saved.epochs.clone(),
            self.policy,
            self.birth.head,
            opened_with.as_ref(),
        ));
        let floor = match self.birth.kind {
            // It waits for a reader, however much there is.
            Kind::OneShot => 0,
            Kind::Private | Kind::Shared => u64::MAX,
        };
        stream.log.with_mut(|ring| refill(ring, &records, floor))?;
        if let Some(end) = saved.end {
            stream.finish(end);
        }
        stream.set_account(Account {
            phase: saved.end.map_or(Phase::Active, Phase::Ended),
            doubtful: saved.doubtful,
            follows: saved.end.is_none(),
        });
        let pump = Pump::new(
            Arc::clone(&stream),
            registry,
            self.source,
            Beginning::Kept,
            opened_with,
            Some(Keeper::follower(self.kept.replica, self.kept.head, saved)),
        );
        Ok((stream, Box::new(pump)))
    }
}

/// Whether an upstream that nobody has is said to resend what it has sent since.
fn may_go_on(resume: UpstreamResume, saved: &Saved) -> bool {
    let asks = || saved.last_id.as_ref().is_some_and(|id| is_header_safe(id));
    match resume {
        UpstreamResume::None => false,
        UpstreamResume::LastEventId => asks(),
        UpstreamResume::Snapshot => true,
    }
}

/// Appends what was kept, as old as it is. Nothing after `floor` is trimmed.
fn refill(ring: &mut Ring, records: &[Record], floor: u64) -> Result<(), Garbled> {
    let (now, today) = (Instant::now(), SystemTime::now());
    let first = records.first().map_or(1, |record| record.batch.first);
    ring.begin_after(first - 1);
    for record in records {
        if record.batch.first != ring.high() + 1 {
            return Err(Garbled);
        }
        let age = today
            .duration_since(record.time())
            .unwrap_or(Duration::ZERO);
        ring.append(&record.batch, now.checked_sub(age).unwrap_or(now));
    }
    let low = records.last().map_or(0, |record| record.low);
    ring.trim(now, floor);
    ring.trim_up_to(low);
    Ok(())
}

impl Policy {
    /// What the session is told of it.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            finite: self.kind == Kind::OneShot,
            marked: !self.finish.is_empty(),
            linger: self.linger,
            max_runtime: self.max_runtime,
            retain: self.retain,
            reconnect: self.reconnect,
            hold: self.hold,
            upstream_idle: self.upstream_idle,
        }
    }

    /// What the writer is told of it.
    pub(super) fn rules(&self) -> Rules {
        let ids = match (self.ids, self.kind) {
            // Their id must find the stream.
            (Ids::Auto, Kind::Private | Kind::OneShot) if !self.defers => Ids::Assign,
            (ids, _) => ids,
        };
        Rules {
            ids,
            resume: self.resume,
            gap_event: self.gap_event.clone(),
            strip_retry: self.strip_retry,
            // A one-shot is never reconnected, and found by our ids alone.
            indexed: self.kind != Kind::OneShot || ids == Ids::Preserve,
        }
    }
}

impl fmt::Debug for NewStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewStream")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptStream")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
