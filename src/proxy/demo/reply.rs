//! The two kinds of answers the demo's servers give.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

pub(super) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A whole answer.
pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    reply(status, kind, Full::new(body.into()).boxed_unsync())
}

/// An event stream.
pub(super) fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
    let frames = events.map(|event| Ok(Frame::data(event)));
    let body = StreamBody::new(frames).boxed_unsync();
    reply(StatusCode::OK, "text/event-stream", body)
}

fn reply(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Reply {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // The page reads the backend from another origin.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
