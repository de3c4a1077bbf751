//! The request body an inner service is given.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The client's body, or none when the layer asks the service again.
    ///
    /// Bodies such as `hyper::body::Incoming` cannot be cloned, so a service
    /// that is to be called twice must be ready for a request without one. Only
    /// GET requests are ever repeated.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        body: Option<B>,
    }
}

impl<B> RequestBody<B> {
    /// The client's own body.
    pub fn original(body: B) -> Self {
        Self { body: Some(body) }
    }

    /// No body.
    pub fn empty() -> Self {
        Self { body: None }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
