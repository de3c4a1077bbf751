//! Event streams over HTTP/1.1, written by us instead of hyper.
//!
//! hyper reads every request and writes every answer, but for the one kind that
//! lasts: an event stream is taken out of its hands, socket and all, and the
//! connection goes back to it when the stream is over. hyper keeps a read and
//! a write buffer of 8 KiB each for as long as a response lasts. What goes to
//! a client of ours lies ready in its stream's log, and the client, until then,
//! has nothing to say: with no buffer at all, an idle one costs a fraction.
//!
//! ```text
//! hyper ── request ──▶ service ── event stream ──▶ Handover ──▶ EventStream ─┐
//!   ▲                     └────── anything else ──▶ hyper                    │
//!   └───────────────── the socket, and what the client sent ─────────────────┘
//! ```

mod head;
mod outgoing;
mod rewind;
mod service;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;

pub(crate) use self::rewind::Rewind;
pub(crate) use self::service::HandingOver;
pub(crate) use self::stream::EventStream;
pub(crate) use self::tunnel::Joined;
use super::forward::Tunnel;
use crate::resume::is_event_stream;

/// What a request said that decides about its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The client wants no second request on its connection.
    close: bool,
}

/// An event stream that hyper is not given.
#[derive(Debug)]
pub(crate) struct Taken<B> {
    response: Response<B>,
    asked: Asked,
}

impl<B> Taken<B> {
    /// What it is, if it is no event stream but a tunnel.
    pub(crate) fn joined(self) -> Result<Joined<B>, Self> {
        let tunnel = self.response.extensions().get::<Tunnel>().cloned();
        match tunnel.and_then(|tunnel| Some((tunnel.take()?, tunnel))) {
            Some((upstream, tunnel)) => Ok(Joined::new(self, upstream, tunnel)),
            None => Err(self),
        }
    }
}

/// Where the service of a connection leaves an event stream for whoever drives
/// the connection.
pub(crate) struct Handover<B>(Arc<Place<B>>);

struct Place<B> {
    stream: Mutex<Option<Taken<B>>>,
    /// hyper waits to write: it still holds an earlier answer's bytes.
    blocked: AtomicBool,
}

// === impl Asked ===

impl Asked {
    /// `None` if the answer must be left to hyper: to a client that cannot take
    /// chunks, or one that has more to send.
    pub(crate) fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        let complete = request.method() == Method::GET && request.body().is_end_stream();
        (complete && request.version() == Version::HTTP_11).then(|| Self {
            close: says_close(request.headers()),
        })
    }

    /// Whether the answer is one to take.
    pub(crate) fn takes<B: Body>(response: &Response<B>) -> bool {
        is_event_stream(response.status(), response.headers())
            && !response.headers().contains_key(CONTENT_LENGTH)
            && !response.body().is_end_stream()
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).into_iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

// === impl Handover ===

impl<B> Handover<B> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Place {
            stream: Mutex::new(None),
            blocked: AtomicBool::new(false),
        }))
    }

    /// Leaves a stream, which whoever drives the connection finds after the
    /// poll that this is called in.
    pub(crate) fn leave(&self, response: Response<B>, asked: Asked) {
        *self.stream() = Some(Taken { response, asked });
    }

    /// The stream, if there is one, and hyper has nothing left to write.
    pub(crate) fn take(&self) -> Option<Taken<B>> {
        if self.0.blocked.load(Ordering::Relaxed) {
            return None;
        }
        self.stream().take()
    }

    /// Notes how a write of hyper's went.
    fn writes(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    fn stream(&self) -> MutexGuard<'_, Option<Taken<B>>> {
        let stream = self.0.stream.lock();
        stream.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for Handover<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Handover<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}
