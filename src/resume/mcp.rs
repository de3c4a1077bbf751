//! Streams of the Model Context Protocol's "streamable HTTP" transport.
//!
//! Up to version 2025-11-25, a server that keeps events may be asked for those
//! after an id, by a GET whatever request began the stream. Most servers keep
//! none: then it is done here. One that sends ids is left alone. Later versions
//! have no such thing; there, a closed connection cancels its request.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use serde_json::Value;

use super::attach::{self, Outcome};
use super::body::SseBody;
use super::cursor::{Cursor, LAST_EVENT_ID};
use super::inner::Inner;
use super::open::{Place, Upstream};
use crate::log::Position;
use crate::observe::GapReason;
use crate::stream::policy::Kind;
use crate::stream::stream::{Phase, Standing};

/// What names a session, once there is one.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// What a client speaks that says nothing of it (2025-06-18, "Protocol Version
/// Header").
const UNSAID: &str = "2025-03-26";

/// Since then, streams may begin with an event that has an id and no data.
const PRIMED: &str = "2025-11-25";

/// Since then, streams cannot be resumed.
const UNRESUMABLE: &str = "2026-07-28";

/// So much of a request is read to learn what its client speaks.
const BODY: usize = 64 << 10;

/// What is known of a request.
struct Message {
    version: String,
    /// Responses that its stream is to bring.
    responses: usize,
}

impl Message {
    fn of(headers: &HeaderMap, read: &[u8]) -> Self {
        let said = headers.get(VERSION).and_then(|value| value.to_str().ok());
        // Only clients that do not say it send batches.
        let body: Value = match said {
            None => serde_json::from_slice(read).unwrap_or_default(),
            Some(_) => Value::Null,
        };
        let is_request =
            |message: &&Value| message.get("method").is_some() && message.get("id").is_some();
        let responses = match &body {
            Value::Array(batch) => batch.iter().filter(is_request).count().max(1),
            _ => 1,
        };
        let asked = (body["method"] == "initialize")
            .then(|| body["params"]["protocolVersion"].as_str())
            .flatten();
        Self {
            version: said.or(asked).unwrap_or(UNSAID).to_owned(),
            responses,
        }
    }

    fn is_before(&self, version: &str) -> bool {
        // Dates, written so that their order is that of their text.
        self.version.as_str() < version
    }
}

/// Answers any request to an endpoint.
pub(super) async fn answer<S, B>(
    mut upstream: Upstream<S, B>,
    cursor: Cursor,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let method = upstream.parts.method.clone();
    if method == Method::POST
        && !upstream.parts.headers.contains_key(VERSION)
        && !upstream.read(BODY).await
    {
        return Ok(attach::unreadable());
    }
    let message = Message::of(&upstream.parts.headers, upstream.read_already());
    let streams = method == Method::GET || method == Method::POST;
    if !streams || !message.is_before(UNRESUMABLE) {
        return pass(upstream).await;
    }
    upstream.prime = !message.is_before(PRIMED);
    upstream.responses = message.responses;
    match cursor {
        _ if method == Method::POST => open(upstream, Kind::OneShot).await,
        Cursor::None => match standing(&upstream) {
            Some(response) => Ok(response),
            None => open(upstream, Kind::Private).await,
        },
        Cursor::Ours { id, .. } => match upstream.find(&id).await {
            Ok(Some((stream, seq))) if attach::is_finished(&stream, seq) => Ok(nothing_left()),
            Ok(Some((stream, seq))) => match attach::resume(upstream.client(), &stream, seq) {
                Outcome::Answer(response) => Ok(response),
                Outcome::Afresh => Ok(unknown(&upstream)),
            },
            Ok(None) => Ok(unknown(&upstream)),
            Err(error) => {
                tracing::warn!(%error, "a client cannot be told whether its stream is known");
                Ok(attach::unknown_name())
            }
        },
        Cursor::Malformed => Ok(unknown(&upstream)),
        // The server gave it, and knows what follows.
        Cursor::Foreign(id) => {
            if let Ok(id) = HeaderValue::from_maybe_shared(id) {
                upstream.parts.headers.insert(LAST_EVENT_ID, id);
            }
            pass(upstream).await
        }
    }
}

/// What a server says without being asked, again: the stream that brings it is
/// kept for a while after its client is lost, and servers refuse a second one
/// as long as they have the first. A client without an id has not been told of
/// any event, or does not say so: it goes on with the next.
fn standing<S, B>(upstream: &Upstream<S, B>) -> Option<Response<SseBody<S::ResBody>>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    let streams = upstream.registry().owners().streams(&upstream.principal?);
    let stream = streams.into_iter().find(|stream| {
        stream.policy.kind == Kind::Private
            && stream.phase() == Phase::Active
            && matches!(stream.standing(), Standing::Unread(_))
            && upstream.may_have(stream)
    })?;
    match upstream.client().attach(&stream, Position::Live, None) {
        Outcome::Answer(response) => Some(response),
        Outcome::Afresh => None,
    }
}

async fn open<S, B>(
    upstream: Upstream<S, B>,
    kind: Kind,
) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let session = Session::of(&upstream);
    let answer = upstream.open(kind, Place::Epoch).await?;
    Ok(session.heed(answer, false))
}

/// Nothing is added but heartbeats.
async fn pass<S, B>(upstream: Upstream<S, B>) -> Result<Response<SseBody<S::ResBody>>, S::Error>
where
    S: Inner<B>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let session = Session::of(&upstream);
    let method = &upstream.parts.method;
    let (ends, verbatim) = (*method == Method::DELETE, *method != Method::HEAD);
    let answer = upstream.pass(verbatim).await?;
    Ok(session.heed(answer, ends))
}

/// Whose streams end when the server does not know their session any more.
struct Session {
    engine: super::engine::Engine,
    principal: Option<[u8; 32]>,
}

impl Session {
    fn of<S, B>(upstream: &Upstream<S, B>) -> Self {
        let named = upstream.parts.headers.contains_key(SESSION);
        Self {
            engine: upstream.route.engine.clone(),
            principal: upstream.principal.filter(|_| named),
        }
    }

    /// 404 says that there is no such session; an answer to DELETE, that there
    /// is none any more.
    fn heed<R>(&self, answer: Response<R>, ends: bool) -> Response<R> {
        let over = answer.status() == StatusCode::NOT_FOUND || ends && answer.status().is_success();
        if let (true, Some(principal)) = (over, &self.principal) {
            for stream in self.engine.registry().owners().streams(principal) {
                stream.forget("its session is over");
            }
        }
        answer
    }
}

/// The stream has ended, and this client has all of it. 405 is how a server says
/// that it has no stream for a GET, and what makes clients leave it at that:
/// after an empty one, those in TypeScript ask for another, without an id.
fn nothing_left<R>() -> Response<SseBody<R>> {
    let text = "The stream has ended, and nothing follows this Last-Event-ID.\n";
    let mut response = attach::text(StatusCode::METHOD_NOT_ALLOWED, text);
    let allow = HeaderValue::from_static("DELETE, GET, POST");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// As servers that keep events answer to an id that they do not know.
fn unknown<S, B, R>(upstream: &Upstream<S, B>) -> Response<SseBody<R>>
where
    S: Inner<B>,
    B: Send + 'static,
{
    upstream.observe(GapReason::UnknownId);
    let error = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\
                 \"The stream of this Last-Event-ID is not known here\"},\"id\":null}";
    let mut response = Response::new(SseBody::text(Bytes::from_static(error.as_bytes())));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(version: Option<&'static str>, body: &str) -> Message {
        let mut headers = HeaderMap::new();
        if let Some(version) = version {
            headers.insert(VERSION, HeaderValue::from_static(version));
        }
        Message::of(&headers, body.as_bytes())
    }

    #[test]
    fn the_version_is_what_the_client_says() {
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize",
            "params":{"protocolVersion":"2025-11-25"}}"#;
        assert_eq!(message(None, initialize).version, "2025-11-25");
        assert_eq!(
            message(Some("2025-06-18"), initialize).version,
            "2025-06-18"
        );
        assert_eq!(message(None, "{}").version, UNSAID);
        assert_eq!(message(None, "no json").version, UNSAID);
        assert!(message(None, "{}").is_before(PRIMED));
        assert!(!message(Some("2025-11-25"), "").is_before(PRIMED));
        assert!(message(Some("2025-11-25"), "").is_before(UNRESUMABLE));
        assert!(!message(Some("2026-07-28"), "").is_before(UNRESUMABLE));
    }

    #[test]
    fn a_batch_brings_as_many_responses_as_it_has_requests() {
        let batch = r#"[{"id":1,"method":"a"},{"method":"n"},{"id":2,"method":"b"}]"#;
        assert_eq!(message(None, batch).responses, 2);
        assert_eq!(message(None, "[]").responses, 1);
        assert_eq!(message(None, "{}").responses, 1);
    }
}
