//! Which route a request takes: the first that matches.
//!
//! Paths are compared as they came, neither decoded nor normalised, because
//! they are forwarded as they came. Where routes have access control, a path
//! that others could read as one of another route is refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_http::compression::CompressionBody;
use tower_service::Service;

use super::access::{Access, Expiry, Pass, Policy, preflight};
use super::access_log::RouteTaken;
use super::activity::{Busy, Terms};
use super::admission::{ClientBody, RouteGate, Stay, Ticket};
use super::compress;
use super::config::model;
use super::forward::{ForwardBody, ForwardError, Peer, Tunnel, Upgrading, strip_named};
use super::reading::{self, Reading};
use super::rescue::text;
use super::target::Target;
use super::upgrade;
use crate::resume::settings::Coding;
use crate::resume::{RequestBody, SseBody, SseService, is_event_stream};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Answer = Pin<Box<dyn Future<Output = Result<Response<RouteBody>, ForwardError>> + Send>>;

/// What stands behind every route.
pub(crate) type RouteService = SseService<RouteForward>;

/// The same without the engine, for what must not be repeated or resumed.
pub(crate) type RouteForward = Target<RequestBody<ClientBody>>;

/// A [`Service`] that hands each request to its route. Clones share the table,
/// which can be replaced.
#[derive(Clone)]
pub(crate) struct Router {
    routes: Arc<ArcSwap<Vec<Route>>>,
}

/// One route and its stack.
pub(crate) struct Route {
    matcher: Matcher,
    gate: Arc<RouteGate>,
    upgrade: Vec<String>,
    service: RouteService,
    forward: RouteForward,
    access: Option<Arc<Access>>,
    origins: Option<Arc<Policy>>,
    compress: Option<Coding>,
}

/// What is behind a route's access, for one request.
struct Behind {
    gate: Arc<RouteGate>,
    service: RouteService,
    forward: RouteForward,
    wish: Option<Upgrading>,
    busy: Option<Busy>,
    leave: Option<Instant>,
    compress: Option<Coding>,
}

/// What a route matches.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    host: Option<String>,
    path: String,
    methods: Option<Vec<Method>>,
}

pin_project! {
    /// What a route answers, or what was answered in its place.
    pub(crate) struct RouteBody {
        #[pin]
        kind: Kind,
        stay: Option<Box<Stay>>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind {
        Routed { #[pin] body: SseBody<ForwardBody> },
        Tunnel { #[pin] body: ForwardBody },
        Expiring { #[pin] body: SseBody<ForwardBody>, expiry: Expiry },
        // Boxed: it is the rarer, and larger.
        Compressed { body: Pin<Box<CompressionBody<SseBody<ForwardBody>>>> },
        Text { body: Full<Bytes> },
    }
}

/// A request that no route is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A tunnel is not what this proxy is for.
    Connect,
    /// A WebSocket, where the route has none, or in a way that none begins.
    /// (Any other `Upgrade` is an offer, which a server is free to ignore, and
    /// is not forwarded.)
    WebSocket,
    /// HTTP/1.1 without a host, with two, or with one that is none. Were it
    /// forwarded, the backend might see another host than the one routed by.
    Host,
    /// The server behind could take the path for one of another route, whose
    /// access control it would so have passed.
    Path,
}

// === impl Router ===

impl Router {
    pub(crate) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self {
            routes: Arc::new(ArcSwap::from_pointee(routes.into_iter().collect())),
        }
    }

    /// Puts other routes in the place of these, for all clones.
    pub(crate) fn replace(&self, routes: Vec<Route>) {
        self.routes.store(Arc::new(routes));
    }

    fn route<'r>(
        routes: &'r [Route],
        request: &Request<ClientBody>,
    ) -> Result<Option<&'r Route>, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Connect);
        }
        let authority = authority(request.version(), request.uri(), request.headers())?;
        let host = authority.as_ref().map(Authority::host);
        let (method, path) = (request.method(), request.uri().path());
        let matches = |route: &Route| route.matcher.matches(method, host, path);
        let taken = routes.iter().position(matches);
        if !reading::is_plain(path) && routes.iter().any(|route| route.access.is_some()) {
            let read_by = |way: Reading| {
                let read = way.of(path);
                let matches = |route: &Route| route.matcher.matches_as(way, method, host, &read);
                routes.iter().position(matches)
            };
            if Reading::all().any(|way| read_by(way) != taken) {
                return Err(Refusal::Path);
            }
        }
        Ok(taken.and_then(|at| routes.get(at)))
    }

    /// Which pages of other origins may use the route of a request. The route of
    /// a preflight is that of the request it asks about.
    pub(crate) fn origins<B>(&self, request: &Request<B>) -> Option<Arc<Policy>> {
        let routes = self.routes.load();
        if routes.iter().all(|route| route.origins.is_none()) {
            return None;
        }
        let authority = authority(request.version(), request.uri(), request.headers()).ok()?;
        let host = authority.as_ref().map(Authority::host);
        let path = request.uri().path();
        let asked = preflight(request);
        let method = asked.as_ref().unwrap_or(request.method());
        let matches = |route: &&Route| route.matcher.matches(method, host, path);
        routes.iter().find(matches)?.origins.clone()
    }
}

impl Service<Request<ClientBody>> for Router {
    type Response = Response<RouteBody>;
    type Error = ForwardError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let routes = self.routes.load();
        let refused = match Self::route(&routes, &request) {
            Ok(Some(route)) => return route.call(request),
            Ok(None) => text(StatusCode::NOT_FOUND, "no route for this request\n"),
            Err(refusal) => refusal.response(),
        };
        answered(refused)
    }
}

/// An answer of our own.
fn answered(response: Response<Full<Bytes>>) -> Answer {
    Box::pin(std::future::ready(Ok(response.map(RouteBody::from))))
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.routes.load().iter().map(|route| &route.matcher))
            .finish()
    }
}

// === impl Route ===

impl Route {
    pub(crate) fn new(
        route: &model::Route,
        gate: RouteGate,
        service: RouteService,
        forward: RouteForward,
    ) -> Self {
        Self {
            matcher: Matcher {
                host: route.host.clone(),
                path: route.path.clone(),
                methods: route.methods.clone(),
            },
            gate: Arc::new(gate),
            upgrade: route.upgrade.clone(),
            service,
            forward,
            access: None,
            origins: None,
            compress: route.compress,
        }
    }

    fn call(&self, mut request: Request<ClientBody>) -> Answer {
        tracing::Span::current().record("route", self.matcher.path.as_str());
        if let Some(taken) = request.extensions_mut().remove::<RouteTaken>() {
            let peer = request.extensions().get::<Peer>();
            taken.set(&self.matcher.path, peer.map(|peer| peer.client));
        }
        let wish = upgrade::wish(&request, &self.upgrade);
        if wish.is_none() && upgrade::names_websocket(request.headers()) {
            return answered(Refusal::WebSocket.response());
        }
        let terms = request.extensions_mut().remove::<Terms>();
        let busy = terms.as_ref().and_then(Terms::begin);
        strip_named(request.headers_mut());
        if let Err(refusal) = self.gate.knock(&request) {
            return answered(refusal.response());
        }
        let leave = terms.and_then(|terms| terms.leave());
        let leave = leave.filter(|_| request.method() == Method::GET);
        let behind = Behind {
            gate: Arc::clone(&self.gate),
            service: self.service.clone(),
            forward: self.forward.clone(),
            wish,
            busy,
            leave,
            compress: self.compress,
        };
        let access = self.access.clone();
        Box::pin(async move {
            let (request, pass) = match access {
                // Boxed: most routes are open, and need no room for it.
                Some(access) => match Box::pin(let_in(access, request)).await {
                    Ok(let_in) => let_in,
                    Err(refused) => return Ok(refused.map(RouteBody::from)),
                },
                None => (request, Pass::default()),
            };
            behind.call(request, pass).await
        })
    }

    /// With who may use it, and from where.
    pub(crate) fn with_access(
        self,
        access: Option<Arc<Access>>,
        origins: Option<Arc<Policy>>,
    ) -> Self {
        Self {
            access,
            origins,
            ..self
        }
    }
}

/// Lets a request in, or answers it.
async fn let_in<B>(
    access: Arc<Access>,
    request: Request<B>,
) -> Result<(Request<B>, Pass), Response<Full<Bytes>>> {
    let (mut parts, body) = request.into_parts();
    let pass = access.admit(&mut parts).await?;
    Ok((Request::from_parts(parts, body), pass))
}

// === impl Behind ===

impl Behind {
    async fn call(
        mut self,
        request: Request<ClientBody>,
        pass: Pass,
    ) -> Result<Response<RouteBody>, ForwardError> {
        let ticket = match self.gate.admit(&request, self.wish.is_some()) {
            Ok(ticket) => ticket,
            Err(refusal) => return Ok(refusal.response().map(RouteBody::from)),
        };
        if let Some(wish) = self.wish.take() {
            return self.tunnel(request, wish, ticket, pass).await;
        }
        std::future::poll_fn(|cx| self.service.poll_ready(cx)).await?;
        let mut response = match self.compress {
            Some(coding) => compress::call(coding, self.service, request).await?,
            None => self
                .service
                .call(request)
                .await?
                .map(compress::Answer::Plain),
        };
        let is_stream = is_event_stream(response.status(), response.headers());
        let places = match self.gate.settle(ticket, is_stream) {
            Ok(places) => places,
            Err(refusal) => return Ok(refusal.response().map(RouteBody::from)),
        };
        let leave = match response.body() {
            compress::Answer::Plain(body) => self.leave.filter(|_| body.may_end_early()),
            compress::Answer::Compressed(_) => None,
        };
        let stay = Stay::new(places, self.busy, leave);
        let expiry = pass.finish(&mut response);
        // Also if another request asks for the rest of it: its end would mean that
        // it is whole.
        let expiry = expiry.filter(|_| !is_answer(response.body()));
        Ok(response.map(|body| RouteBody::new(Kind::of(body, expiry), stay)))
    }

    /// Asks for another protocol, past the engine.
    async fn tunnel(
        mut self,
        request: Request<ClientBody>,
        wish: Upgrading,
        ticket: Ticket,
        pass: Pass,
    ) -> Result<Response<RouteBody>, ForwardError> {
        let mut request = request.map(|_| RequestBody::empty());
        request.extensions_mut().insert(wish);
        let mut response = self.forward.call(request).await?;
        if is_event_stream(response.status(), response.headers()) {
            // It would be one without limits, and without an end.
            let refused = text(
                StatusCode::BAD_GATEWAY,
                "the request asks for another protocol, and was answered with an event stream\n",
            );
            return Ok(refused.map(RouteBody::from));
        }
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let places = self.gate.settle(ticket, is_tunnel).unwrap_or_default();
        if let Some(tunnel) = response.extensions_mut().get_mut::<Tunnel>() {
            tunnel.until = pass.until();
        }
        pass.finish(&mut response);
        let stay = Stay::new(places, self.busy, None);
        Ok(response.map(|body| RouteBody::new(Kind::Tunnel { body }, stay)))
    }
}

fn is_answer<B>(body: &compress::Answer<SseBody<B>>) -> bool
where
    SseBody<B>: Body,
{
    matches!(body, compress::Answer::Plain(body) if body.is_answer())
}

// === impl Matcher ===

impl Matcher {
    fn matches(&self, method: &Method, host: Option<&str>, path: &str) -> bool {
        self.matches_method(method) && self.matches_host(host) && self.matches_path(path)
    }

    /// The same for somebody who reads paths in this way.
    fn matches_as(&self, way: Reading, method: &Method, host: Option<&str>, path: &[u8]) -> bool {
        self.matches_method(method)
            && self.matches_host(host)
            && is_below(&way.of(&self.path), path)
    }

    fn matches_method(&self, method: &Method) -> bool {
        // HEAD is answered with what GET says of itself, so whoever may not GET
        // must not get past by it.
        let listed = |methods: &Vec<Method>| {
            methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
        };
        self.methods.as_ref().is_none_or(listed)
    }

    fn matches_host(&self, host: Option<&str>) -> bool {
        let Some(pattern) = &self.host else {
            return true;
        };
        // The root dot makes a name absolute, not another one.
        let host = host.unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        match pattern.strip_prefix('*') {
            // `suffix` begins with the dot, and something must come before it.
            Some(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|at| *at > 0)
                .and_then(|at| host.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
            None => host.eq_ignore_ascii_case(pattern),
        }
    }

    fn matches_path(&self, path: &str) -> bool {
        is_below(self.path.as_bytes(), path.as_bytes())
    }
}

fn is_below(prefix: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || prefix.ends_with(b"/"))
}

/// The host a request is for. The target outranks the header, as it does in
/// what is forwarded.
fn authority(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Authority>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Host);
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    match first {
        Some(host) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !authority.as_str().contains('@') => Ok(Some(authority)),
            _ => Err(Refusal::Host),
        },
        None if version < Version::HTTP_11 => Ok(None),
        None => Err(Refusal::Host),
    }
}

impl Refusal {
    fn response(self) -> Response<Full<Bytes>> {
        match self {
            Self::Connect => text(StatusCode::NOT_IMPLEMENTED, "CONNECT is not supported\n"),
            Self::WebSocket => text(
                StatusCode::NOT_IMPLEMENTED,
                "WebSocket is not supported here\n",
            ),
            Self::Host => text(
                StatusCode::BAD_REQUEST,
                "the request must name one valid host\n",
            ),
            Self::Path => text(
                StatusCode::BAD_REQUEST,
                "the path can be read in two ways\n",
            ),
        }
    }
}

// === impl RouteBody ===

impl RouteBody {
    fn new(kind: Kind, stay: Option<Box<Stay>>) -> Self {
        Self { kind, stay }
    }
}

impl Kind {
    fn of(answer: compress::Answer<SseBody<ForwardBody>>, expiry: Option<Expiry>) -> Self {
        match (answer, expiry) {
            (compress::Answer::Plain(body), None) => Self::Routed { body },
            (compress::Answer::Plain(body), Some(expiry)) => Self::Expiring { body, expiry },
            // No event stream, and so nothing that lasts.
            (compress::Answer::Compressed(body), _) => Self::Compressed {
                body: Box::pin(body),
            },
        }
    }

    /// See [`SseBody::end_early`].
    fn end_early(self: Pin<&mut Self>, reason: &'static str) -> bool {
        match self.project() {
            KindProj::Routed { body } | KindProj::Expiring { body, .. } => body.end_early(reason),
            _ => false,
        }
    }
}

impl From<Full<Bytes>> for RouteBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::new(Kind::Text { body }, None)
    }
}

impl Body for RouteBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Some(stay) = this.stay
            && stay.poll_leave(cx).is_ready()
            && !this.kind.as_mut().end_early("connection age")
        {
            return Poll::Ready(None);
        }
        match this.kind.project() {
            KindProj::Routed { body } => body.poll_frame(cx),
            KindProj::Tunnel { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Expiring { body, expiry } => expiry.poll_frame(body, cx),
            KindProj::Compressed { body } => body.as_mut().poll_frame(cx),
            KindProj::Text { body } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Routed { body } | Kind::Expiring { body, .. } => body.is_end_stream(),
            Kind::Tunnel { body } => body.is_end_stream(),
            Kind::Compressed { body } => body.is_end_stream(),
            Kind::Text { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Routed { body } | Kind::Expiring { body, .. } => body.size_hint(),
            Kind::Tunnel { body } => body.size_hint(),
            Kind::Compressed { body } => body.size_hint(),
            Kind::Text { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(host: Option<&str>, path: &str) -> Matcher {
        Matcher {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            methods: None,
        }
    }

    #[test]
    fn a_path_matches_by_segment() {
        let cases = [
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a", "/A", false),
            ("/a", "/b/a", false),
            ("/a/", "/a/b", true),
            ("/a/", "/a", false),
            ("/", "/", true),
            ("/", "/anything", true),
            ("/", "*", false),
        ];
        for (prefix, path, expected) in cases {
            assert_eq!(
                matcher(None, prefix).matches_path(path),
                expected,
                "{prefix} {path}"
            );
        }
    }

    #[test]
    fn a_host_matches_whole_or_by_suffix() {
        let cases = [
            ("a.example", Some("a.example"), true),
            ("a.example", Some("A.Example"), true),
            ("a.example", Some("a.example."), true),
            ("a.example", Some("b.a.example"), false),
            ("a.example", None, false),
            ("*.a.example", Some("b.a.example"), true),
            ("*.a.example", Some("c.b.A.example"), true),
            ("*.a.example", Some("a.example"), false),
            ("*.a.example", Some(".a.example"), false),
            ("*.a.example", Some("ba.example"), false),
            ("*.a.example", None, false),
        ];
        for (pattern, host, expected) in cases {
            assert_eq!(
                matcher(Some(pattern), "/").matches_host(host),
                expected,
                "{pattern} {host:?}"
            );
        }
    }

    #[test]
    fn methods_are_listed_or_free() {
        let mut only_get = matcher(None, "/");
        assert!(only_get.matches_method(&Method::DELETE));
        only_get.methods = Some(vec![Method::GET]);
        assert!(only_get.matches_method(&Method::GET));
        assert!(only_get.matches_method(&Method::HEAD));
        assert!(!only_get.matches_method(&Method::POST));
    }

    #[test]
    fn one_valid_host_and_the_target_outranks_it() {
        let host = |version, uri: &str, hosts: &[&str]| {
            let headers = hosts
                .iter()
                .map(|host| (HOST, host.parse().unwrap()))
                .collect();
            authority(version, &uri.parse().unwrap(), &headers).map(|a| a.map(|a| a.to_string()))
        };
        let http11 = Version::HTTP_11;
        assert_eq!(host(http11, "/", &["a:80"]), Ok(Some("a:80".into())));
        assert_eq!(host(http11, "http://b/", &["a"]), Ok(Some("b".into())));
        assert_eq!(
            host(Version::HTTP_2, "https://b/", &[]),
            Ok(Some("b".into()))
        );
        assert_eq!(host(Version::HTTP_10, "/", &[]), Ok(None));
        assert_eq!(host(http11, "/", &[]), Err(Refusal::Host));
        assert_eq!(host(http11, "/", &["a", "a"]), Err(Refusal::Host));
        assert_eq!(host(http11, "/", &["a b"]), Err(Refusal::Host));
        assert_eq!(host(http11, "/", &["u@a"]), Err(Refusal::Host));
        assert_eq!(host(http11, "/", &[""]), Err(Refusal::Host));
    }
}
