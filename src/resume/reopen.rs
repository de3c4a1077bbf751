//! Calling the inner service again for a stream that lost its upstream.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body_util::BodyExt;

use super::cursor::LAST_EVENT_ID;
use super::head::{compact, is_encoded, is_event_stream, retry_after, tells_of_gap, unpack};
use super::inner::Inner;
use super::request::RequestBody;
use crate::stream::source::{Answer, Opening, Refusal, Source};
use crate::stream::stream::Head;

/// In the extensions of a request: an event stream in answer to it may break off
/// at any time. It is asked for again, and its clients do not notice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reopenable;

/// A request without a body, and the service it goes to.
pub(crate) struct Reopen<S, B> {
    // A service need not be `Sync`; the lock is held for a clone.
    service: Mutex<S>,
    method: Method,
    uri: Uri,
    version: Version,
    // Locked to read them, or to replace them.
    headers: Mutex<Head>,
    extensions: Extensions,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Reopen<S, B> {
    pub(crate) fn new(service: S, parts: &Parts) -> Self {
        Self {
            service: Mutex::new(service),
            method: parts.method.clone(),
            // Parsed again, so that it does not keep the buffer it came in.
            uri: parts.uri.to_string().parse().unwrap_or_default(),
            version: parts.version,
            headers: Mutex::new(repeated(&parts.headers)),
            extensions: parts.extensions.clone(),
            body: PhantomData,
        }
    }

    fn request(&self, last_event_id: Option<Bytes>) -> Request<RequestBody<B>> {
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        *request.headers_mut() = unpack(&headers);
        drop(headers);
        *request.extensions_mut() = self.extensions.clone();
        // An id that no header can hold is not asked with.
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_maybe_shared(id).ok()) {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        request
    }
}

/// The headers of a request that are sent again. The body was sent the first
/// time; what speaks of it must not be sent without it.
fn repeated(headers: &HeaderMap) -> Head {
    let first_only = [LAST_EVENT_ID, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
    compact(headers, |name| !first_only.contains(name))
}

impl<S, B> Source for Reopen<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    fn renew(&self, headers: &HeaderMap) {
        let headers = repeated(headers);
        *self.headers.lock().unwrap_or_else(PoisonError::into_inner) = headers;
    }

    fn open(&self, last_event_id: Option<Bytes>) -> Opening {
        let mut service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let request = self.request(last_event_id);
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            let answer = service.call(request).await.map_err(Into::into)?;
            let (head, body) = answer.into_parts();
            if is_event_stream(head.status, &head.headers) && !is_encoded(&head.headers) {
                return Ok(Answer::Stream {
                    gap: tells_of_gap(&head.headers),
                    body: body.map_err(Into::into).boxed_unsync(),
                });
            }
            Ok(Answer::Refused(Refusal {
                status: head.status.as_u16(),
                retry_after: retry_after(&head.headers),
            }))
        })
    }
}
