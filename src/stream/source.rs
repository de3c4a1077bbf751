//! How a stream asks its upstream again.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an upstream's answer.
pub type UpstreamBody = UnsyncBoxBody<Bytes, BoxError>;

/// An upstream's answer on its way.
pub type Opening = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

/// Repeats the request that made a stream.
///
/// Only streams whose request is safe to repeat (GET) have one. The trait is
/// here, below the middleware that implements it, because a pump must be able
/// to call the service again without knowing what a service is.
pub trait Source: Send + Sync + 'static {
    /// Sends the request, with `Last-Event-ID` if there is one.
    fn open(&self, last_event_id: Option<Bytes>) -> Opening;

    /// From now on, sends it with these headers in place of those it was made
    /// with: whoever made it came back with other credentials.
    fn renew(&self, headers: &HeaderMap) {
        let _ = headers;
    }
}

/// What an upstream answered, as far as a stream is concerned.
pub enum Answer {
    /// 200 with an event stream.
    Stream {
        /// What it sends.
        body: UpstreamBody,
        /// Whether it says itself that it does not go on from the id it was given,
        /// as a proxy of this kind does.
        gap: bool,
    },
    /// Anything else.
    Refused(Refusal),
}

/// An answer that is not an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`, if readable.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream { .. } => f.write_str("Stream"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}
