//! A stream in the making: what the first answer to a request becomes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::attach::{self, Client, Joined};
use super::body::SseBody;
use super::claims::Claims;
use super::cursor::Cursor;
use super::engine::Engine;
use super::head::{self, Resumed};
use super::mcp;
use super::policy::policy;
use super::principal::Principal;
use super::recall::is_running;
use super::renewal::Renewal;
use super::route::Route;
use super::settings::Coding;
use crate::journal::{self, Replica};
use crate::log::Position;
use crate::observe::{GapReason, Signal};
use crate::stream::create::NewStream;
use crate::stream::id::Epoch;
use crate::stream::key::Key;
use crate::stream::policy::{Kind, UpstreamResume};
use crate::stream::pump::Beginning;
use crate::stream::registry::{Claim, Claimed};
use crate::stream::saved::Birth;
use crate::stream::source::Source;
use crate::stream::stream::Policy;

/// What is known of a stream before there is one.
pub(super) struct Draft {
    /// Whose it is.
    pub(super) principal: Principal,
    /// The resource it belongs to.
    pub(super) scope: Box<[u8]>,
    /// What its application calls it.
    pub(super) name: Option<Box<str>>,
    /// The id to ask the upstream to go on from.
    pub(super) after: Option<Bytes>,
    /// What the client is to be told it may have lost.
    pub(super) gap: Option<GapReason>,
    /// One client's own way back into a shared stream.
    pub(super) aside: bool,
    /// The epoch it is to have, and the name that was given to it, where it is
    /// announced before there is a stream.
    // Boxed: most are not, and a request is moved many times.
    pub(super) announced: Option<Box<(Epoch, Renewal)>>,
    /// The journal is out of reach: it may have such a stream already.
    pub(super) unknown: bool,
    /// It is to begin with an id to come back with.
    pub(super) prime: bool,
    /// JSON-RPC responses it is to bring; 0 if that cannot be told.
    pub(super) responses: usize,
}

impl Draft {
    /// Of whatever the first answer to a request becomes.
    pub(super) fn new(principal: Principal, scope: Box<[u8]>) -> Self {
        Self {
            principal,
            scope,
            name: None,
            after: None,
            gap: None,
            aside: false,
            announced: None,
            unknown: false,
            prime: false,
            responses: 1,
        }
    }
}

/// What a new stream is found by.
pub(super) enum Place {
    /// Its epoch.
    Epoch,
    /// A key that is claimed for it, here and in the journal.
    Claimed(Key, Claimed, Option<Box<dyn Replica>>),
    /// A key, unless another stream has it by then: that one will serve this
    /// client, too, from where the cursor says.
    Late(Key, Cursor),
}

/// A stream in the making.
pub(super) struct Opening {
    pub(super) route: Arc<Route>,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) draft: Draft,
    /// Whether it is asked for by GET.
    pub(super) get: bool,
    /// The coding its first client takes it in.
    pub(super) coding: Option<Coding>,
    /// What a request had that is to get the session its stream belongs to.
    pub(super) before_session: Option<(HeaderMap, Option<Claims>)>,
}

impl Opening {
    /// Keeps the client while the upstream is sought.
    pub(super) async fn held<R>(self, source: Option<Arc<dyn Source>>) -> Response<SseBody<R>> {
        self.settle(held_head(), Beginning::Held, source).await
    }

    /// Makes a stream of the answer, unless it came late and there is one.
    pub(super) async fn settle<R>(
        mut self,
        head: http::response::Parts,
        beginning: Beginning,
        source: Option<Arc<dyn Source>>,
    ) -> Response<SseBody<R>> {
        let (key, cursor) = match std::mem::replace(&mut self.place, Place::Epoch) {
            Place::Late(key, cursor) => (key, cursor),
            place => {
                self.place = place;
                return self.live(head, beginning, source);
            }
        };
        let registry = Arc::clone(self.route.engine.registry());
        loop {
            match registry.claim(&key) {
                Claim::Open(stream) => match attach::join(self.client(), &stream, &cursor) {
                    Joined::Answer(response) => return response,
                    Joined::Aside(_) => {
                        self.kind = Kind::Private;
                        self.draft.aside = true;
                        break;
                    }
                    Joined::Over => registry.remove(&key, &stream),
                },
                Claim::Opening(opening) => {
                    opening.done().await;
                }
                Claim::Mine(claimed) => {
                    let replica = owned_late(&self.route.engine, &key).await;
                    self.draft.unknown = replica.is_none() && self.route.engine.is_shared();
                    self.place = Place::Claimed(key, claimed, replica);
                    break;
                }
            }
        }
        self.live(head, beginning, source)
    }

    fn client(&self) -> Client<'_> {
        Client {
            route: &self.route,
            get: self.get,
            prime: self.draft.prime,
            coding: self.coding,
        }
    }

    /// A session's first request does not have it yet.
    fn principal_of(&mut self, head: &HeaderMap) -> Principal {
        let Some((mut headers, claims)) = self.before_session.take() else {
            return self.draft.principal;
        };
        let Some(session) = head.get(mcp::SESSION) else {
            return self.draft.principal;
        };
        headers.insert(mcp::SESSION, session.clone());
        let credentials = self.route.settings.credentials();
        let principals = self.route.engine.principals();
        principals.of(credentials, &headers, claims.as_ref())
    }

    pub(super) fn live<R>(
        mut self,
        mut head: http::response::Parts,
        beginning: Beginning,
        source: Option<Arc<dyn Source>>,
    ) -> Response<SseBody<R>> {
        self.draft.principal = self.principal_of(&head.headers);
        let resumed = self.resumed(&beginning);
        if let Some(reason) = self.draft.gap {
            self.route.observer.observe(Signal::Gap(reason));
        }
        let (key, claimed, replica) = match self.place {
            Place::Claimed(key, claimed, replica) => (Some(key), Some(claimed), replica),
            Place::Epoch | Place::Late(..) => (None, None, None),
        };
        let engine = &self.route.engine;
        let registry = Arc::clone(engine.registry());
        let (announced, renewal) = self.draft.announced.map(|announced| *announced).unzip();
        let minted = match (announced, self.kind) {
            (Some(epoch), _) => Ok(epoch),
            (None, Kind::Shared) => Epoch::shared(),
            (None, _) => Epoch::private(),
        };
        let Ok(epoch) = minted else {
            return attach::unavailable();
        };
        if self.kind == Kind::OneShot && self.route.settings.attach.is_some() {
            head::name(&mut head.headers, epoch.locator());
        }
        let located = |locator| {
            engine
                .journal()
                .create(&engine.names().name(&Key::Located(locator)))
        };
        let replica = replica.or_else(|| epoch.locator().and_then(located));
        let journaled = replica.map(|replica| {
            let birth = Birth {
                kind: self.kind,
                epoch,
                principal: self.draft.principal.filter(|_| self.kind != Kind::Shared),
                scope: engine.names().hash(b"scope", &self.draft.scope),
                opened_with: self.draft.after.clone(),
                head: head::keep(&head.headers),
            };
            (replica, birth)
        });
        let new = NewStream {
            key,
            name: self.draft.name,
            epoch,
            journaled,
            unknown: self.draft.unknown,
            policy: match policy(&self.route, self.kind, self.draft.aside) {
                // Then only how its connection ends says whether it is whole.
                policy if self.draft.responses == 0 => Policy {
                    finish: Arc::default(),
                    ..policy
                },
                policy => Policy {
                    responses: self.draft.responses,
                    ..policy
                },
            },
            head: head::keep(&head.headers),
            principal: self.draft.principal.filter(|_| self.kind != Kind::Shared),
            scope: self.draft.scope,
            opened_with: self.draft.after,
            source,
            beginning,
        };
        let (stream, pump) = new.build(&registry);
        // Attached before it can be found or move: nobody is first but us.
        let Some((subscription, attached)) = stream.attach(Position::Oldest) else {
            return attach::unavailable();
        };
        registry.insert(stream.key.clone(), &stream);
        if let Some(claimed) = claimed {
            claimed.fill(&stream);
        }
        match renewal {
            Some(renewal) => {
                let stream = Arc::downgrade(&stream);
                let running = move || stream.upgrade().is_some_and(|stream| is_running(&stream));
                tokio::spawn(renewal.during(pump.run(), running));
            }
            None => drop(tokio::spawn(pump.run())),
        }
        let gap = self.draft.gap.map(|reason| (reason, None));
        let client = Client {
            route: &self.route,
            get: self.get,
            prime: self.draft.prime,
            coding: self.coding,
        };
        client.dress(&mut head.headers, Some(resumed));
        let body = client.body(subscription, attached, gap);
        Response::from_parts(head, body)
    }

    fn resumed(&self, beginning: &Beginning) -> Resumed {
        let declared = self.route.settings.resume == UpstreamResume::LastEventId;
        match (&self.draft.after, self.draft.gap) {
            (_, Some(_)) => Resumed::Gap,
            _ if matches!(beginning, Beginning::Live { gap: true, .. }) => Resumed::Gap,
            (Some(_), None) if declared => Resumed::Exact,
            _ => Resumed::New,
        }
    }
}

/// A place in the journal for a stream whose upstream has answered already:
/// none, if the journal has the stream or cannot be asked.
async fn owned_late(engine: &Engine, key: &Key) -> Option<Box<dyn Replica>> {
    let claim = engine.journal().claim(&engine.names().name(key))?;
    match claim.await {
        Ok(journal::Claim::Mine(replica)) => Some(replica),
        Ok(journal::Claim::Kept(_)) | Err(_) => None,
    }
}

/// The head of a stream whose upstream has not answered.
pub(super) fn held_head() -> http::response::Parts {
    let mut response = Response::new(());
    *response.headers_mut() = head::unpack(&head::synthetic());
    response.into_parts().0
}
