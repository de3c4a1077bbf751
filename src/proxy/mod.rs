//! The reverse proxy.
//!
//! It is a tower stack and nothing else: hyper reads requests, the layers
//! below each do one thing to them, and at the bottom [`forward::Forward`]
//! sends them on. The engine that makes event streams resumable is the same
//! [`SseLayer`](crate::SseLayer) an application would use.
//!
//! ```text
//! server ─ Recording ─ Trace ─ CatchPanic ─ Rescue ─ Router
//!                       Router ─┬─ SseLayer ─ Target ─ Forward ─ upstream
//!                               └─ SseLayer ─ Target ─ Forward ─ upstream
//! ```
//!
//! [`Server`] is the way in: [`Server::bind`], then [`Server::run`]. The binary
//! adds [`arguments`] before it and [`process`] around it.

mod access_log;
pub mod admin;
pub mod arguments;
mod assembly;
pub mod balance;
pub mod config;
mod connection;
pub mod demo;
pub mod forward;
mod handover;
pub mod health;
pub mod inherited;
pub mod io;
mod journal;
mod listener;
pub mod logging;
pub mod metrics;
mod phase;
pub mod process;
mod reload;
pub mod rescue;
mod router;
pub mod server;
mod serving;
mod supervisor;
mod target;
pub mod tls;
mod trace;
#[cfg(feature = "otel")]
pub mod traces;
mod workers;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceBuilder;
use tower::layer::layer_fn;
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;

use self::access_log::{Recording, Register};
use self::assembly::Assembly;
pub use self::config::{Config, ConfigError};
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
    metrics: Arc<Metrics>,
    register: Arc<Register>,
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
            Recording::new(inner, Arc::clone(&register))
        }))
        .layer(layer_fn(move |inner| {
            Trace::new(inner, Arc::clone(&metrics))
        }))
        // A panic is one request's 500, not its connection's end. It also
        // boxes the body, so that a connection's state stays small.
        .layer(CatchPanicLayer::custom(panicked))
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
