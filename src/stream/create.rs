//! What a stream is made of, and how it comes into being.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::id::Epoch;
use super::key::Key;
use super::policy::{Ids, Kind};
use super::pump::{Beginning, Pump};
use super::registry::Registry;
use super::session::Terms;
use super::source::Source;
use super::stream::{Head, Policy, Stream};
use super::writer::Rules;

/// Everything a new stream is made of.
pub struct NewStream {
    /// What it is found by; its epoch, if `None`. A one-shot is found by both:
    /// clients come back to it with its ids.
    pub key: Option<Key>,
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
}

impl NewStream {
    /// Makes the stream and its pump. The caller puts the one in the registry
    /// and spawns the other.
    pub fn build(
        self,
        registry: &Arc<Registry>,
    ) -> Result<(Arc<Stream>, Box<Pump>), getrandom::Error> {
        let (epoch, keys) = match self.key {
            Some(key) if self.policy.kind == Kind::Shared => (Epoch::shared()?, (key, None)),
            alias => {
                let epoch = Epoch::private()?;
                (epoch, (Key::Epoch(epoch), alias))
            }
        };
        let stream = Arc::new(Stream::new(
            keys,
            epoch,
            self.policy,
            self.head,
            self.principal,
            self.scope,
            self.opened_with.as_ref(),
        ));
        let pump = Pump::new(
            Arc::clone(&stream),
            registry,
            self.source,
            self.beginning,
            self.opened_with,
        );
        Ok((stream, Box::new(pump)))
    }
}

impl Policy {
    /// What the session is told of it.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            finite: self.kind == Kind::OneShot,
            linger: self.linger,
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
            (Ids::Auto, Kind::Private | Kind::OneShot) => Ids::Assign,
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
