//! Connections to upstream servers.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::proxy::metrics::ConnectMetrics;

type BoxError = Box<dyn Error + Send + Sync>;

/// A server that vanished is noticed after 30 s of silence and three probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Connects over TCP, with TLS for `https`, within a time limit.
///
/// TLS verifies the host of the server's URI, whatever `Host` the request
/// carries, and speaks HTTP/1.1 alone. One connection per event stream costs
/// a socket; many on one HTTP/2 connection would cost more: past the server's
/// stream limit (often 100) the next client waits for ever, one stalled reader
/// holds back the others' flow control, one broken connection ends them all,
/// and the pooled client would send its own `:authority` in place of the
/// client's `Host`.
#[derive(Clone)]
pub struct Dial {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
    metrics: ConnectMetrics,
}

/// The server did not accept, or did not finish the TLS handshake, in time.
#[derive(Debug)]
pub struct DialTimeout;

impl Dial {
    pub(crate) fn new(tls: ClientConfig, limit: Duration, metrics: ConnectMetrics) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
        tcp.set_keepalive_retries(Some(PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(KEEPALIVE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self {
            connector,
            limit,
            metrics,
        }
    }
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.connector.call(server);
        let (limit, metrics) = (self.limit, self.metrics.clone());
        Box::pin(async move {
            let start = Instant::now();
            let result = match tokio::time::timeout(limit, connecting).await {
                Ok(result) => result,
                Err(_) => Err(DialTimeout.into()),
            };
            match &result {
                Ok(_) => metrics.connected(start.elapsed()),
                Err(_) => metrics.failed(),
            }
            result
        })
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for DialTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out while connecting")
    }
}

impl Error for DialTimeout {}

/// TLS towards upstreams: with `verify`, trusting the system's authorities;
/// without, trusting none, for upstreams that speak plain HTTP.
///
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's authorities, which
/// is how a private one is trusted.
pub(crate) fn client_tls(verify: bool) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if verify {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let cause = found.errors.first().map(ToString::to_string);
            return Err(io::Error::other(
                cause.unwrap_or_else(|| "none found".into()),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
