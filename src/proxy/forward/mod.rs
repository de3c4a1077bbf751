//! Requests to an upstream, responses from it, bytes untouched.
//!
//! [`Forward`] chooses a server, connects, rewrites the head and streams both
//! bodies. If a server cannot be *connected to*, the next one is tried,
//! whatever the method, for nothing was sent yet. Once a byte of the request
//! may have gone out it is never sent again, to nobody: whether to ask anew is
//! for the caller to decide, who knows what the request means.
//!
//! It speaks HTTP/1.1 to upstreams, over TLS too ([`Dial`] says why), or HTTP/2
//! where an upstream asks for it (`multiplex`).
//! `Upgrade` is forwarded where the router says so (`Upgrading`).

mod body;
mod chunks;
mod dial;
mod direct;
mod error;
mod gate;
mod head;
mod headers;
mod lent;
mod multiplex;
mod names;
mod socket;
mod trust;
mod tunnel;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

pub use self::body::ForwardBody;
pub use self::dial::{Dial, DialTimeout};
use self::direct::{Answer, Failure};
pub use self::error::{Cause, ForwardError};
use self::head::{Head, for_http2, for_socket};
pub use self::headers::Peer;
pub(crate) use self::headers::{FORWARDING, host, keep_known_options, strip_named, tell_of_client};
use self::lent::Lent;
use self::multiplex::{Multiplex, Way};
pub use self::trust::TrustError;
pub(crate) use self::trust::{client_tls, fingerprint};
pub(crate) use self::tunnel::{Tunnel, Upgrading};
use super::balance::{Affinity, Balance, Lease, NoServer, Server};
use super::config::model;
use super::metrics::UpstreamMetrics;
use crate::resume::{is_encoded, is_event_stream};

type BoxError = Box<dyn Error + Send + Sync>;

/// How often a server is asked that did nothing with a request, on another
/// connection each time if it closed the one before.
const TRIES: usize = 3;

/// Bounds a response head, and what one connection may buffer.
const MAX_BUFFER: usize = 64 * 1024;

/// A [`Service`] that sends every request to one upstream. Clones share its
/// connections.
pub struct Forward<B> {
    upstream: Arc<Upstream<B>>,
}

struct Upstream<B> {
    name: Arc<str>,
    balance: Arc<Balance>,
    settings: model::Upstream,
    dial: Dial,
    client: Client<Dial, Lent<B>>,
    /// In the order of the servers; none if only HTTP/1.1 is spoken.
    multiplexes: Vec<Multiplex<Lent<B>>>,
    metrics: UpstreamMetrics,
}

impl<B> Forward<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// A service for the upstream called `name`, whose connections are made by
    /// `dial`.
    pub fn new(
        name: &str,
        settings: &model::Upstream,
        balance: Arc<Balance>,
        dial: Dial,
        metrics: UpstreamMetrics,
    ) -> Self {
        let pool = settings.pool;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(pool.idle)
            .pool_max_idle_per_host(pool.max_idle.unwrap_or(usize::MAX))
            .http1_max_buf_size(MAX_BUFFER)
            .set_host(false)
            .build(dial.for_http1());
        let multiplexes = match settings.protocol {
            model::Protocol::Http1 => Vec::new(),
            _ => balance
                .servers()
                .iter()
                .map(|_| Multiplex::new(pool))
                .collect(),
        };
        Self {
            upstream: Arc::new(Upstream {
                name: name.into(),
                balance,
                settings: settings.clone(),
                dial,
                client,
                multiplexes,
                metrics,
            }),
        }
    }
}

impl<B> Service<Request<B>> for Forward<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ForwardBody>;
    type Error = ForwardError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ForwardError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let upstream = Arc::clone(&self.upstream);
        Box::pin(async move { upstream.forward(request).await })
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    async fn forward(&self, request: Request<B>) -> Result<Response<ForwardBody>, ForwardError> {
        let (parts, body) = request.into_parts();
        let head = Head::new(parts);
        let body = Lent::new(body);
        let sticky = self.settings.sticky.as_ref();
        let affinity = sticky.and_then(|s| Affinity::of(s, &head.headers, head.peer));
        let mut tried: Vec<Arc<Server>> = Vec::new();
        let mut last = None;
        loop {
            let lease = match self.balance.pick(Instant::now(), &tried, affinity.as_ref()) {
                Ok(lease) => lease,
                Err(reason) => return Err(last.unwrap_or_else(|| self.no_server(reason))),
            };
            if last.is_some() {
                self.metrics.retries.inc();
            }
            let server = Arc::clone(lease.server());
            let error = match self.attempt(&head, &body, lease).await {
                Ok(response) => {
                    self.note(&server, !is_down(response.status()));
                    return Ok(response);
                }
                Err(cause) => ForwardError::new(&self.name, Some(server.authority()), cause),
            };
            if error.is_failure() {
                self.note(&server, false);
            }
            if !error.is_unsent() {
                return Err(error);
            }
            tracing::debug!(error = &error as &dyn Error, "trying the next server");
            server.suspect(Instant::now());
            tried.push(server);
            last = Some(error);
        }
    }

    fn no_server(&self, reason: NoServer) -> ForwardError {
        let cause = match reason {
            NoServer::Down => Cause::NoHealthyServer,
            NoServer::Full => {
                self.metrics.full.inc();
                Cause::Full
            }
        };
        ForwardError::new(&self.name, None, cause)
    }

    /// Records how a server did.
    fn note(&self, server: &Arc<Server>, well: bool) {
        if well {
            self.balance.succeeded(server);
        } else if self.balance.failed(server, Instant::now()) {
            let (upstream, server) = (&self.name, server.authority());
            tracing::warn!(%upstream, %server, "server is ejected for failures in a row");
        }
    }

    async fn attempt(
        &self,
        head: &Head,
        body: &Lent<B>,
        lease: Lease,
    ) -> Result<Response<ForwardBody>, Cause> {
        let response = self.response(head, body, lease.server());
        let response = match self.settings.response_timeout {
            Some(limit) => within(limit, body, response).await?,
            None => response.await,
        };
        let (mut parts, answer) = response?.into_parts();
        let tunnel = parts.extensions.remove::<Tunnel>();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS && tunnel.is_none() {
            let text = "it switched protocols, which nobody had asked it to";
            return Err(Cause::Malformed(text.into()));
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        let moves = head.reopenable
            && self.settings.move_streams.is_some()
            && is_event_stream(parts.status, &parts.headers)
            // Such a one is passed on as it is, and not asked for again.
            && !is_encoded(&parts.headers);
        let guest = moves.then(|| self.balance.welcome(lease.server()));
        let body = ForwardBody::new(answer, &self.name, lease, guest);
        let mut response = Response::new(body);
        // The extensions stay behind: a stream may last for days, and nobody
        // asks it for the details of its connection.
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        if let Some(tunnel) = tunnel {
            response.extensions_mut().insert(tunnel);
        }
        Ok(response)
    }

    async fn response(
        &self,
        head: &Head,
        body: &Lent<B>,
        server: &Arc<Server>,
    ) -> Result<Response<Answer>, Cause> {
        if head.upgrading.is_some() {
            let (server, request) = for_socket(head.for_server(server, body.lend())?);
            let answer = tunnel::ask(self.dial.for_http1(), server, request).await;
            return answer.map_err(|failure| self.failed(failure));
        }
        if let Some(multiplex) = self.multiplex(server) {
            // Boxed: all others need not have room for it.
            return Box::pin(self.share(multiplex, head, body, server)).await;
        }
        let request = head.for_server(server, body.lend())?;
        if head.may_last(body) {
            let (server, request) = for_socket(request);
            let answer = direct::ask(self.dial.for_http1(), server, request).await;
            return answer.map_err(|failure| self.failed(failure));
        }
        let response = self.client.request(request).await;
        let response = response.map_err(|error| self.cause(error))?;
        Ok(response.map(Answer::Other))
    }

    /// Where HTTP/2 is spoken to a server, if it is.
    fn multiplex(&self, server: &Arc<Server>) -> Option<&Multiplex<Lent<B>>> {
        if self.multiplexes.is_empty() {
            return None;
        }
        let https = *server.scheme() == Scheme::HTTPS;
        let servers = self.balance.servers();
        let at = servers
            .iter()
            .position(|known| Arc::ptr_eq(known, server))?;
        let multiplex = self.multiplexes.get(at)?;
        let spoken = self.dial.knows_http2() || (https && !multiplex.is_http1());
        spoken.then_some(multiplex)
    }

    /// Asks on a connection with others.
    async fn share(
        &self,
        multiplex: &Multiplex<Lent<B>>,
        head: &Head,
        body: &Lent<B>,
        server: &Server,
    ) -> Result<Response<Answer>, Cause> {
        let mut tries = 1;
        loop {
            let request = head.for_server(server, body.lend())?;
            let way = multiplex
                .way(self.dial.clone(), request.uri().clone())
                .await;
            let answer = match way {
                Ok(Way::Shared(sender, slot)) => multiplex::ask(sender, for_http2(request)?)
                    .await
                    .map(|response| response.map(|body| Answer::Shared { body, _slot: slot })),
                // Taken apart from hyper at the answer's head, it could not send
                // what is left of a body.
                Ok(Way::Http1(_)) if !head.may_last(body) => {
                    let response = self.client.request(request).await;
                    let response = response.map_err(|error| self.cause(error))?;
                    return Ok(response.map(Answer::Other));
                }
                Ok(Way::Http1(socket)) => direct::ask_on(*socket, for_socket(request).1).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                // What was read of the body is gone.
                Err(Failure::Unprocessed(error)) if body.frames() > 0 => {
                    return Err(Cause::Broken(error.into()));
                }
                Err(Failure::Unprocessed(_)) if tries < TRIES => tries += 1,
                Err(failure) => return Err(self.failed(failure)),
            }
        }
    }

    fn failed(&self, failure: Failure) -> Cause {
        match failure {
            _ if failure.is_timeout() => Cause::ConnectTimeout(self.settings.connect_timeout),
            Failure::Connect(error) => Cause::Connect(error),
            Failure::Unprocessed(error) => Cause::Unprocessed(error.into()),
            Failure::Malformed(error) => Cause::Malformed(error),
            Failure::Broken(error) if error.is_parse() => Cause::Malformed(error.into()),
            Failure::Broken(error) if error.is_user() => Cause::RequestBody(error.into()),
            Failure::Broken(error) => Cause::Broken(error.into()),
        }
    }

    fn cause(&self, error: ClientError) -> Cause {
        if error.is_connect() {
            return if find::<DialTimeout>(&error).is_some() {
                Cause::ConnectTimeout(self.settings.connect_timeout)
            } else {
                Cause::Connect(error.into())
            };
        }
        match find::<hyper::Error>(&error) {
            Some(hyper) if hyper.is_parse() => Cause::Malformed(error.into()),
            Some(hyper) if hyper.is_user() => Cause::RequestBody(error.into()),
            _ => Cause::Broken(error.into()),
        }
    }
}

/// Answers that mean that a server is away, not that it refuses.
fn is_down(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Waits for a response head, at most `limit` after the request body last
/// moved: a long upload is no reason to give up on the answer to it.
async fn within<B, F: Future>(
    limit: Duration,
    body: &Lent<B>,
    response: F,
) -> Result<F::Output, Cause> {
    let mut response = std::pin::pin!(response);
    loop {
        let frames = body.frames();
        if let Ok(response) = tokio::time::timeout(limit, response.as_mut()).await {
            return Ok(response);
        }
        if body.frames() == frames {
            return Err(Cause::HeadTimeout(limit));
        }
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl<B> Clone for Forward<B> {
    fn clone(&self) -> Self {
        Self {
            upstream: Arc::clone(&self.upstream),
        }
    }
}

impl<B> fmt::Debug for Forward<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("upstream", &self.upstream.name)
            .field("balance", &self.upstream.balance)
            .finish_non_exhaustive()
    }
}
