//! One span per request, and the count of what was answered.
//!
//! As `tower_http::trace` does it, but for the body: that one enters the span
//! each time a body is polled, which for an event stream is each time an event
//! goes to a client. What a stream has to log carries the span itself.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;
use tracing::instrument::{Instrument as _, Instrumented};
use tracing::{Span, field};

use super::metrics::Metrics;

/// The middleware.
#[derive(Clone, Debug)]
pub(crate) struct Trace<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

pin_project! {
    /// Of one request, until its answer's head.
    pub(crate) struct Traced<F> {
        #[pin]
        inner: Instrumented<F>,
        metrics: Arc<Metrics>,
        begun: Instant,
    }
}

impl<S> Trace<S> {
    pub(crate) fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S, A, B> Service<Request<A>> for Trace<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Traced<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[cfg_attr(not(feature = "otel"), expect(unused_mut, reason = "traces add to it"))]
    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let span = span(&request);
        #[cfg(feature = "otel")]
        super::traces::join(&span, request.headers_mut());
        let future = span.in_scope(|| self.inner.call(request));
        Traced {
            inner: future.instrument(span),
            metrics: Arc::clone(&self.metrics),
            begun: Instant::now(),
        }
    }
}

impl<F, B, E> Future for Traced<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answered = std::task::ready!(this.inner.as_mut().poll(cx));
        if let Ok(response) = &answered {
            let status = response.status();
            let span = this.inner.span();
            span.record("status", status.as_u16());
            tracing::debug!(parent: span, latency = ?this.begun.elapsed(), "responded");
            this.metrics.responded(status);
        }
        Poll::Ready(answered)
    }
}

/// Method, route and status: no target, no headers, nothing that identifies a
/// client or its stream.
fn span<B>(request: &Request<B>) -> Span {
    tracing::info_span!(
        "request",
        method = %request.method(),
        route = field::Empty,
        status = field::Empty,
    )
}
