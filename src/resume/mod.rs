//! The middleware.
//!
//! A stand-in: it calls the inner service and changes nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use self::settings::Settings;
use crate::observe::Observer;

pub mod settings;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The registry shared by all routes.
#[derive(Clone, Debug, Default)]
pub struct Engine;

impl Engine {
    /// An engine that retains this much.
    pub fn new(_buffered_bytes: usize) -> Self {
        Self
    }

    /// Ends live streams.
    pub async fn drain(&self, _spread: Duration, _deadline: Duration) {}

    /// Bytes retained.
    pub fn buffered_bytes(&self) -> u64 {
        0
    }
}

/// The layer.
#[derive(Clone, Debug, Default)]
pub struct SseLayer;

impl SseLayer {
    /// With default settings.
    pub fn new() -> Self {
        Self
    }

    /// With these settings.
    pub fn with_settings(_settings: Settings) -> Self {
        Self
    }

    /// With this engine.
    pub fn engine(self, _engine: Engine) -> Self {
        self
    }

    /// With this observer.
    pub fn observer(self, _observer: Arc<dyn Observer>) -> Self {
        self
    }
}

impl<S> Layer<S> for SseLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> SseService<S> {
        SseService { inner }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct SseService<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for SseService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<SseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let future = self.inner.call(request.map(|inner| RequestBody { inner }));
        Box::pin(async move { Ok(future.await?.map(|inner| SseBody { inner })) })
    }
}

pin_project! {
    /// The request body the inner service is given.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The response body.
    #[derive(Debug)]
    pub struct SseBody<R> {
        #[pin]
        inner: R,
    }
}

impl<R> Body for SseBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
