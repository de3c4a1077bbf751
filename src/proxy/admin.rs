//! What operators and orchestrators ask: is it alive, is it ready, what did
//! it count. On its own listener, never on a client's.

mod servers;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::acme::Acmes;
use super::balance::Balance;
use super::metrics::{self, Metrics};
use super::rescue::text;
use crate::resume::Engine;

/// Answers `/healthz`, `/readyz` and `/metrics`, and what is asked about servers.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    upstreams: ArcSwap<Vec<(String, Arc<Balance>)>>,
    engine: Engine,
    acmes: ArcSwap<Acmes>,
    draining: AtomicBool,
}

impl Admin {
    /// For these metrics and upstreams, and the journal of this engine.
    pub fn new(
        metrics: Arc<Metrics>,
        upstreams: Vec<(String, Arc<Balance>)>,
        engine: Engine,
    ) -> Self {
        Self {
            metrics,
            upstreams: ArcSwap::from_pointee(upstreams),
            engine,
            acmes: ArcSwap::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Asks about these upstreams from now on.
    pub fn lead_to(&self, upstreams: Vec<(String, Arc<Balance>)>) {
        self.upstreams.store(Arc::new(upstreams));
    }

    /// It is not ready until the first of each of these certificates is there.
    pub(crate) fn certify(&self, acmes: Acmes) {
        self.acmes.store(Arc::new(acmes));
    }

    /// From now on `/readyz` says no, so that no new clients are sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer to one request.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if let Some(answer) = servers::answer(&self.upstreams.load(), request) {
            return answer;
        }
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
        for (name, balance) in self.upstreams.load().iter() {
            if !balance.is_available() {
                let _ = writeln!(reasons, "upstream {name}: no healthy server");
            }
        }
        for complaint in self.acmes.load().complaints() {
            let _ = writeln!(reasons, "{complaint}");
        }
        let (status, mut detail) = if reasons.is_empty() {
            (StatusCode::OK, "ready\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, reasons)
        };
        // No reason to send clients away: the others' journal does no better.
        let journal = self.engine.journal_health();
        if !journal.durable {
            let _ = writeln!(detail, "journal: {}", journal.detail);
        }
        let mut response = text(status, "");
        *response.body_mut() = Full::from(detail);
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
