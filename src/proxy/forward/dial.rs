//! Connections to upstream servers.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tower_service::Service;

use super::find;
use super::names::Names;
use super::trust::{TrustError, client_tls};
use crate::proxy::config::model::{Protocol, Upstream};
use crate::proxy::metrics::ConnectMetrics;

type BoxError = Box<dyn Error + Send + Sync>;

/// A server that vanished is noticed after 30 s of silence and three probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// A connection to a server.
pub(super) type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

type Connector = HttpsConnector<HttpConnector<Names>>;

/// Connects over TCP, with TLS for `https`, within a time limit. All addresses
/// of a name are tried.
///
/// TLS verifies the host of the server's URI, whatever `Host` the request
/// carries, unless the upstream says another name.
///
/// HTTP/1.1 is spoken unless the upstream says otherwise. One connection per
/// event stream costs a socket; many on one HTTP/2 connection may cost more:
/// one lost packet holds all of them up, one broken connection ends them all,
/// and each stream keeps hyper's buffers.
#[derive(Clone)]
pub struct Dial {
    connector: Connector,
    http1: Connector,
    protocol: Protocol,
    limit: Duration,
    metrics: ConnectMetrics,
}

/// The server did not accept, or did not finish the TLS handshake, in time.
#[derive(Debug)]
pub struct DialTimeout;

impl Dial {
    /// Connects to the servers of `upstream` as it says, and counts it.
    pub fn new(upstream: &Upstream, metrics: ConnectMetrics) -> Result<Self, TrustError> {
        let tls = client_tls(&upstream.servers, upstream.tls.as_ref())?;
        let mut tcp =
            HttpConnector::new_with_resolver(Names::new(GaiResolver::new(), upstream.resolve));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
        tcp.set_keepalive_retries(Some(PROBES));
        // Each address of a name has its part of the time: the first one, if it
        // is silent, must not use up all of it.
        tcp.set_connect_timeout(Some(upstream.connect_timeout));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(KEEPALIVE));
        let name = upstream
            .tls
            .as_ref()
            .and_then(|tls| tls.server_name.clone());
        let connector = |protocol| connector(tls.clone(), tcp.clone(), name.clone(), protocol);
        Ok(Self {
            connector: connector(upstream.protocol),
            http1: connector(Protocol::Http1),
            protocol: upstream.protocol,
            limit: upstream.connect_timeout,
            metrics,
        })
    }

    /// The same, for HTTP/1.1 alone.
    pub(super) fn for_http1(&self) -> Self {
        Self {
            connector: self.http1.clone(),
            protocol: Protocol::Http1,
            ..self.clone()
        }
    }

    /// How long connecting may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether HTTP/2 is spoken without asking.
    pub(crate) fn knows_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }
}

fn connector(
    tls: ClientConfig,
    tcp: HttpConnector<Names>,
    server_name: Option<String>,
    protocol: Protocol,
) -> Connector {
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    if let Some(name) = server_name {
        builder =
            builder.with_server_name_resolver(move |_: &_| ServerName::try_from(name.clone()));
    }
    match protocol {
        Protocol::Http1 => builder.enable_http1().wrap_connector(tcp),
        Protocol::Http2 => builder.enable_http2().wrap_connector(tcp),
        Protocol::Auto => builder.enable_all_versions().wrap_connector(tcp),
    }
}

impl Service<Uri> for Dial {
    type Response = Socket;
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
                Ok(Err(error)) if is_timeout(&*error) => Err(DialTimeout.into()),
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

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
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
