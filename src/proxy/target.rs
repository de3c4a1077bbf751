//! Where a route leads, which a reload of the configuration can change.
//!
//! A stream asks again through the service that opened it, for days perhaps.
//! What it has is a target, and so it follows its route to another upstream.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::forward::{Forward, ForwardBody, ForwardError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A [`Service`] that sends each request to the upstream of its route. Clones
/// lead to the same.
pub(crate) struct Target<B> {
    forward: Arc<ArcSwap<Forward<B>>>,
}

impl<B> Target<B> {
    pub(crate) fn new(forward: Forward<B>) -> Self {
        Self {
            forward: Arc::new(ArcSwap::from_pointee(forward)),
        }
    }

    /// Whether this is a clone of that.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.forward, &other.forward)
    }

    /// Leads there from the next request on.
    pub(crate) fn lead_to(&self, forward: Forward<B>) {
        self.forward.store(Arc::new(forward));
    }
}

impl<B> Service<Request<B>> for Target<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ForwardBody>;
    type Error = ForwardError;
    type Future = <Forward<B> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        // That of an upstream, which always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let forward = self.forward.load();
        Forward::clone(&forward).call(request)
    }
}

impl<B> Clone for Target<B> {
    fn clone(&self) -> Self {
        Self {
            forward: Arc::clone(&self.forward),
        }
    }
}

impl<B> fmt::Debug for Target<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target")
            .field(&*self.forward.load_full())
            .finish()
    }
}
