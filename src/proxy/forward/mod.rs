//! Requests to an upstream, responses from it, bytes untouched.
//!
//! [`Forward`] chooses a server, connects, rewrites the head and streams both
//! bodies. If a server cannot be *connected to*, the next one is tried,
//! whatever the method, for nothing was sent yet. Once a byte of the request
//! may have gone out it is never sent again, to nobody: whether to ask anew is
//! for the caller to decide, who knows what the request means.
//!
//! It speaks HTTP/1.1 to upstreams, over TLS too ([`Dial`] says why).
//! `Upgrade` is not forwarded; the router refuses WebSocket handshakes before.

mod body;
mod chunks;
mod dial;
mod direct;
mod error;
mod gate;
mod headers;
mod lent;
mod socket;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::uri::{Parts as UriParts, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use memchr::memmem;
use tower_service::Service;

pub use self::body::ForwardBody;
pub(crate) use self::dial::client_tls;
pub use self::dial::{Dial, DialTimeout};
use self::direct::{Answer, Failure};
pub use self::error::{Cause, ForwardError};
pub use self::headers::Peer;
pub(crate) use self::headers::{forwarded, strip_named};
use self::lent::Lent;
use super::balance::{Balance, Lease, Server};

type BoxError = Box<dyn Error + Send + Sync>;

/// An idle connection is dropped before the shortest keep-alive in common use
/// (Node's, 5 s) ends: what is sent on a connection the server is just
/// closing is lost, and may not be sent again.
const POOL_IDLE: Duration = Duration::from_secs(4);

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
    dial: Dial,
    client: Client<Dial, Lent<B>>,
    connect_timeout: Duration,
    response_timeout: Option<Duration>,
}

/// The part of a request that can be sent more than once.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    peer: Option<Peer>,
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
        balance: Arc<Balance>,
        dial: Dial,
        connect_timeout: Duration,
        response_timeout: Option<Duration>,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http1_max_buf_size(MAX_BUFFER)
            .set_host(false)
            .build(dial.clone());
        Self {
            upstream: Arc::new(Upstream {
                name: name.into(),
                balance,
                dial,
                client,
                connect_timeout,
                response_timeout,
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
        let head = Head {
            peer: parts.extensions.get().copied(),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
        };
        let body = Lent::new(body);
        let mut tried: Vec<Arc<Server>> = Vec::new();
        let mut last = ForwardError::new(&self.name, None, Cause::NoHealthyServer);
        while let Some(lease) = self.balance.pick(Instant::now(), &tried) {
            let server = Arc::clone(lease.server());
            match self.attempt(&head, &body, lease).await {
                Ok(response) => return Ok(response),
                Err(cause) => {
                    let unsent = matches!(cause, Cause::Connect(_) | Cause::ConnectTimeout(_));
                    last = ForwardError::new(&self.name, Some(server.authority()), cause);
                    if !unsent {
                        break;
                    }
                    tracing::debug!(error = &last as &dyn Error, "trying the next server");
                    server.suspect(Instant::now());
                    tried.push(server);
                }
            }
        }
        Err(last)
    }

    async fn attempt(
        &self,
        head: &Head,
        body: &Lent<B>,
        lease: Lease,
    ) -> Result<Response<ForwardBody>, Cause> {
        let request = head.for_server(lease.server(), body.lend())?;
        let response = async {
            if head.may_last(body) {
                self.ask(request).await
            } else {
                let response = self.client.request(request).await;
                let response = response.map_err(|error| self.cause(error))?;
                Ok(response.map(Answer::Other))
            }
        };
        let response = match self.response_timeout {
            Some(limit) => within(limit, body, response).await?,
            None => response.await,
        };
        let (mut parts, answer) = response?.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let text = "it switched protocols, which nobody had asked it to";
            return Err(Cause::Malformed(text.into()));
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        let mut response = Response::new(ForwardBody::new(answer, &self.name, lease));
        // The extensions stay behind: a stream may last for days, and nobody
        // asks it for the details of its connection.
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Ok(response)
    }

    /// Asks on a connection of its own.
    async fn ask(&self, request: Request<Lent<B>>) -> Result<Response<Answer>, Cause> {
        let (mut parts, body) = request.into_parts();
        let server = std::mem::take(&mut parts.uri);
        // The target alone, as a server is asked (RFC 9112 §3.2.1).
        parts.uri = match server.path_and_query() {
            Some(path) => Uri::from(path.clone()),
            None => Uri::default(),
        };
        let request = Request::from_parts(parts, body);
        let answer = direct::ask(self.dial.clone(), server, request).await;
        answer.map_err(|failure| match failure {
            _ if failure.is_timeout() => Cause::ConnectTimeout(self.connect_timeout),
            Failure::Connect(error) => Cause::Connect(error),
            Failure::Malformed(error) => Cause::Malformed(error),
            Failure::Broken(error) if error.is_parse() => Cause::Malformed(error.into()),
            Failure::Broken(error) => Cause::Broken(error.into()),
        })
    }

    fn cause(&self, error: ClientError) -> Cause {
        if error.is_connect() {
            return if find::<DialTimeout>(&error).is_some() {
                Cause::ConnectTimeout(self.connect_timeout)
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

impl Head {
    /// Whether an event stream is asked for, as browsers do (WHATWG HTML
    /// §9.2.3). A hint: other requests may be answered with one, too.
    fn may_last<B: Body>(&self, body: &B) -> bool {
        let names =
            |value: &HeaderValue| memmem::find(value.as_bytes(), b"text/event-stream").is_some();
        self.method == Method::GET
            && body.is_end_stream()
            && self.headers.get_all(ACCEPT).iter().any(names)
    }

    fn for_server<B>(&self, server: &Server, body: B) -> Result<Request<B>, Cause> {
        let mut uri = UriParts::default();
        uri.scheme = Some(server.scheme().clone());
        uri.authority = Some(server.authority().clone());
        // Kept as it came: not decoded, normalised or sorted.
        let path = self.uri.path_and_query().cloned();
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));

        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Cause::Target(error.into()))?;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        headers::outbound(
            request.headers_mut(),
            &self.uri,
            self.peer,
            server.authority(),
        );
        Ok(request)
    }
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
