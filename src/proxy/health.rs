//! What looks after an upstream while the proxy runs: health checks, one per
//! server, and whoever moves streams away from a server that is down.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use http::header::{HOST, USER_AGENT};
use http::uri::{Parts as UriParts, PathAndQuery};
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::balance::{Balance, Mover, Server};
use super::config::model::HealthCheck;
use super::forward::Dial;

/// The care for one upstream.
#[derive(Debug, Default)]
pub struct Care {
    /// Of its servers, if they are checked.
    pub checks: Vec<Check>,
    /// One per server. Where there is only one, it shows whether that is up.
    pub movers: Vec<Mover>,
}

/// The check of one server by GET.
///
/// A server is taken for healthy until it was found otherwise.
pub struct Check {
    upstream: Arc<str>,
    balance: Arc<Balance>,
    server: Arc<Server>,
    uri: Uri,
    settings: HealthCheck,
    client: Client<Dial, Empty<Bytes>>,
}

/// What a server's answers come to.
#[derive(Debug, Default)]
struct Tally {
    successes: u32,
    failures: u32,
}

impl Care {
    /// Shows what is known of the servers before anything is done.
    pub fn begin(&self) {
        let now = Instant::now();
        for mover in &self.movers {
            mover.show(now);
        }
    }

    /// Cares until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let checks = join_all(self.checks.iter().map(Check::repeat));
        let movers = join_all(self.movers.iter().map(Mover::run));
        stop.run_until_cancelled(join(checks, movers)).await;
    }
}

impl Check {
    /// A check of `server` as `settings` say; `None` if the path is none.
    pub fn new(
        upstream: &str,
        balance: &Arc<Balance>,
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
            balance: Arc::clone(balance),
            server: Arc::clone(server),
            uri: Uri::from_parts(uri).ok()?,
            settings: settings.clone(),
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(settings.interval / 2)
                .pool_max_idle_per_host(1)
                .http2_only(dial.knows_http2())
                .build(dial),
        })
    }

    /// Checks again and again.
    async fn repeat(&self) {
        let mut tally = Tally::default();
        loop {
            let answer = tokio::time::timeout(self.settings.timeout, self.ask()).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
            if let Some(healthy) = tally.count(answer.is_ok(), &self.settings) {
                self.report(healthy, &answer.err().unwrap_or_default());
            }
            // Neither the servers nor several proxies are asked in step.
            let interval = self.settings.interval.mul_f64(0.9 + 0.2 * fastrand::f64());
            tokio::time::sleep(interval).await;
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
        if self.settings.expect.contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("answered {status}"))
        }
    }

    fn report(&self, healthy: bool, reason: &str) {
        let now = Instant::now();
        if !self.balance.set_healthy(&self.server, healthy, now) {
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

impl Tally {
    /// What is known after one more answer, if anything.
    fn count(&mut self, success: bool, settings: &HealthCheck) -> Option<bool> {
        if success {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            (self.successes >= settings.healthy).then_some(true)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            (self.failures >= settings.unhealthy).then_some(false)
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
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thresholds_count_answers_in_a_row() {
        let settings = HealthCheck {
            healthy: 2,
            unhealthy: 3,
            ..HealthCheck::new("/".into(), Duration::from_secs(1))
        };
        let mut tally = Tally::default();
        let answers = [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, Some(false)),
            (true, None),
            (true, Some(true)),
            (true, Some(true)),
        ];
        for (success, known) in answers {
            assert_eq!(tally.count(success, &settings), known);
        }
    }
}
