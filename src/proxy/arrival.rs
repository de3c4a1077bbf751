//! What a request brings along from its connection, beside who sent it.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::tls::Identity;

/// What the connection means for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It came in clear, and belongs to this port, over TLS.
    Misplaced(u16),
    /// It came from a client that showed who it is.
    Identified(Arc<Identity>),
}

/// One connection's stack: each request is told how it came, if there is
/// anything to tell.
#[derive(Clone, Debug)]
pub(crate) struct Arriving<S> {
    inner: S,
    arrival: Option<Arrival>,
}

impl<S> Arriving<S> {
    pub(crate) fn new(inner: S, arrival: Option<Arrival>) -> Self {
        Self { inner, arrival }
    }
}

impl<S, B> Service<Request<B>> for Arriving<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(arrival) = &self.arrival {
            request.extensions_mut().insert(arrival.clone());
        }
        self.inner.call(request)
    }
}
