//! The reverse proxy.
//!
//! It is a tower stack and nothing else: hyper reads requests, the layers
//! below each do one thing to them, and at the bottom [`forward::Forward`]
//! sends them on. The engine that makes event streams resumable is the same
//! [`SseLayer`] an application would use.
//!
//! ```text
//! server ─ Trace ─ CatchPanic ─ Admitting ─ Rescue ─ Router ─┬─ SseLayer ─ Forward ─ upstream
//!                                                            └─ SseLayer ─ Forward ─ upstream
//! ```
//!
//! [`Server`] is the way in: [`Server::bind`], then [`Server::run`]. The binary
//! adds [`arguments`] before it and [`process`] around it.

mod activity;
pub mod admin;
mod admission;
pub mod arguments;
pub mod balance;
pub mod config;
mod connection;
pub mod demo;
pub mod forward;
mod handover;
pub mod health;
pub mod io;
mod journal;
mod listener;
pub mod logging;
pub mod metrics;
mod phase;
mod preface;
pub mod process;
pub mod rescue;
mod retirement;
mod router;
pub mod server;
pub mod tls;
mod trace;
mod upgrade;
mod workers;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Error as IoError;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceBuilder;
use tower::layer::layer_fn;
use tower_http::catch_panic::CatchPanicLayer;
use tower_layer::Layer;
use tower_service::Service;

use self::admin::Admin;
use self::admission::{Admission, Admitting, ClientBody, RouteGate};
use self::balance::{Balance, Server as Backend};
use self::config::model::Upstream;
pub use self::config::{Config, ConfigError};
use self::forward::{Dial, Forward, client_tls};
use self::health::Check;
pub use self::listener::BindError;
use self::metrics::Metrics;
use self::rescue::Rescue;
use self::router::{Route, Router};
pub use self::server::Server;
use self::trace::Trace;
use crate::journal::JournalError;
use crate::resume::{Engine, RequestBody, SseLayer};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything a configuration turns into, sockets aside.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) router: Router,
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) checks: Vec<Check>,
}

/// Why a configuration cannot be put together.
#[derive(Debug)]
pub(crate) enum AssemblyError {
    /// A route leads to an upstream that is not there.
    UnknownUpstream(String),
    /// A server's URI has no scheme or no authority, or a check no valid path.
    InvalidUpstream(String),
    /// An `https` upstream, and no authority to verify it by.
    Roots(IoError),
    /// The journal cannot be used.
    Journal(JournalError),
}

impl Assembly {
    pub(crate) fn new(config: &Config) -> Result<Self, AssemblyError> {
        let metrics = Arc::new(Metrics::new());
        let journal = journal::open(&config.journal).map_err(AssemblyError::Journal)?;
        let engine = Engine::with_journal(config.limits.buffered_bytes, journal);
        let trusted = config.trusted_proxies.clone();
        let admission = Arc::new(Admission::new(config.limits, trusted, &metrics));
        let mut forwards = BTreeMap::new();
        let mut balances = Vec::new();
        let mut checks = Vec::new();
        for (name, upstream) in &config.upstreams {
            let (balance, dial) = connect(name, upstream, &metrics)?;
            checks.extend(health_checks(name, upstream, &balance, &dial)?);
            balances.push((name.clone(), Arc::clone(&balance)));
            forwards.insert(name.as_str(), forward(name, upstream, balance, dial));
        }

        let services = config.routes.iter().map(|route| {
            let forward = forwards
                .get(route.upstream.as_str())
                .ok_or_else(|| AssemblyError::UnknownUpstream(route.upstream.clone()))?;
            // Resumable streams: one engine for all routes, so that its limits
            // and its drain span them; settings and counters of the route.
            let layer = SseLayer::with_settings(route.sse.clone())
                .engine(engine.clone())
                .name(&name(route))
                .observer(metrics.route(&route.path));
            let gate = RouteGate::new(Arc::clone(&admission), engine.clone(), route);
            let service = layer.layer(forward.clone());
            Ok(Route::new(route, gate, service, forward.clone()))
        });
        let router = Router::new(services.collect::<Result<Vec<_>, _>>()?);

        Ok(Self {
            router,
            admin: Arc::new(Admin::new(Arc::clone(&metrics), balances, engine.clone())),
            engine,
            metrics,
            admission,
            checks,
        })
    }
}

/// What the requests of a connection go to: see [`stack`].
pub(crate) trait Stack<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S, B> Stack<B> for S where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// The stack that every client request goes through, outermost layer first.
pub(crate) fn stack(
    router: Router,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        .layer(layer_fn(move |inner| {
            Trace::new(inner, Arc::clone(&metrics))
        }))
        // A panic is one request's 500, not its connection's end. It also
        // boxes the body, so that a connection's state stays small.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(layer_fn(move |inner| {
            Admitting::new(inner, Arc::clone(&admission))
        }))
        // Failures become answers above the router: it passes on the error of
        // whatever service a route led to.
        .layer(Rescue)
        .service(router)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response<http_body_util::Full<Bytes>> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = text.unwrap_or("unknown"),
        "a request handler panicked"
    );
    rescue::text(http::StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
}

/// What a route is known by after a restart, and to other replicas: what it
/// matches, not where in the file it stands.
fn name(route: &config::model::Route) -> String {
    let methods = route.methods.iter().flatten().map(http::Method::as_str);
    let methods: Vec<_> = methods.collect();
    let host = route.host.as_deref().unwrap_or("*");
    format!("{} {host} {}", methods.join(","), route.path)
}

fn connect(
    name: &str,
    upstream: &Upstream,
    metrics: &Metrics,
) -> Result<(Arc<Balance>, Dial), AssemblyError> {
    let invalid = || AssemblyError::InvalidUpstream(name.to_owned());
    let mut servers = Vec::new();
    for uri in &upstream.servers {
        let label = uri.authority().ok_or_else(invalid)?;
        let up = metrics.server_up(name, label.as_str());
        servers.push(Backend::new(uri, up).ok_or_else(invalid)?);
    }
    let https = upstream
        .servers
        .iter()
        .any(|uri| uri.scheme_str() == Some("https"));
    let tls = client_tls(https).map_err(AssemblyError::Roots)?;
    let dial = Dial::new(tls, upstream.connect_timeout, metrics.connects(name));
    Ok((Arc::new(Balance::new(upstream.balance, servers)), dial))
}

fn forward(
    name: &str,
    upstream: &Upstream,
    balance: Arc<Balance>,
    dial: Dial,
) -> Forward<RequestBody<ClientBody>> {
    Forward::new(
        name,
        balance,
        dial,
        upstream.connect_timeout,
        upstream.response_timeout,
    )
}

fn health_checks(
    name: &str,
    upstream: &Upstream,
    balance: &Balance,
    dial: &Dial,
) -> Result<Vec<Check>, AssemblyError> {
    let Some(settings) = &upstream.health_check else {
        return Ok(Vec::new());
    };
    let check = |server| {
        Check::new(name, server, settings, dial.clone())
            .ok_or_else(|| AssemblyError::InvalidUpstream(name.to_owned()))
    };
    balance.servers().iter().map(check).collect()
}
