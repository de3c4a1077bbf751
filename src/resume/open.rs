//! A request on its way to the inner service, and whether a stream comes of it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::attach::Client;
use super::body::{Close, SseBody};
use super::coding;
use super::cursor::LAST_EVENT_ID;
use super::head::{self, dress, is_encoded, is_event_stream};
use super::inner::Inner;
use super::key;
use super::mcp;
use super::name;
use super::opening::{Draft, Opening, Place, held_head};
use super::principal::{self, Principal};
use super::reopen::{Reopen, Reopenable};
use super::request::RequestBody;
use super::retry::{self, Retry, SENT_AGAIN};
use super::route::Route;
use super::settings::{Coding, Credential, Mode, Repeat};
use crate::observe::{GapReason, Signal};
use crate::stream::key::Key;
use crate::stream::policy::Kind;
use crate::stream::pump::Beginning;
use crate::stream::registry::Registry;
use crate::stream::session::End;
use crate::stream::source::{BoxError, Source};
use crate::stream::stream::{Phase, Stream};

/// A request on its way to the inner service.
pub(super) struct Upstream<S, B> {
    pub(super) route: Arc<Route>,
    pub(super) parts: Parts,
    service: S,
    body: RequestBody<B>,
    /// The coding its client takes a stream in.
    coding: Option<Coding>,
    pub(super) draft: Draft,
}

impl<S, B> Upstream<S, B> {
    pub(super) fn new(route: Arc<Route>, service: S, parts: Parts, body: B) -> Self {
        let credentials = route.settings.credentials();
        let claims = parts.extensions.get();
        let principals = route.engine.principals();
        let principal = principals.of(credentials, &parts.headers, claims);
        let scope = key::scope(route.number, &route.settings, &parts);
        let coding = coding::choose(route.settings.compress, &parts.headers);
        Self {
            coding,
            draft: Draft::new(principal, scope),
            route,
            parts,
            service,
            body: RequestBody::original(body),
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
            prime: self.draft.prime,
            coding: self.coding,
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
        if let Some(name) = &self.draft.name {
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
            key.extend_from_slice(&self.draft.principal.unwrap_or_default());
            let repeat = settings.repeat.unwrap_or(Repeat::Attach);
            (Key::Request(key.into()), repeat)
        })
    }

    /// The key of this client's stream of that name.
    pub(super) fn named_key(&self, name: &str) -> Key {
        let whose = &self.draft.principal;
        Key::Request(key::named(self.route.number, &self.parts, whose, name))
    }

    /// Whether this client may have a stream.
    pub(super) fn may_have(&self, stream: &Stream) -> bool {
        principal::same(&stream.principal, &self.draft.principal)
            && stream.scope == self.draft.scope
    }

    /// Whose it would be, and which resource's, as a journal has it.
    pub(super) fn owner(&self) -> (Principal, [u8; 32]) {
        let scope = self.route.engine.names().hash(b"scope", &self.draft.scope);
        (self.draft.principal, scope)
    }

    /// Lets a stream go on with the credentials of this request, where the same
    /// client comes with others each time. False if it has come too late: the
    /// upstream has refused the ones before.
    pub(super) fn renew(&mut self, stream: &Stream) -> bool {
        let claimed = |credential: &Credential| matches!(credential, Credential::Claim(_));
        let renewed = self.route.settings.principal.iter().any(claimed);
        if !renewed || !self.is_get() {
            return true;
        }
        self.ask_for_identity();
        stream.renew(&self.parts.headers);
        !matches!(stream.phase(), Phase::Ended(End::Status(401 | 403)))
    }

    /// The resource of this request.
    pub(super) fn scope(&self) -> &[u8] {
        &self.draft.scope
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
        self.draft.name = source.and_then(find);
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
        if let Some(id) = &self.draft.after {
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
        let gap = opening.draft.after.is_some() && head::tells_of_gap(&head.headers);
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
        let mut repeat = self.repeat(kind)?;
        if self.route.settings.mode == Mode::Shared {
            key::strip_credentials(&self.route.settings, &mut repeat.0.headers);
        }
        source(Some(repeat))
    }

    fn part(self, kind: Kind, place: Place) -> (Opening, S, Request<RequestBody<B>>) {
        let mcp = self.route.settings.mode == Mode::Mcp;
        let before_session = (mcp && !self.parts.headers.contains_key(mcp::SESSION)).then(|| {
            (
                self.parts.headers.clone(),
                self.parts.extensions.get().cloned(),
            )
        });
        let opening = Opening {
            get: self.is_get(),
            coding: self.coding,
            route: self.route,
            kind,
            place,
            draft: self.draft,
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
    fn repeat(&mut self, kind: Kind) -> Option<Again<S>> {
        if kind == Kind::OneShot {
            return None;
        }
        let parts = self.parts.clone();
        // An MCP session is one server's, and its streams may be left to it.
        let anywhere = self.route.settings.mode != Mode::Mcp;
        if anywhere {
            self.parts.extensions.insert(Reopenable);
        }
        Some((parts, self.service.clone(), anywhere))
    }
}

/// A request, whom it goes to, and whether another server may answer it next.
type Again<S> = (Parts, S, bool);

fn source<S, B>(repeat: Option<Again<S>>) -> Option<Arc<dyn Source>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    let (mut parts, service, anywhere) = repeat?;
    if anywhere {
        parts.extensions.insert(Reopenable);
    }
    Some(Arc::new(Reopen::<S, B>::new(service, &parts)))
}

/// Answers that mean that the upstream is away, not that it refuses.
fn is_down(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
