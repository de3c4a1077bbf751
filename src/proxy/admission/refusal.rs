//! Why a request is refused, and what it is told.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use prometheus_client::metrics::counter::Counter;

use super::super::metrics::Metrics;
use super::super::rescue::text;

/// What was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    ConnectionsPerAddress,
    StreamsPerAddress,
    StreamsPerPrincipal,
    Rate,
    Headers,
    RequestBody,
    BodyTimeout,
    ProxyProtocol,
}

const REASONS: [Reason; 8] = [
    Reason::ConnectionsPerAddress,
    Reason::StreamsPerAddress,
    Reason::StreamsPerPrincipal,
    Reason::Rate,
    Reason::Headers,
    Reason::RequestBody,
    Reason::BodyTimeout,
    Reason::ProxyProtocol,
];

/// Counts refusals by their reason.
#[derive(Clone, Debug)]
pub(crate) struct Refusals([(Reason, Counter); REASONS.len()]);

/// A request that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) reason: Reason,
    /// Seconds until it is worth asking again.
    pub(super) wait: Option<u64>,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::StreamsPerAddress => "streams_per_address",
            Self::StreamsPerPrincipal => "streams_per_principal",
            Self::Rate => "rate_limit",
            Self::Headers => "headers",
            Self::RequestBody => "request_body",
            Self::BodyTimeout => "body_timeout",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }

    fn verdict(self) -> (StatusCode, &'static str) {
        match self {
            Self::StreamsPerAddress | Self::StreamsPerPrincipal => (
                StatusCode::TOO_MANY_REQUESTS,
                "too many open streams; close one first\n",
            ),
            Self::Rate => (StatusCode::TOO_MANY_REQUESTS, "too many requests\n"),
            Self::Headers => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too many headers\n",
            ),
            Self::RequestBody => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request body is too large\n",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "the request body did not arrive in time\n",
            ),
            // Connections are closed before there is a request to answer.
            Self::ConnectionsPerAddress | Self::ProxyProtocol => {
                (StatusCode::FORBIDDEN, "refused\n")
            }
        }
    }
}

impl Refusals {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self(REASONS.map(|reason| (reason, metrics.refused(reason.as_str()))))
    }

    /// Counts one.
    pub(crate) fn count(&self, reason: Reason) {
        for (counted, counter) in &self.0 {
            if *counted == reason {
                counter.inc();
            }
        }
    }
}

impl Refusal {
    pub(super) fn new(reason: Reason) -> Self {
        Self { reason, wait: None }
    }

    /// To be asked again after `seconds`, and somewhat later: those who were
    /// refused together should not come back together.
    pub(super) fn retried_after(reason: Reason, seconds: u64) -> Self {
        let seconds = seconds.max(1);
        let wait = seconds.saturating_add(fastrand::u64(0..=seconds));
        Self {
            reason,
            wait: Some(wait),
        }
    }

    pub(crate) fn response(self) -> Response<Full<Bytes>> {
        let (status, reason) = self.reason.verdict();
        let mut response = text(status, reason);
        if let Some(wait) = self.wait {
            let wait = HeaderValue::from(wait);
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}
