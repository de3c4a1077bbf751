//! Response heads: recognising an event stream, and what its head must say.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, DATE, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::stream::id::Locator;
use crate::stream::stream::Head;

/// How the layer answered a client's `Last-Event-ID`.
pub(crate) const SSE_RESUME: HeaderName = HeaderName::from_static("sse-resume");

/// What a client finds a stream by, if its route has a path for that.
const SSE_STREAM: HeaderName = HeaderName::from_static("sse-stream");

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Headers that [`dress`] adds.
const DRESS: usize = 4;

/// What a client is told of its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Everything after its id follows.
    Exact,
    /// It begins a stream; nothing is said of what was before.
    New,
    /// Events are known or feared lost.
    Gap,
    /// A snapshot follows in place of what was missed.
    Snapshot,
}

impl Resumed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::New => "new",
            Self::Gap => "gap",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Whether this is 200 with an event stream, whatever the parameters and the
/// case of its type (WHATWG HTML §9.2.3).
pub(crate) fn is_event_stream(status: StatusCode, headers: &HeaderMap) -> bool {
    let essence = |value: &HeaderValue| {
        let essence = value.as_bytes().split(|b| *b == b';').next();
        essence.is_some_and(|e| e.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    };
    status == StatusCode::OK && headers.get(CONTENT_TYPE).is_some_and(essence)
}

/// Whether the body is compressed although the upstream was asked not to:
/// then it can be passed on, but neither read nor added to.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// `Retry-After`, as a delay from now (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether an upstream that is a proxy of this kind says that events are known
/// or feared lost.
pub(crate) fn tells_of_gap(headers: &HeaderMap) -> bool {
    headers
        .get(SSE_RESUME)
        .is_some_and(|resumed| resumed == Resumed::Gap.as_str())
}

/// Says what a client finds a stream by.
pub(crate) fn name(headers: &mut HeaderMap, locator: Option<Locator>) {
    let value = locator.and_then(|locator| HeaderValue::from_bytes(locator.as_bytes()).ok());
    if let Some(value) = value {
        headers.insert(SSE_STREAM, value);
        headers.append(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Sse-Stream"),
        );
    }
}

/// Makes a head fit for an event stream that must not be held up on its way.
pub(crate) fn dress(headers: &mut HeaderMap, resumed: Option<Resumed>) {
    *headers = fitted(std::mem::take(headers));
    for name in [
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
        CONTENT_ENCODING,
    ] {
        headers.remove(name);
    }
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if let Some(resumed) = resumed {
        headers.insert(SSE_RESUME, HeaderValue::from_static(resumed.as_str()));
        // Without it, scripts of other origins could not read the answer.
        headers.append(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Sse-Resume"),
        );
    }
}

/// The same headers in a map without room for more than [`dress`] adds.
///
/// hyper reads an answer into the map of the request it sent, and keeps the map
/// of an answer it sent as long as the connection: 1.8 KiB more per client.
fn fitted(headers: HeaderMap) -> HeaderMap {
    let mut fitted = HeaderMap::with_capacity(headers.len() + DRESS);
    fitted.extend(headers);
    fitted
}

/// What is kept of a first answer's head for later ones: not its cookies,
/// which were one client's, and not what is set anew each time.
pub(crate) fn keep(headers: &HeaderMap) -> Head {
    let own = [
        SET_COOKIE,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
        CONTENT_ENCODING,
        DATE,
        CACHE_CONTROL,
        ACCEL_BUFFERING,
        SSE_RESUME,
    ];
    compact(headers, |name| !own.contains(name))
}

/// The head of a stream that has no upstream yet.
pub(crate) fn synthetic() -> Head {
    let value = HeaderValue::from_static("text/event-stream");
    Box::new([(CONTENT_TYPE, value)])
}

/// Copies header values into one allocation of their own: as they are, each
/// keeps the whole buffer alive that its message was read into.
pub(crate) fn compact(headers: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) -> Head {
    let wanted: Vec<_> = headers.iter().filter(|(name, _)| wanted(name)).collect();
    let size = wanted.iter().map(|(_, value)| value.len()).sum();
    let mut block = BytesMut::with_capacity(size);
    for (_, value) in &wanted {
        block.extend_from_slice(value.as_bytes());
    }
    let mut block: Bytes = block.freeze();
    let own = |(name, value): (&HeaderName, &HeaderValue)| {
        let mut own = HeaderValue::from_maybe_shared(block.split_to(value.len())).ok()?;
        own.set_sensitive(value.is_sensitive());
        Some((name.clone(), own))
    };
    wanted.into_iter().filter_map(own).collect()
}

/// A header map of what was kept.
pub(crate) fn unpack(head: &Head) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(head.len() + DRESS);
    for (name, value) in head {
        headers.append(name.clone(), value.clone());
    }
    headers
}
