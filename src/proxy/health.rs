//! Active health checks: one task per server, asking again and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::{Parts as UriParts, PathAndQuery};
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::balance::Server;
use super::config::model::HealthCheck;
use super::forward::Dial;

/// One lost answer is an accident, and must not close the only server.
const FAILURES: u32 = 2;

/// The check of one server: GET, healthy on 2xx.
///
/// A server is taken for healthy until it failed twice in a row, and again
/// after the first success.
pub struct Check {
    upstream: Arc<str>,
    server: Arc<Server>,
    uri: Uri,
    interval: Duration,
    client: Client<Dial, Empty<Bytes>>,
}

impl Check {
    /// A check of `server` as `settings` say; `None` if the path is none.
    pub fn new(
        upstream: &str,
        server: &Arc<Server>,
        settings: &HealthCheck,
        dial: Dial,
    ) -> Option<Self> {
        let mut uri = UriParts::default();
        uri.scheme = Some(server.scheme().clone());
        uri.authority = Some(server.authority().clone());
        uri.path_and_query = Some(PathAndQuery::try_from(settings.path.as_str()).ok()?);
        Some(Self {
            upstream: upstream.into(),
            server: Arc::clone(server),
            uri: Uri::from_parts(uri).ok()?,
            interval: settings.interval,
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(settings.interval / 2)
                .pool_max_idle_per_host(1)
                .build(dial),
        })
    }

    /// Checks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.repeat()).await;
    }

    async fn repeat(&self) {
        let mut failures = 0;
        loop {
            match tokio::time::timeout(self.interval, self.ask()).await {
                Ok(Ok(())) => {
                    failures = 0;
                    self.report(true, "");
                }
                Ok(Err(reason)) => {
                    failures += 1;
                    self.failed(failures, &reason);
                }
                Err(_) => {
                    failures += 1;
                    self.failed(failures, "no answer in time");
                }
            }
            // Neither the servers nor several proxies are asked in step.
            tokio::time::sleep(self.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    /// Asks once; the error says why it is not healthy.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static("sse-proxy health check"),
        );
        if let Ok(host) = HeaderValue::from_str(self.server.authority().as_str()) {
            headers.insert(HOST, host);
        }
        let response = self.client.request(request).await;
        let status = response.map_err(|error| causes(&error))?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("answered {status}"))
        }
    }

    fn failed(&self, failures: u32, reason: &str) {
        if failures >= FAILURES {
            self.report(false, reason);
        }
    }

    fn report(&self, healthy: bool, reason: &str) {
        if !self.server.set_healthy(healthy) {
            return;
        }
        let (upstream, server) = (&self.upstream, self.server.authority());
        if healthy {
            tracing::info!(%upstream, %server, "server is healthy again");
        } else {
            tracing::warn!(%upstream, %server, reason, "server fails its health check");
        }
    }
}

/// An error with all that is behind it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("upstream", &self.upstream)
            .field("server", &self.server)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
