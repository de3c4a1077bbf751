//! What operators and orchestrators ask: is it alive, is it ready, what did
//! it count. On its own listener, never on a client's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::balance::Balance;
use super::metrics::{self, Metrics};
use super::rescue::text;

/// Answers `/healthz`, `/readyz` and `/metrics`.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    upstreams: Vec<(String, Arc<Balance>)>,
    draining: AtomicBool,
}

impl Admin {
    /// For these metrics and upstreams.
    pub fn new(metrics: Arc<Metrics>, upstreams: Vec<(String, Arc<Balance>)>) -> Self {
        Self {
            metrics,
            upstreams,
            draining: AtomicBool::new(false),
        }
    }

    /// From now on `/readyz` says no, so that no new clients are sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer to one request.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET is answered here\n",
            );
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => self.exposition(),
            _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n"),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let mut reasons = String::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push_str("draining\n");
        }
        for (name, balance) in &self.upstreams {
            if !balance.is_available() {
                let _ = writeln!(reasons, "upstream {name}: no healthy server");
            }
        }
        if reasons.is_empty() {
            return text(StatusCode::OK, "ready\n");
        }
        let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "");
        *response.body_mut() = Full::from(reasons);
        response
    }

    fn exposition(&self) -> Response<Full<Bytes>> {
        let Ok(exposition) = self.metrics.encode() else {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "cannot encode the metrics\n",
            );
        };
        let mut response = Response::new(Full::from(exposition));
        let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
