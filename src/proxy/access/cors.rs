//! Pages of other origins (Fetch §3.2).
//!
//! What tower-http does of it, for the route that a request is for: whatever
//! comes of the request, the answer says who may read it, and nothing of what
//! the upstream says about that.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{
    ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, Method, Request, Response};
use tower::ServiceExt as _;
use tower::util::MapResponse;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Cors, CorsLayer, ResponseFuture};
use tower_layer::Layer as _;
use tower_service::Service;

use super::{AccessMetrics, Reason};
use crate::proxy::config::model::{self, AllowedHeaders, Origins};
use crate::proxy::router::Router;
use crate::resume::settings::{Credential, NameSource, Settings};

/// Beside those that a page may always send, what clients of event streams do:
/// `fetch` with its own headers, the polyfills of `EventSource`, MCP.
const SENT: [HeaderName; 11] = [
    ACCEPT,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("mcp-protocol-version"),
    HeaderName::from_static("mcp-session-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-requested-with"),
];

/// What the proxy says in headers, and MCP's servers.
const READ: [HeaderName; 5] = [
    HeaderName::from_static("sse-resume"),
    HeaderName::from_static("sse-stream"),
    HeaderName::from_static("mcp-session-id"),
    RETRY_AFTER,
    WWW_AUTHENTICATE,
];

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// A layer's service that lets pages of other origins read answers.
#[derive(Clone)]
pub(crate) struct CrossOrigin<S> {
    inner: S,
    router: Router,
}

/// Whose pages may use a route.
pub(crate) struct Policy {
    layer: CorsLayer,
    origins: Origins,
    metrics: Arc<AccessMetrics>,
}

/// The method of the request that a preflight asks about; `None` if the request
/// is none.
pub(crate) fn preflight<B>(request: &Request<B>) -> Option<Method> {
    let headers = request.headers();
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let is_one = request.method() == Method::OPTIONS && headers.contains_key(ORIGIN);
    is_one.then(|| Method::from_bytes(asked.as_bytes()).ok())?
}

// === impl Policy ===

impl Policy {
    /// `None` for a route that leaves it to its upstream.
    pub(crate) fn new(route: &model::Route, metrics: Arc<AccessMetrics>) -> Option<Arc<Self>> {
        let cors = route.access.cors.as_ref()?;
        let origin = match &cors.origins {
            Origins::Any => AllowOrigin::any(),
            Origins::List(origins) => {
                let origins = origins.clone();
                AllowOrigin::predicate(move |origin, _| origins.iter().any(|o| o.matches(origin)))
            }
        };
        let headers = match &cors.headers {
            AllowedHeaders::Any => AllowHeaders::mirror_request(),
            AllowedHeaders::Also(more) => {
                let own = SENT.into_iter().chain(sent_to(&route.sse));
                let own = own.chain(route.access.jwt.iter().filter_map(|jwt| jwt.header.clone()));
                AllowHeaders::list(own.chain(more.iter().cloned()))
            }
        };
        let methods = cors.methods.as_ref().or(route.methods.as_ref());
        let methods = methods.map_or(&METHODS[..], Vec::as_slice);
        let layer = CorsLayer::new()
            .allow_origin(origin)
            .allow_credentials(cors.credentials)
            .allow_methods(AllowMethods::list(methods.iter().cloned()))
            .allow_headers(headers)
            .expose_headers(
                READ.into_iter()
                    .chain(cors.expose.clone())
                    .collect::<Vec<_>>(),
            )
            .max_age(cors.max_age);
        Some(Arc::new(Self {
            layer,
            origins: cors.origins.clone(),
            metrics,
        }))
    }

    fn count<B>(&self, request: &Request<B>) {
        let (Origins::List(listed), Some(origin)) = (&self.origins, request.headers().get(ORIGIN))
        else {
            return;
        };
        if !listed.iter().any(|listed| listed.matches(origin)) {
            self.metrics.refused(Reason::Origin);
        }
    }
}

/// What a route's settings read from requests.
fn sent_to(sse: &Settings) -> impl Iterator<Item = HeaderName> {
    let credentials = sse
        .principal
        .iter()
        .filter_map(|credential| match credential {
            Credential::Header(name) => Some(name.clone()),
            Credential::Cookie(_) | Credential::Claim(_) => None,
        });
    let name = match &sse.key.name {
        Some(NameSource::Header(name)) => Some(name.clone()),
        _ => None,
    };
    credentials
        .chain(sse.key.headers.iter().cloned())
        .chain(name)
}

// === impl CrossOrigin ===

impl<S> CrossOrigin<S> {
    pub(crate) fn new(inner: S, router: Router) -> Self {
        Self { inner, router }
    }
}

type Map<B> = fn(Response<B>) -> Response<B>;

impl<S, A, B> Service<Request<A>> for CrossOrigin<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future =
        Either<S::Future, ResponseFuture<<MapResponse<S, Map<B>> as Service<Request<A>>>::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_preflight = preflight(&request).is_some();
        // tower-http takes every OPTIONS for a preflight.
        let other_options = request.method() == Method::OPTIONS && !is_preflight;
        let policy = self.router.origins(&request).filter(|_| !other_options);
        let Some(policy) = policy else {
            return Either::Left(self.inner.call(request));
        };
        if is_preflight {
            policy.count(&request);
        }
        // The service that was polled ready answers; its clone stays behind.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let unsaid: Map<B> = without_others_word;
        let mut cors: Cors<_> = policy.layer.layer(ready.map_response(unsaid));
        Either::Right(cors.call(request))
    }
}

/// One answer, one policy: of two, browsers take none.
fn without_others_word<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let said = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    let said: Vec<HeaderName> = headers.keys().filter(said).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    response
}

impl<S> fmt::Debug for CrossOrigin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossOrigin").finish_non_exhaustive()
    }
}
