//! Sending a request again that failed before anything of its answer came.
//!
//! Only where the route says that the upstream knows a request by its
//! `Idempotency-Key`: it may have been executed, and only its answer lost.

use std::future::poll_fn;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::sleep;

use super::inner::Inner;
use super::request::RequestBody;
use crate::stream::backoff::Backoff;
use crate::stream::policy::Reconnect;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Larger requests are not sent again.
pub(super) const SENT_AGAIN: usize = 1 << 20;

/// A request, and how often it may be sent once more.
pub(super) struct Retry<S, B> {
    service: S,
    parts: Parts,
    body: RequestBody<B>,
    left: u32,
    backoff: Backoff,
}

impl<S, B> Retry<S, B> {
    /// `None`, if not all of the body is here.
    pub(super) fn new(
        (service, parts, body): (S, Parts, &RequestBody<B>),
        left: u32,
        reconnect: Reconnect,
    ) -> Option<Self> {
        Some(Self {
            service,
            parts,
            body: body.again()?,
            left,
            backoff: Backoff::new(reconnect),
        })
    }
}

impl<S, B> Retry<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    /// Waits a while and sends it once more; `None` if that was often enough.
    pub(super) async fn next(&mut self) -> Option<Result<http::Response<S::ResBody>, S::Error>> {
        let body = self.body.again()?;
        self.left = self.left.checked_sub(1)?;
        sleep(self.backoff.next(fastrand::f64(), None)).await;
        let mut service = self.service.clone();
        if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
            return Some(Err(error));
        }
        let request = Request::from_parts(self.parts.clone(), body);
        Some(service.call(request).await)
    }
}

/// Gives a request a key of its own, if its client has not.
pub(super) fn identify(headers: &mut HeaderMap) -> Result<(), getrandom::Error> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(());
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    if let Ok(key) = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(random)) {
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    Ok(())
}
