//! The reverse proxy.
//!
//! It is a tower stack and nothing else: hyper reads requests, the layers
//! below each do one thing to them, and at the bottom [`forward::Forward`]
//! sends them on. The engine that makes event streams resumable is the same
//! [`SseLayer`](crate::SseLayer) an application would use.
//!
//! ```text
//! server ─ Recording ─ Trace ─ CrossOrigin ─ CatchPanic ─ Admitting ─ Rescue ─ Entrance ─ Router
//!     ─┬─ Access ─ SseLayer ─ Target ─ Forward ─ upstream
//!      └─ Access ─ SseLayer ─ Target ─ Forward ─ upstream
//! ```
//!
//! [`Server`] is the way in: [`Server::bind`], then [`Server::run`]. The binary
//! adds [`arguments`] before it and [`process`] around it.

mod access;
mod access_log;
mod acme;
mod activity;
pub mod admin;
mod admission;
pub mod arguments;
mod arrival;
mod assembly;
pub mod balance;
pub mod check;
mod compress;
pub mod config;
mod connection;
pub mod demo;
mod entrance;
pub mod forward;
mod greeting;
mod handover;
pub mod health;
pub mod inherited;
pub mod io;
mod journal;
mod kept;
mod listener;
pub mod logging;
pub mod manual;
pub mod metrics;
mod phase;
mod preface;
pub mod process;
mod reading;
mod reload;
pub mod rescue;
mod retirement;
mod router;
pub mod schema;
pub mod server;
mod serving;
mod supervisor;
pub mod tail;
mod target;
pub mod tls;
mod trace;
#[cfg(feature = "otel")]
pub mod traces;
mod upgrade;
mod workers;

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceBuilder;
use tower::layer::layer_fn;
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;

use self::access::CrossOrigin;
use self::access_log::{Recording, Register};
use self::admission::{Admission, Admitting};
use self::assembly::Assembly;
pub use self::config::{Config, ConfigError};
use self::entrance::{Entrance, Rules};
pub use self::listener::BindError;
use self::metrics::Metrics;
use self::rescue::Rescue;
use self::router::Router;
pub use self::server::{Control, Server};
pub use self::serving::ReloadError;
use self::trace::Trace;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
    rules: Arc<ArcSwap<Rules>>,
    metrics: Arc<Metrics>,
    admission: Arc<ArcSwap<Admission>>,
    register: Arc<Register>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    let router_of_origins = router.clone();
    ServiceBuilder::new()
        .layer(layer_fn(move |inner| {
            Recording::new(inner, Arc::clone(&register))
        }))
        .layer(layer_fn(move |inner| {
            Trace::new(inner, Arc::clone(&metrics))
        }))
        // Pages of other origins may read whatever comes from here on in.
        .layer(layer_fn(move |inner| {
            CrossOrigin::new(inner, router_of_origins.clone())
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
        // Before all routes: what belongs to none of them.
        .service(Entrance::new(router, rules))
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
