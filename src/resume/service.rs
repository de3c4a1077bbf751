//! The service: which kind of stream a request is for, and who answers it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::attach;
use super::body::SseBody;
use super::control::Control;
use super::cursor::Cursor;
use super::head;
use super::inner::Inner;
use super::key;
use super::mcp;
use super::open::Upstream;
use super::opening::Place;
use super::recall::{Announced, Recalled, catch_up, is_running};
use super::request::RequestBody;
use super::route::Route;
use super::settings::{Mode, Repeat};
use super::tally::Tally;
use crate::observe::GapReason;
use crate::stream::key::Key;
use crate::stream::policy::{Ids, Kind};
use crate::stream::registry::{Claim, Claimed};
use crate::stream::source::BoxError;
use crate::stream::stream::{Phase, Stream};

/// A service whose event streams can be resumed. Made by
/// [`SseLayer`](super::SseLayer).
#[derive(Clone)]
pub struct SseService<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S> SseService<S> {
    pub(super) fn new(inner: S, route: Arc<Route>) -> Self {
        Self { inner, route }
    }
}

impl<S, B, R> Service<Request<B>> for SseService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<SseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready answers; its clone stays behind.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let route = Arc::clone(&self.route);
        // Taken out: a stream keeps its request's extensions, to ask again.
        match request.extensions_mut().remove::<Arc<Tally>>() {
            None => Box::pin(answer(route, ready, request)),
            Some(tally) => Box::pin(async move {
                let mut response = answer(route, ready, request).await?;
                if head::tells_of_gap(response.headers()) {
                    tally.add_gap();
                }
                response.body_mut().count_in(tally);
                Ok(response)
            }),
        }
    }
}

async fn answer<S, B>(
    route: Arc<Route>,
    service: S,
    request: Request<B>,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    if let Some(control) = Control::of(&route.settings, &parts) {
        let cursor = Cursor::take(&mut parts, true);
        let upstream = Upstream::new(route, service, parts, body);
        return Ok(control.answer(upstream, cursor).await);
    }
    if route.settings.mode == Mode::Mcp {
        let cursor = Cursor::take(&mut parts, false);
        return mcp::answer(Upstream::new(route, service, parts, body), cursor).await;
    }
    let Some(kind) = kind_of(route.settings.mode, &parts) else {
        let verbatim = is_verbatim(route.settings.mode, &parts);
        if route.settings.mode != Mode::Passthrough {
            Cursor::leave(&mut parts.headers);
        }
        return Upstream::new(route, service, parts, body)
            .pass(verbatim)
            .await;
    };
    let explicit = !matches!(route.settings.mode, Mode::Auto);
    let cursor = Cursor::take(&mut parts, explicit);
    let upstream = Upstream::new(route, service, parts, body);
    match kind {
        Kind::Shared => shared(upstream, cursor).await,
        Kind::Private | Kind::OneShot => single(upstream, kind, cursor).await,
    }
}

/// `None`: not for the engine.
fn kind_of(mode: Mode, parts: &Parts) -> Option<Kind> {
    let bodiless = [
        Method::HEAD,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    if bodiless.contains(&parts.method) || parts.headers.contains_key(UPGRADE) {
        return None;
    }
    match (mode, &parts.method) {
        (Mode::Passthrough | Mode::Mcp, _) => None,
        (Mode::Auto, method) if *method == Method::GET => Some(Kind::Private),
        (Mode::Shared, method) if *method == Method::GET => Some(Kind::Shared),
        _ => Some(Kind::OneShot),
    }
}

fn is_verbatim(mode: Mode, parts: &Parts) -> bool {
    mode == Mode::Passthrough && parts.method != Method::HEAD
}

/// A request for a stream of the client's own: one it had, or a new one.
async fn single<S, B>(
    mut upstream: Upstream<S, B>,
    kind: Kind,
    cursor: Cursor,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let get = upstream.is_get();
    // One of ours says that the request was sent: nothing of it is needed.
    if kind == Kind::OneShot && !matches!(cursor, Cursor::Ours { .. }) {
        if !upstream.read(0).await {
            return Ok(attach::unreadable());
        }
        if let Some((key, repeat)) = upstream.app_key() {
            if let Cursor::Foreign(id) = cursor {
                upstream.draft.after = Some(id);
            }
            return named(upstream, key, repeat).await;
        }
    }
    match cursor {
        Cursor::None => {}
        Cursor::Malformed => upstream.draft.gap = Some(GapReason::MalformedId),
        Cursor::Foreign(id) => upstream.draft.after = Some(id),
        // `preserve` leaves ids of any shape to the upstream that gave them.
        Cursor::Ours { raw, .. } if get && upstream.preserves(kind) => {
            upstream.draft.after = Some(raw);
        }
        Cursor::Ours { id, .. } => match upstream.find(&id).await {
            Ok(Some((stream, seq))) if upstream.renew(&stream) => {
                match attach::resume(upstream.client(), &stream, seq) {
                    attach::Outcome::Answer(response) => return Ok(response),
                    // Whatever became of it, the request was sent once already.
                    attach::Outcome::Afresh if !get => return Ok(attach::unknown_id()),
                    attach::Outcome::Afresh => upstream.draft.gap = Some(GapReason::Trimmed),
                }
            }
            Ok(None) if !get => return Ok(attach::unknown_id()),
            Err(error) if !get => {
                tracing::warn!(%error, "a client cannot be told whether its stream is known");
                return Ok(attach::unknown_name());
            }
            Err(error) if upstream.route.engine.waits() => {
                tracing::debug!(%error, "a client waits until it is known where it was");
                return Ok(attach::held(&upstream.route, &head::synthetic()));
            }
            found => {
                if let Err(error) = found {
                    tracing::warn!(%error, "a client's stream is taken for unknown");
                }
                match id.carried {
                    Some(carried) => upstream.draft.after = Some(carried.into()),
                    None => upstream.draft.gap = Some(GapReason::UnknownId),
                }
            }
        },
    }
    upstream.open(kind, Place::Epoch).await
}

/// A one-shot that its application names.
async fn named<S, B>(
    upstream: Upstream<S, B>,
    key: Key,
    repeat: Repeat,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Send + 'static,
{
    loop {
        match upstream.registry().claim(&key) {
            Claim::Open(stream) => match again(&upstream, &stream, repeat) {
                attach::Outcome::Answer(response) => return Ok(response),
                attach::Outcome::Afresh => upstream.registry().remove(&key, &stream),
            },
            Claim::Opening(_) if repeat == Repeat::Refuse => return Ok(attach::conflict()),
            Claim::Opening(opening) => {
                if repeat == Repeat::Supersede {
                    opening.cancel();
                }
                // Nobody else may send it meanwhile: that is what the name is for.
                opening.done().await;
            }
            Claim::Mine(claimed) => {
                // In a task of its own: a client that leaves before the head
                // must find the answer when it asks again, not a second request,
                // nor a name that nothing came of.
                let opening = tokio::spawn(first(upstream, key, claimed, repeat));
                return match opening.await {
                    Ok(answer) => answer,
                    // It is never cancelled, so it panicked, as it would have here.
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                };
            }
        }
    }
}

/// What becomes of a request whose name a stream has.
fn again<S, B>(
    upstream: &Upstream<S, B>,
    stream: &Arc<Stream>,
    repeat: Repeat,
) -> attach::Outcome<S::ResBody>
where
    S: Inner<B>,
    B: Send + 'static,
{
    let running = is_running(stream);
    match repeat {
        Repeat::Attach => match attach::resume(upstream.client(), stream, 0) {
            // What is gone of it cannot be had by executing it again.
            attach::Outcome::Afresh if stream.phase() != Phase::Gone => {
                attach::Outcome::Answer(attach::trimmed(stream))
            }
            outcome => outcome,
        },
        Repeat::Refuse if running => attach::Outcome::Answer(attach::conflict()),
        Repeat::Supersede if running => {
            stream.stop("superseded");
            attach::Outcome::Afresh
        }
        Repeat::Refuse | Repeat::Supersede => attach::Outcome::Afresh,
    }
}

/// The first request of a name here. If no stream comes of it, the next one is
/// first again.
async fn first<S, B>(
    mut upstream: Upstream<S, B>,
    key: Key,
    claimed: Claimed,
    repeat: Repeat,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Send + 'static,
{
    match upstream.announce(&key, repeat).await {
        Ok(Announced::First) => {}
        Ok(Announced::Stream(stream)) => return Ok(elsewhere(&upstream, &stream, &key, claimed)),
        Ok(Announced::Busy) => return Ok(attach::conflict()),
        Err(error) => {
            tracing::warn!(%error, "a request with a key is not executed");
            return Ok(attach::unknown_name());
        }
    }
    let renewal = upstream.draft.announced.as_ref();
    let renewal = renewal.map(|announced| announced.1.clone());
    let cancelled = claimed.cancelled();
    let place = Place::Claimed(key, claimed, None);
    let answer = {
        let opened = pin!(upstream.open(Kind::OneShot, place));
        let opened = unless(cancelled, opened);
        match renewal.clone() {
            Some(renewal) => renewal.during(opened, || true).await,
            None => opened.await,
        }
    };
    let live = matches!(&answer, Some(Ok(answer)) if answer.body().is_live());
    if let (false, Some(renewal)) = (live, renewal) {
        renewal.take_back();
    }
    answer.unwrap_or_else(|| Ok(attach::stopped()))
}

/// The answer to a request that another process has sent, or this one before.
fn elsewhere<S, B>(
    upstream: &Upstream<S, B>,
    stream: &Arc<Stream>,
    key: &Key,
    claimed: Claimed,
) -> Response<SseBody<S::ResBody>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    if stream.alias.as_ref() == Some(key) {
        // It is in its place since it came from the journal.
        claimed.filled();
    }
    match again(upstream, stream, Repeat::Attach) {
        attach::Outcome::Answer(response) => response,
        attach::Outcome::Afresh => attach::unknown_name(),
    }
}

/// What comes of `wanted`, unless the other is ready before.
async fn unless<T>(
    other: impl Future<Output = ()>,
    mut wanted: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut other = pin!(other);
    poll_fn(|cx| match wanted.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => other.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A request for a stream that others may read, too.
async fn shared<S, B>(
    mut upstream: Upstream<S, B>,
    cursor: Cursor,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Send + 'static,
{
    // A client that was once given a stream of its own on this route (see
    // `Aside` below, and one-shots) goes on with that.
    if let Cursor::Ours { id, .. } = &cursor
        && let Ok(Some((stream, seq))) = upstream.find(id).await
        && let attach::Outcome::Answer(response) = attach::resume(upstream.client(), &stream, seq)
    {
        return Ok(response);
    }
    upstream.strip_credentials();
    let key = Key::Request(key::shared(
        upstream.route.number,
        &upstream.route.settings.key,
        &upstream.parts,
    ));
    let (mut waited, mut over) = (false, false);
    loop {
        match upstream.registry().claim(&key) {
            Claim::Open(stream) => {
                let ids = upstream.route.settings.ids;
                let known = |stream: &Stream| attach::knows(stream, &cursor, ids);
                if let Err(error) = catch_up(&upstream.route.engine, &stream, known).await {
                    tracing::debug!(%error, "a client waits until it is known where it was");
                    return Ok(attach::held(&upstream.route, &stream.head));
                }
                match attach::join(upstream.client(), &stream, &cursor) {
                    attach::Joined::Answer(response) => return Ok(response),
                    attach::Joined::Aside(after) => {
                        upstream.draft.after = Some(after);
                        upstream.draft.aside = true;
                        return upstream.open(Kind::Private, Place::Epoch).await;
                    }
                    // Its end is no answer to a client that has not read it.
                    attach::Joined::Over => {
                        over |= matches!(stream.phase(), Phase::Ended(_));
                        upstream.registry().remove(&key, &stream);
                    }
                }
            }
            // If whoever was first left before the answer, the next one is first:
            // a client that hangs up must not send all others upstream.
            Claim::Opening(opening) if !waited => waited = opening.done().await,
            // Whoever was first got no stream. Those who waited do not wait for
            // each other as well, or the last would wait for all.
            Claim::Opening(_) => {
                return upstream
                    .begin(&cursor)
                    .open(Kind::Shared, Place::Late(key, cursor))
                    .await;
            }
            Claim::Mine(claimed) => {
                // An ended stream makes room for a new one, unless this client had it.
                let had = !over && matches!(cursor, Cursor::Ours { .. });
                let replica = match upstream.recall(&key, had).await {
                    Ok(Recalled::Stream) => {
                        claimed.filled();
                        continue;
                    }
                    Ok(Recalled::New(replica)) => replica,
                    Ok(Recalled::Unusable) => None,
                    Err(error) => {
                        tracing::warn!(%error, "whether the stream exists elsewhere is not known");
                        return upstream.without_journal(key, claimed, &cursor).await;
                    }
                };
                let place = Place::Claimed(key, claimed, replica);
                return upstream.begin(&cursor).open(Kind::Shared, place).await;
            }
        }
    }
}

impl<S, B> Upstream<S, B> {
    fn preserves(&self, kind: Kind) -> bool {
        kind != Kind::OneShot && self.route.settings.ids == Ids::Preserve
    }

    /// Where the first upstream connection of a shared stream is to begin.
    pub(super) fn begin(mut self, cursor: &Cursor) -> Self {
        match cursor {
            Cursor::None => {}
            Cursor::Malformed => self.draft.gap = Some(GapReason::MalformedId),
            Cursor::Foreign(id) => self.draft.after = Some(id.clone()),
            Cursor::Ours { raw, .. } if self.preserves(Kind::Shared) => {
                self.draft.after = Some(raw.clone());
            }
            Cursor::Ours { id, .. } => match &id.carried {
                Some(carried) => self.draft.after = Some(Bytes::copy_from_slice(carried)),
                None => self.draft.gap = Some(GapReason::UnknownId),
            },
        }
        self
    }
}

impl<S> fmt::Debug for SseService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseService")
            .field("settings", &self.route.settings)
            .finish_non_exhaustive()
    }
}
