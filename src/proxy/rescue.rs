//! Failures become answers, here and nowhere else.
//!
//! A client is told the kind of failure in a line of text; which server it was
//! and why stays in the log.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::forward::{Cause, ForwardError};

/// A layer that answers a [`ForwardError`] with a status.
#[derive(Clone, Copy, Debug)]
pub struct Rescue;

/// See [`Rescue`].
#[derive(Clone, Debug)]
pub struct RescueService<S> {
    inner: S,
}

pin_project! {
    /// The future of [`RescueService`].
    #[derive(Debug)]
    pub struct RescueFuture<F> {
        #[pin]
        inner: F,
    }
}

/// A short answer of our own.
pub fn text(status: StatusCode, reason: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reason));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The status of a failure, and what the client is told.
fn verdict(error: &ForwardError) -> (StatusCode, &'static str) {
    match error.cause() {
        Cause::NoHealthyServer => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no healthy upstream server\n",
        ),
        Cause::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the upstream has as much to do as it may\n",
        ),
        Cause::Unprocessed(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the upstream refused the request unprocessed\n",
        ),
        Cause::Connect(_) => (StatusCode::BAD_GATEWAY, "cannot connect to the upstream\n"),
        Cause::Broken(_) | Cause::ResponseBody(_) | Cause::Moved => (
            StatusCode::BAD_GATEWAY,
            "the upstream closed the connection without a response\n",
        ),
        Cause::Malformed(_) => (
            StatusCode::BAD_GATEWAY,
            "the upstream sent an invalid response\n",
        ),
        Cause::ConnectTimeout(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            "timed out connecting to the upstream\n",
        ),
        Cause::HeadTimeout(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            "the upstream did not respond in time\n",
        ),
        Cause::RequestBody(_) => (StatusCode::BAD_REQUEST, "the request body broke off\n"),
        Cause::Target(_) => (StatusCode::BAD_REQUEST, "invalid request target\n"),
    }
}

impl<S> Layer<S> for Rescue {
    type Service = RescueService<S>;

    fn layer(&self, inner: S) -> RescueService<S> {
        RescueService { inner }
    }
}

impl<S, Q, B> Service<Q> for RescueService<S>
where
    S: Service<Q, Response = Response<B>, Error = ForwardError>,
    B: From<Full<Bytes>>,
{
    type Response = Response<B>;
    type Error = std::convert::Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Readiness is the router's, which always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        RescueFuture {
            inner: self.inner.call(request),
        }
    }
}

impl<F, B> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<B>, ForwardError>>,
    B: From<Full<Bytes>>,
{
    type Output = Result<Response<B>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx)).unwrap_or_else(|error| {
            let (status, reason) = verdict(&error);
            let status_code = status.as_u16();
            tracing::warn!(status_code, error = &error as &dyn Error, "not forwarded");
            text(status, reason).map(B::from)
        });
        Poll::Ready(Ok(response))
    }
}
