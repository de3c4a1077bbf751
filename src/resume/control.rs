//! Requests about streams rather than for one: attach, stop, list.
//!
//! They are answered here and never sent upstream. A stream of somebody else's
//! is as good as none.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::attach::{self, Outcome};
use super::body::SseBody;
use super::cursor::Cursor;
use super::inner::Inner;
use super::open::Upstream;
use super::recall::catch_up;
use super::settings::Settings;
use crate::log::{Ending, Position};
use crate::observe::GapReason;
use crate::stream::id::Locator;
use crate::stream::key::Key;
use crate::stream::registry::Opening;
use crate::stream::session::End;
use crate::stream::stream::{Phase, Stream};

/// What is wanted, of which stream.
pub(super) enum Control {
    Attach(Box<str>),
    Stop(Box<str>),
    List,
}

impl Control {
    /// What a request wants, if it is one of these.
    pub(super) fn of(settings: &Settings, parts: &Parts) -> Option<Self> {
        let path = parts.uri.path();
        let get = parts.method == Method::GET;
        if get && settings.list.as_deref() == Some(path) {
            return Some(Self::List);
        }
        let written = settings.attach.as_ref()?.key(path)?;
        let key = percent_decode_str(written).decode_utf8().ok()?.into();
        match parts.method {
            Method::GET => Some(Self::Attach(key)),
            Method::DELETE => Some(Self::Stop(key)),
            _ => None,
        }
    }

    pub(super) async fn answer<S, B>(
        self,
        upstream: Upstream<S, B>,
        cursor: Cursor,
    ) -> Response<SseBody<S::ResBody>>
    where
        S: Inner<B>,
        B: Send + 'static,
    {
        match self {
            Self::Attach(key) => attach(upstream, &key, &cursor).await,
            Self::Stop(key) => stop(upstream, &key).await,
            Self::List => list(&upstream),
        }
    }
}

/// The stream from its beginning, or from where the client was in it.
async fn attach<S, B>(
    mut upstream: Upstream<S, B>,
    key: &str,
    cursor: &Cursor,
) -> Response<SseBody<S::ResBody>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    loop {
        let Some(stream) = upstream.look(key).await else {
            // Its request may have been sent just now.
            match upstream.named_opening(key) {
                Some(opening) => opening.done().await,
                None => return none(StatusCode::NO_CONTENT),
            };
            continue;
        };
        let place = match cursor {
            Cursor::Ours { id, .. } => {
                let known = |stream: &Stream| stream.place(id).is_some();
                let engine = &upstream.route.engine;
                if let Err(error) = catch_up(engine, &stream, known).await {
                    tracing::warn!(%error, "a client's place in its stream is not known");
                    return attach::unknown_name();
                }
                stream.place(id)
            }
            _ => Some(0),
        };
        let client = upstream.client();
        let outcome = match place {
            Some(seq) => attach::resume(client, &stream, seq),
            // It had another stream of that name, or one that is no more.
            None => client.attach(&stream, Position::Oldest, Some(GapReason::UnknownId)),
        };
        match outcome {
            Outcome::Answer(response) => return response,
            Outcome::Afresh => return none(StatusCode::NO_CONTENT),
        }
    }
}

/// Ends the stream and its upstream connection, or the attempt at one.
async fn stop<S, B>(mut upstream: Upstream<S, B>, key: &str) -> Response<SseBody<S::ResBody>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    loop {
        if let Some(stream) = upstream.look(key).await {
            stream.stop("stopped by its client");
            return none(StatusCode::NO_CONTENT);
        }
        let Some(opening) = upstream.named_opening(key) else {
            return attach::text(StatusCode::NOT_FOUND, "There is no such stream.\n");
        };
        opening.cancel();
        opening.done().await;
    }
}

/// What this client has here.
fn list<S, B>(upstream: &Upstream<S, B>) -> Response<SseBody<S::ResBody>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    let streams = upstream.belongings();
    let entries: Vec<_> = streams.iter().map(|stream| entry(stream)).collect();
    let text = json!({ "streams": entries }).to_string();
    let mut response = Response::new(SseBody::text(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn entry(stream: &Stream) -> serde_json::Value {
    let (events, bytes) = stream.log().with(|ring| (ring.high(), ring.bytes()));
    let located = match &stream.key {
        Key::Located(locator) => Some(locator.as_str()),
        Key::Request(_) => None,
    };
    let state = match stream.phase() {
        Phase::Ended(End::Upstream(Ending::Complete)) => "complete",
        Phase::Ended(_) | Phase::Gone => "aborted",
        Phase::Active | Phase::Resting | Phase::Waiting => "running",
    };
    json!({
        "key": stream.name.as_deref().or(located),
        "stream": located,
        "state": state,
        "events": events,
        "bytes": bytes,
        "readers": stream.log().readers(),
    })
}

fn none<R>(status: StatusCode) -> Response<SseBody<R>> {
    let mut response = Response::new(SseBody::empty());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

impl<S, B> Upstream<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    /// The stream of a key in a path, if this client may have it.
    async fn look(&mut self, key: &str) -> Option<Arc<Stream>> {
        let named = self.named_key(key);
        if let Some(stream) = self.registry().find(&named) {
            return self.may_have(&stream).then_some(stream);
        }
        let found = match self.resolve(&named).await {
            Ok(None) => match Locator::parse(key.as_bytes()) {
                Some(locator) => self.located(Key::Located(locator), None).await,
                None => return None,
            },
            resolved => resolved,
        };
        let stream = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "a client's stream is taken for unknown");
            None
        })?;
        self.may_have(&stream).then_some(stream)
    }

    fn named_opening(&self, key: &str) -> Option<Opening> {
        self.registry().opening(&self.named_key(key))
    }

    /// This client's streams on this route, if it can be told from others.
    fn belongings(&self) -> Vec<Arc<Stream>> {
        let Some(principal) = &self.principal else {
            return Vec::new();
        };
        let mut streams = self.registry().owners().streams(principal);
        streams.retain(|stream| self.may_have(stream) && stream.phase() != Phase::Gone);
        streams
    }
}
