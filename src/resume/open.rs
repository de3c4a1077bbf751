//! Opening a stream: the first call of the inner service, and what its answer
//! becomes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::attach::{self, Client, Joined};
use super::body::{Close, SseBody};
use super::cursor::{Cursor, LAST_EVENT_ID};
use super::engine::Engine;
use super::head::{self, Resumed, dress, is_encoded, is_event_stream};
use super::inner::Inner;
use super::key;
use super::mcp;
use super::name;
use super::principal::{self, Principal};
use super::reopen::Reopen;
use super::request::RequestBody;
use super::retry::{self, Retry, SENT_AGAIN};
use super::route::Route;
use super::settings::{BufferSettings, Mode, Repeat};
use crate::journal::{self, Replica};
use crate::log::{Limits, Position};
use crate::observe::{GapReason, Signal};
use crate::stream::create::NewStream;
use crate::stream::id::Epoch;
use crate::stream::key::Key;
use crate::stream::policy::{Ids, Kind, Linger, UpstreamResume};
use crate::stream::pump::Beginning;
use crate::stream::registry::{Claim, Claimed, Registry};
use crate::stream::saved::Birth;
use crate::stream::source::{BoxError, Source};
use crate::stream::stream::{Policy, Stream};

/// A one-shot is retained up to this, because it cannot be asked for again.
const ONE_SHOT_BYTES: usize = 16 << 20;

/// A request on its way to the inner service.
pub(super) struct Upstream<S, B> {
    pub(super) route: Arc<Route>,
    pub(super) parts: Parts,
    service: S,
    body: RequestBody<B>,
    pub(super) principal: Principal,
    /// What its application calls the stream.
    name: Option<Box<str>>,
    scope: Box<[u8]>,
    /// The id to ask the upstream to go on from.
    pub(super) after: Option<Bytes>,
    /// What the client is to be told it may have lost.
    pub(super) gap: Option<GapReason>,
    /// One client's own way back into a shared stream.
    pub(super) aside: bool,
    /// The epoch the stream is to have, where it is announced before there is a
    /// stream.
    pub(super) epoch: Option<Epoch>,
    /// The journal is out of reach: it may have such a stream already.
    pub(super) unknown: bool,
    /// The stream is to begin with an id to come back with.
    pub(super) prime: bool,
    /// JSON-RPC responses it is to bring.
    pub(super) responses: usize,
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

impl<S, B> Upstream<S, B> {
    pub(super) fn new(route: Arc<Route>, service: S, parts: Parts, body: B) -> Self {
        let credentials = &route.settings.principal;
        let principal = route.engine.principals().of(credentials, &parts.headers);
        Self {
            principal,
            scope: key::scope(route.number, &route.settings, &parts),
            route,
            parts,
            service,
            body: RequestBody::original(body),
            name: None,
            after: None,
            gap: None,
            aside: false,
            epoch: None,
            unknown: false,
            prime: false,
            responses: 1,
        }
    }

    pub(super) fn is_get(&self) -> bool {
        self.parts.method == Method::GET
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        self.route.engine.registry()
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client {
            route: &self.route,
            get: self.is_get(),
            prime: self.prime,
        }
    }

    /// What an application calls a one-shot, if its route says where to find
    /// that and the request has it, and what becomes of a request whose name is
    /// taken.
    ///
    /// A shared route lists headers to tell its feeds apart, credentials for
    /// one; they name no request.
    pub(super) fn app_key(&self) -> Option<(Key, Repeat)> {
        let settings = &self.route.settings.key;
        if let Some(name) = &self.name {
            let repeat = settings.repeat.unwrap_or(Repeat::Supersede);
            return Some((self.named_key(name), repeat));
        }
        if self.route.settings.mode == Mode::Shared {
            return None;
        }
        let headers = &self.parts.headers;
        let named = settings
            .headers
            .iter()
            .any(|name| headers.contains_key(name));
        named.then(|| {
            let mut key = key::shared(self.route.number, settings, &self.parts).into_vec();
            key.extend_from_slice(&self.principal.unwrap_or_default());
            let repeat = settings.repeat.unwrap_or(Repeat::Attach);
            (Key::Request(key.into()), repeat)
        })
    }

    /// The key of this client's stream of that name.
    pub(super) fn named_key(&self, name: &str) -> Key {
        let whose = &self.principal;
        Key::Request(key::named(self.route.number, &self.parts, whose, name))
    }

    /// Whether this client may have a stream.
    pub(super) fn may_have(&self, stream: &Stream) -> bool {
        principal::same(&stream.principal, &self.principal) && stream.scope == self.scope
    }

    /// Whose it would be, and which resource's, as a journal has it.
    pub(super) fn owner(&self) -> (Principal, [u8; 32]) {
        let scope = self.route.engine.names().hash(b"scope", &self.scope);
        (self.principal, scope)
    }

    /// The resource of this request.
    pub(super) fn scope(&self) -> &[u8] {
        &self.scope
    }

    pub(super) fn strip_credentials(&mut self) {
        key::strip_credentials(&self.route.settings, &mut self.parts.headers);
    }

    /// What was read of the body.
    pub(super) fn read_already(&self) -> &[u8] {
        self.body.prefix()
    }

    pub(super) fn observe(&self, reason: GapReason) {
        self.route.observer.observe(Signal::Gap(reason));
    }

    /// Asks for a body that can be read, where an event stream may come.
    fn ask_for_identity(&mut self) {
        let accepts = self.parts.headers.get(ACCEPT);
        let named = accepts.is_some_and(|value| {
            memchr::memmem::find(&value.as_bytes().to_ascii_lowercase(), b"text/event-stream")
                .is_some()
        });
        if named || self.route.settings.mode != Mode::Auto {
            let identity = HeaderValue::from_static("identity");
            self.parts.headers.insert(ACCEPT_ENCODING, identity);
        }
    }
}

impl<S, B> Upstream<S, B>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Reads as much of the body as it takes to know what the request is
    /// called, and whether it can be sent again; `least` in any case. Says
    /// whether it could.
    pub(super) async fn read(&mut self, least: usize) -> bool {
        let settings = &self.route.settings;
        let source = settings.key.name.as_ref();
        let name = source.and_then(name::within).unwrap_or(0);
        let again = if settings.retries > 0 { SENT_AGAIN } else { 0 };
        let max = name.max(again).max(least);
        if max > 0 {
            let body = std::mem::replace(&mut self.body, RequestBody::empty());
            match body.read(max).await {
                Ok(read) => self.body = read,
                Err(_) => return false,
            }
        }
        let find = |source| name::find(source, &self.parts.headers, self.read_already());
        self.name = source.and_then(find);
        true
    }
}

impl<S, B> Upstream<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    /// Passes a request on that is not for the engine.
    pub(super) fn pass(
        mut self,
        verbatim: bool,
    ) -> impl Future<Output = Result<Response<SseBody<S::ResBody>>, S::Error>> + Send {
        if verbatim {
            self.ask_for_identity();
        }
        let get = self.is_get();
        let request = Request::from_parts(self.parts, self.body);
        let call = self.service.call(request);
        let route = self.route;
        async move {
            let (mut head, body) = call.await?.into_parts();
            if !verbatim
                || !is_event_stream(head.status, &head.headers)
                || is_encoded(&head.headers)
            {
                return Ok(Response::from_parts(head, SseBody::plain(body)));
            }
            dress(&mut head.headers, None);
            let observer = Arc::clone(&route.observer);
            // Others may be answers that cannot be asked for again.
            let close = get.then(|| Box::pin(route.engine.closing()) as Close);
            let body = SseBody::verbatim(body, route.settings.heartbeat, observer, close);
            Ok(Response::from_parts(head, body))
        }
    }

    /// Calls the inner service and makes a stream of its answer, if it is one.
    pub(super) async fn open(
        mut self,
        kind: Kind,
        place: Place,
    ) -> Result<Response<SseBody<S::ResBody>>, S::Error> {
        self.ask_for_identity();
        if let Some(id) = &self.after {
            // It came in a header or a checked id; if it does not fit, nobody asks.
            if let Ok(value) = HeaderValue::from_maybe_shared(id.clone()) {
                self.parts.headers.insert(LAST_EVENT_ID, value);
            }
        }
        let repeat = self.repeat(kind);
        let retry = self.retry(kind);
        let asked = Instant::now();
        let (opening, mut service, request) = self.part(kind, place);
        let mut answer = service.call(request).await;
        if let Some(mut retry) = retry {
            while answer.is_err()
                && let Some(next) = retry.next().await
            {
                opening.route.observer.observe(Signal::Retried);
                answer = next;
            }
        }
        if let Place::Claimed(_, claimed, _) = &opening.place {
            claimed.answered();
        }
        let hold = kind != Kind::OneShot && !opening.route.settings.hold.is_zero();
        let (head, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(error) if !hold => return Err(error),
            Err(error) => {
                let error: BoxError = error.into();
                tracing::warn!(%error, "no upstream yet; the client is held");
                return Ok(opening.held(source(repeat)).await);
            }
        };
        if hold && is_down(head.status) {
            tracing::warn!(status = %head.status, "no upstream yet; the client is held");
            return Ok(opening.held(source(repeat)).await);
        }
        if !is_event_stream(head.status, &head.headers) {
            return Ok(Response::from_parts(head, SseBody::plain(body)));
        }
        if is_encoded(&head.headers) {
            tracing::warn!(
                "an event stream came compressed and is passed on as it is; \
                 give its route a `mode`, so that the upstream is asked not to"
            );
            return Ok(Response::from_parts(head, SseBody::plain(body)));
        }
        let gap = opening.after.is_some() && head::tells_of_gap(&head.headers);
        let observer = &opening.route.observer;
        observer.observe(Signal::UpstreamHead(asked.elapsed()));
        let body = body.map_err(Into::into).boxed_unsync();
        let beginning = Beginning::Live { body, gap };
        Ok(opening.settle(head, beginning, source(repeat)).await)
    }

    /// Holds the client until it is known what the journal has.
    pub(super) fn wait(mut self, place: Place) -> Response<SseBody<S::ResBody>> {
        self.ask_for_identity();
        let source = source(self.repeat(Kind::Shared));
        let (opening, ..) = self.part(Kind::Shared, place);
        opening.live(held_head(), Beginning::Kept, source)
    }

    /// How to send this request again, without its body, for a stream that
    /// somebody else opened.
    pub(super) fn again(&mut self, kind: Kind) -> Option<Arc<dyn Source>> {
        self.ask_for_identity();
        let (mut parts, service) = self.repeat(kind)?;
        if self.route.settings.mode == Mode::Shared {
            key::strip_credentials(&self.route.settings, &mut parts.headers);
        }
        Some(Arc::new(Reopen::<S, B>::new(service, &parts)))
    }

    fn part(self, kind: Kind, place: Place) -> (Opening, S, Request<RequestBody<B>>) {
        let mcp = self.route.settings.mode == Mode::Mcp;
        let before_session = (mcp && !self.parts.headers.contains_key(mcp::SESSION))
            .then(|| self.parts.headers.clone());
        let opening = Opening {
            get: self.is_get(),
            route: self.route,
            kind,
            place,
            principal: self.principal,
            scope: self.scope,
            after: self.after,
            gap: self.gap,
            aside: self.aside,
            epoch: self.epoch,
            name: self.name,
            unknown: self.unknown,
            prime: self.prime,
            responses: self.responses,
            before_session,
        };
        let request = Request::from_parts(self.parts, self.body);
        (opening, self.service, request)
    }

    /// What it takes to send a request once more that got no answer, where that
    /// may be done.
    fn retry(&mut self, kind: Kind) -> Option<Retry<S, B>> {
        let settings = &self.route.settings;
        if kind != Kind::OneShot || settings.retries == 0 {
            return None;
        }
        retry::identify(&mut self.parts.headers).ok()?;
        let request = (self.service.clone(), self.parts.clone(), &self.body);
        Retry::new(request, settings.retries, settings.reconnect)
    }

    /// What it takes to ask again, for streams that may be asked for again.
    fn repeat(&self, kind: Kind) -> Option<(Parts, S)> {
        (kind != Kind::OneShot).then(|| (self.parts.clone(), self.service.clone()))
    }
}

fn source<S, B>(repeat: Option<(Parts, S)>) -> Option<Arc<dyn Source>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    let (parts, service) = repeat?;
    Some(Arc::new(Reopen::<S, B>::new(service, &parts)))
}

/// Answers that mean that the upstream is away, not that it refuses.
fn is_down(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// A stream in the making.
#[expect(clippy::struct_excessive_bools, reason = "none excludes another")]
struct Opening {
    route: Arc<Route>,
    kind: Kind,
    place: Place,
    principal: Principal,
    scope: Box<[u8]>,
    after: Option<Bytes>,
    gap: Option<GapReason>,
    aside: bool,
    get: bool,
    epoch: Option<Epoch>,
    name: Option<Box<str>>,
    unknown: bool,
    prime: bool,
    responses: usize,
    /// What a request had that is to get the session its stream belongs to.
    before_session: Option<HeaderMap>,
}

impl Opening {
    /// Keeps the client while the upstream is sought.
    async fn held<R>(self, source: Option<Arc<dyn Source>>) -> Response<SseBody<R>> {
        self.settle(held_head(), Beginning::Held, source).await
    }

    /// Makes a stream of the answer, unless it came late and there is one.
    async fn settle<R>(
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
                        self.aside = true;
                        break;
                    }
                    Joined::Over => registry.remove(&key, &stream),
                },
                Claim::Opening(opening) => {
                    opening.done().await;
                }
                Claim::Mine(claimed) => {
                    let replica = owned_late(&self.route.engine, &key).await;
                    self.unknown = replica.is_none() && self.route.engine.is_shared();
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
            prime: self.prime,
        }
    }

    /// A session's first request does not have it yet.
    fn principal_of(&mut self, head: &HeaderMap) -> Principal {
        let Some(mut headers) = self.before_session.take() else {
            return self.principal;
        };
        let Some(session) = head.get(mcp::SESSION) else {
            return self.principal;
        };
        headers.insert(mcp::SESSION, session.clone());
        let credentials = &self.route.settings.principal;
        self.route.engine.principals().of(credentials, &headers)
    }

    fn live<R>(
        mut self,
        mut head: http::response::Parts,
        beginning: Beginning,
        source: Option<Arc<dyn Source>>,
    ) -> Response<SseBody<R>> {
        self.principal = self.principal_of(&head.headers);
        let resumed = self.resumed(&beginning);
        if let Some(reason) = self.gap {
            self.route.observer.observe(Signal::Gap(reason));
        }
        let (key, claimed, replica) = match self.place {
            Place::Claimed(key, claimed, replica) => (Some(key), Some(claimed), replica),
            Place::Epoch | Place::Late(..) => (None, None, None),
        };
        let engine = &self.route.engine;
        let registry = Arc::clone(engine.registry());
        let minted = match (self.epoch, self.kind) {
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
                principal: self.principal.filter(|_| self.kind != Kind::Shared),
                scope: engine.names().hash(b"scope", &self.scope),
                opened_with: self.after.clone(),
                head: head::keep(&head.headers),
            };
            (replica, birth)
        });
        let new = NewStream {
            key,
            name: self.name,
            epoch,
            journaled,
            unknown: self.unknown,
            policy: Policy {
                responses: self.responses,
                ..policy(&self.route, self.kind, self.aside)
            },
            head: head::keep(&head.headers),
            principal: self.principal.filter(|_| self.kind != Kind::Shared),
            scope: self.scope,
            opened_with: self.after,
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
        tokio::spawn(pump.run());
        dress(&mut head.headers, Some(resumed));
        let gap = self.gap.map(|reason| (reason, None));
        let client = Client {
            route: &self.route,
            get: self.get,
            prime: self.prime,
        };
        let body = client.body(subscription, attached, gap);
        Response::from_parts(head, body)
    }

    fn resumed(&self, beginning: &Beginning) -> Resumed {
        let declared = self.route.settings.resume == UpstreamResume::LastEventId;
        match (&self.after, self.gap) {
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
fn held_head() -> http::response::Parts {
    let mut response = Response::new(());
    *response.headers_mut() = head::unpack(&head::synthetic());
    response.into_parts().0
}

pub(super) fn policy(route: &Route, kind: Kind, aside: bool) -> Policy {
    let settings = &route.settings;
    Policy {
        kind,
        // Beside a shared stream that preserves, ids lead back into it.
        ids: match (settings.ids, aside) {
            (Ids::Auto, true) => Ids::Preserve,
            (ids, _) => ids,
        },
        resume: settings.resume,
        limits: limits(settings.buffer, kind),
        finish: settings.finish.as_slice().into(),
        responses: 1,
        defers: settings.mode == Mode::Mcp,
        linger: if leads_upstream(settings.ids, kind, aside) {
            Linger::For(Duration::ZERO)
        } else {
            settings.linger
        },
        max_runtime: settings.max_runtime,
        max_detached: settings.max_detached,
        retain: settings.retain,
        reconnect: settings.reconnect,
        hold: settings.hold,
        batch: settings.batch,
        upstream_idle: settings.upstream_idle,
        max_event_bytes: settings.max_event_bytes,
        gap_event: settings.gap_event.clone(),
        strip_retry: settings.retry.is_some(),
        observer: Arc::clone(&route.observer),
    }
}

/// Whether nobody finds the stream again, because its ids lead to the upstream:
/// then there is nothing to linger for.
fn leads_upstream(ids: Ids, kind: Kind, aside: bool) -> bool {
    match ids {
        Ids::Assign => false,
        Ids::Auto => aside,
        Ids::Preserve => kind == Kind::Private,
    }
}

fn limits(buffer: BufferSettings, kind: Kind) -> Limits {
    if kind == Kind::OneShot {
        // Who comes back is to find it whole: only its size is bounded.
        return Limits {
            bytes: buffer.bytes.unwrap_or(ONE_SHOT_BYTES),
            ..Limits::NONE
        };
    }
    let default = Limits::default();
    Limits {
        events: buffer.events.unwrap_or(default.events),
        bytes: buffer.bytes.unwrap_or(default.bytes),
        age: buffer.age.unwrap_or(default.age),
    }
}
