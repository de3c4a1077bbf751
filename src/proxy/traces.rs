//! Traces for OpenTelemetry: a span per request, which for an event stream
//! lasts as long as the stream.
//!
//! Where they go is said by OpenTelemetry's own variables
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`,
//! …); without an endpoint there are none, and `traceparent` goes upstream as
//! it came.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::{Builder, Runtime};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

use super::config::model::Upstream;
use super::forward::Dial;
use super::metrics::Metrics;

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// For one batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a collector may answer.
const LONGEST_ANSWER: usize = 64 << 10;

/// What sends spans away, if anything does.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// The layer that makes traces of spans, if the environment says where they
/// are to go.
pub(super) fn layer<S>() -> io::Result<Option<OpenTelemetryLayer<S, Tracer>>>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    if !ENDPOINTS
        .iter()
        .any(|name| std::env::var_os(name).is_some())
    {
        return Ok(None);
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new()?)
        .build()
        .map_err(io::Error::other)?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("sse-proxy");
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer("sse-proxy");
    // Only the first is ever in use.
    let _ = PROVIDER.set(provider);
    Ok(Some(tracing_opentelemetry::layer().with_tracer(tracer)))
}

/// Makes a request's span part of the trace that its headers name, and the
/// upstream's spans part of this one.
pub(super) fn join(span: &Span, headers: &mut HeaderMap) {
    if PROVIDER.get().is_none() {
        return;
    }
    let propagator = TraceContextPropagator::new();
    // It fails for a span that is filtered out, which has no place in a trace.
    if span
        .set_parent(propagator.extract(&HeaderExtractor(headers)))
        .is_ok()
    {
        propagator.inject_context(&span.context(), &mut HeaderInjector(headers));
    }
}

/// Sends what there is. Waits for it: not for a thread that has others to serve.
pub fn flush() {
    if let Some(Err(error)) = PROVIDER.get().map(SdkTracerProvider::shutdown) {
        tracing::warn!(%error, "traces were not sent");
    }
}

/// Sends batches, on the thread that makes them and on nobody else's.
#[derive(Debug)]
struct Sender {
    runtime: Runtime,
    client: Client<Dial, Full<Bytes>>,
}

impl Sender {
    fn new() -> io::Result<Self> {
        let endpoints = ENDPOINTS.iter().filter_map(|name| std::env::var(name).ok());
        let endpoints = endpoints.filter_map(|endpoint| endpoint.parse().ok());
        let receiver = Upstream::new(endpoints.collect());
        // Counted nowhere: no client's request goes there.
        let dial = Dial::new(&receiver, Metrics::new().connects("otlp"));
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: Client::builder(TokioExecutor::new()).build(dial.map_err(io::Error::other)?),
        })
    }
}

impl HttpClient for Sender {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let send = async {
            let response = self.client.request(request.map(Full::new)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        Box::pin(async move {
            self.runtime
                .block_on(async { tokio::time::timeout(PATIENCE, send).await? })
        })
    }
}
