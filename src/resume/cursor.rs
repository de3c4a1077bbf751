//! Where a client says it stopped reading.

use bytes::Bytes;
use http::header::ACCEPT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::stream::id::{EventId, MAX_CURSOR, ParsedId, is_header_safe};

/// `Last-Event-ID` (WHATWG HTML §9.2.4).
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The parameters read in its place: a page that reloads, or a script that
/// makes a new `EventSource`, cannot set the header.
const PARAMETERS: [&str; 2] = ["last_event_id", "lastEventId"];

/// The last id a client saw, as far as it can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// It brings none.
    None,
    /// It brings something that is no id.
    Malformed,
    /// One of ours; `raw` is how it was written.
    Ours { id: EventId, raw: Bytes },
    /// Anything else: the upstream's.
    Foreign(Bytes),
}

impl Cursor {
    /// Takes the cursor out of a request: what is left of the request says
    /// nothing of it. The header wins, because a URL keeps its stale value.
    pub(crate) fn take(parts: &mut Parts, always_query: bool) -> Self {
        let from_query = if always_query || may_be_event_source(&parts.headers) {
            take_from_query(&mut parts.uri)
        } else {
            None
        };
        take_from_header(&mut parts.headers)
            .or(from_query)
            .unwrap_or(Self::None)
    }

    /// Leaves an id in the header of a request that is not for the engine, if it
    /// can be the upstream's.
    pub(crate) fn leave(headers: &mut HeaderMap) {
        if let Some(Self::Foreign(id)) = take_from_header(headers)
            && let Ok(value) = HeaderValue::from_maybe_shared(id)
        {
            headers.insert(LAST_EVENT_ID, value);
        }
    }

    fn parse(raw: &[u8]) -> Self {
        if raw.len() > MAX_CURSOR || !is_header_safe(raw) {
            return Self::Malformed;
        }
        let bytes = Bytes::copy_from_slice(raw);
        match EventId::parse(raw) {
            ParsedId::Ours(id) => Self::Ours { id, raw: bytes },
            ParsedId::Malformed => Self::Malformed,
            ParsedId::Foreign => Self::Foreign(bytes),
        }
    }
}

/// Whether the client may be reading events. A request that asks for JSON is
/// not, and its query is its own.
fn may_be_event_source(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(ACCEPT).iter().peekable();
    accepts.peek().is_none()
        || accepts.any(|accept| {
            accept.as_bytes().split(|b| *b == b',').any(|range| {
                let essence = range.split(|b| *b == b';').next().unwrap_or(range);
                let essence = essence.trim_ascii();
                essence == b"*/*" || essence.eq_ignore_ascii_case(b"text/event-stream")
            })
        })
}

fn take_from_header(headers: &mut HeaderMap) -> Option<Cursor> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let cursor = match (values.next(), values.next()) {
        (None, _) => return None,
        (Some(one), None) if one.is_empty() => None,
        (Some(one), None) => Some(Cursor::parse(one.as_bytes())),
        (Some(_), Some(_)) => Some(Cursor::Malformed),
    };
    headers.remove(LAST_EVENT_ID);
    cursor
}

fn take_from_query(uri: &mut Uri) -> Option<Cursor> {
    let query = uri.query()?;
    let (mut kept, mut cursor) = (Vec::new(), None);
    for piece in query.split('&') {
        match parameter(piece) {
            Some(value) if value.is_empty() => {}
            Some(_) if cursor.is_some() => cursor = Some(Cursor::Malformed),
            Some(value) => cursor = Some(Cursor::parse(value.as_bytes())),
            None => kept.push(piece),
        }
    }
    if kept.len() < query.split('&').count() {
        set_query(uri, &kept.join("&"));
    }
    cursor
}

/// The value, if a piece of a query is one of our parameters.
fn parameter(piece: &str) -> Option<String> {
    let (name, value) = form_urlencoded::parse(piece.as_bytes()).next()?;
    PARAMETERS
        .contains(&name.as_ref())
        .then(|| value.into_owned())
}

/// The other parameters stay byte for byte as they were.
pub(crate) fn set_query(uri: &mut Uri, query: &str) {
    let path = uri.path();
    let rewritten = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let mut parts = uri.clone().into_parts();
    // Parts of what was valid, so this cannot fail; if it did, the URI stays.
    if let Ok(path) = rewritten.parse::<PathAndQuery>() {
        parts.path_and_query = Some(path);
        if let Ok(new) = Uri::from_parts(parts) {
            *uri = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn take(uri: &str, headers: &[(&str, &[u8])]) -> (Cursor, String, HeaderMap) {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let cursor = Cursor::take(&mut parts, false);
        (cursor, parts.uri.to_string(), parts.headers)
    }

    fn foreign(id: &'static str) -> Cursor {
        Cursor::Foreign(Bytes::from_static(id.as_bytes()))
    }

    #[test]
    fn the_header_wins_and_both_are_taken_out() {
        let (cursor, uri, headers) = take(
            "/e?a=%20&lastEventId=1&b=+",
            &[("last-event-id", b"2"), ("x", b"y")],
        );
        assert_eq!(cursor, foreign("2"));
        assert_eq!(uri, "/e?a=%20&b=+");
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn either_parameter_is_read_where_there_is_no_header() {
        assert_eq!(take("/e?last_event_id=a%2Fb", &[]).0, foreign("a/b"));
        assert_eq!(take("/e?lastEventId=7", &[]).0, foreign("7"));
        assert_eq!(take("/e?lastEventId=7", &[]).1, "/e");
        assert_eq!(take("/e?lastEventId=", &[]).0, Cursor::None);
        assert_eq!(
            take("/e?last_event_id=7", &[("last-event-id", b"")]).0,
            foreign("7")
        );
        assert_eq!(take("http://h/e?x&last_event_id=7", &[]).1, "http://h/e?x");
    }

    #[test]
    fn a_request_for_something_else_keeps_its_query() {
        let (cursor, uri, _) = take("/e?lastEventId=7", &[("accept", b"application/json")]);
        assert_eq!((cursor, uri.as_str()), (Cursor::None, "/e?lastEventId=7"));
        let (cursor, ..) = take(
            "/e?lastEventId=7",
            &[("accept", b"a/b, Text/Event-Stream;q=1")],
        );
        assert_eq!(cursor, foreign("7"));
    }

    #[test]
    fn what_is_no_id_is_malformed() {
        let long = vec![b'x'; MAX_CURSOR + 1];
        for bad in [&long[..], "é".as_bytes(), b"a\tb", b"s1.x"] {
            let (cursor, _, headers) = take("/e", &[("last-event-id", bad)]);
            assert_eq!(cursor, Cursor::Malformed);
            assert!(headers.is_empty());
        }
        let twice: &[(&str, &[u8])] = &[("last-event-id", b"1"), ("last-event-id", b"1")];
        assert_eq!(take("/e", twice).0, Cursor::Malformed);
        assert_eq!(
            take("/e?lastEventId=1&lastEventId=1", &[]).0,
            Cursor::Malformed
        );
    }
}
