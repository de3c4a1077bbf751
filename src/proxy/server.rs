//! The running proxy: it accepts, serves, and ends in order.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use super::admin::Admin;
use super::config::model::{Config, Drain, Limits};
use super::connection::Protocol;
use super::listener::{BindError, Listener};
use super::metrics::Metrics;
use super::phase::{Phase, PhaseWatch, Phases};
use super::workers::Workers;
use super::{Assembly, Stack, stack};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Enough for operators and scrapers; more would be somebody else.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the streams' own end may outlast the deadline.
const GRACE: Duration = Duration::from_secs(1);

/// A proxy whose sockets are bound and which serves nobody yet.
///
/// ```no_run
/// # use tower_sse::proxy::{BindError, Server, config::model::Config};
/// # async fn example(config: Config) -> Result<(), BindError> {
/// let server = Server::bind(config).await?;
/// println!("listening on {:?}", server.listeners());
/// server.run(async { drop(tokio::signal::ctrl_c().await) }).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    admin: Option<Listener>,
    assembly: Assembly,
    drain: Drain,
    limits: Limits,
    handover: bool,
    workers: Workers,
}

/// What the accept loops share.
#[derive(Clone)]
struct Gate {
    protocol: Arc<Protocol>,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    phase: PhaseWatch,
    workers: Arc<Workers>,
}

impl Server {
    /// Puts the stack together and binds every socket, the admin's too.
    #[expect(
        clippy::unused_async,
        reason = "sockets belong to a runtime, which this demands"
    )]
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let assembly = Assembly::new(&config)?;
        let listeners = config.listeners.iter().map(Listener::bind);
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            addresses: listeners.iter().map(Listener::address).collect(),
            listeners,
            admin: config.admin.map(Listener::bind_plain).transpose()?,
            assembly,
            drain: config.drain,
            limits: config.limits,
            handover: true,
            workers: Workers::start(1).map_err(BindError::workers)?,
        })
    }

    /// Leaves event streams over HTTP/1.1 to hyper. Clients see no difference,
    /// and the tests of this crate make sure of it; there is no other use.
    #[doc(hidden)]
    #[must_use]
    pub fn without_handover(mut self) -> Self {
        self.handover = false;
        self
    }

    /// Serves connections on so many threads of its own, in place of the runtime
    /// it is run in. 1, the default, or 0 means that runtime.
    pub fn workers(mut self, count: usize) -> Result<Self, BindError> {
        self.workers = Workers::start(count.max(1)).map_err(BindError::workers)?;
        Ok(self)
    }

    /// Where clients connect, in the order of the configuration, with the
    /// ports that were taken.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where operators connect.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Listener::address)
    }

    /// Serves until `shutdown`, then drains and returns.
    ///
    /// If the future is dropped, connections are cut.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let stop = CancellationToken::new();
        let _stop_when_done = stop.clone().drop_guard();
        for check in self.assembly.checks {
            tokio::spawn(check.run(stop.clone()));
        }
        if let Some(listener) = self.admin {
            let admin = Arc::clone(&self.assembly.admin);
            tokio::spawn(stop.run_until_cancelled_owned(serve_admin(listener, admin)));
        }

        // Until the last of what they serve is done.
        let workers = Arc::new(self.workers);
        let (phases, phase) = Phases::new();
        let metrics = self.assembly.metrics;
        let stack = stack(
            self.assembly.router,
            Arc::clone(&metrics),
            Arc::clone(&self.assembly.admission),
        );
        // Every loop takes its slot before it accepts.
        let slots = self.limits.connections.max(self.listeners.len());
        let gate = Gate {
            protocol: Arc::new(Protocol::new(
                Arc::clone(&self.assembly.admission),
                self.handover,
            )),
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            metrics,
            phase,
            workers: Arc::clone(&workers),
        };
        for listener in self.listeners {
            let accepting = accept(listener, stack.clone(), gate.clone());
            workers.accepting().spawn(unconstrained(accepting));
        }
        drop(gate);

        shutdown.await;

        let Drain { deadline, spread } = self.drain;
        tracing::info!(?spread, ?deadline, "draining");
        // Readiness goes first, so that no balancer sends more clients. Then
        // the connections are told, and only then do streams end: a client
        // whose stream ended on a connection that may live on would come back
        // on it.
        self.assembly.admin.drain();
        phases.announce(Phase::Draining);
        let streams = self.assembly.engine.drain(spread, deadline);
        let (_, all) = tokio::join!(
            tokio::time::timeout(deadline.saturating_add(GRACE), streams),
            tokio::time::timeout(deadline, phases.unwatched()),
        );
        if all.is_err() {
            let left = phases.watched();
            tracing::warn!(connections = left, "the drain deadline cuts connections");
            phases.announce(Phase::Aborted);
            phases.unwatched().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.addresses)
            .field("admin", &self.admin())
            .finish_non_exhaustive()
    }
}

/// Accepts until the drain begins, which closes the socket.
async fn accept<S, B>(listener: Listener, stack: S, mut gate: Gate)
where
    S: Stack<B>,
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let address = listener.address();
    let listener = match listener.adopted() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%address, %error, "cannot accept; restart the proxy");
            return;
        }
    };
    loop {
        // Taken first: above the limit clients wait in the kernel's queue,
        // where they cost nothing, and another replica may be tried.
        let slot = Arc::clone(&gate.slots).acquire_owned();
        let next = async {
            let slot = slot.await;
            (slot, listener.accept().await)
        };
        let Some((slot, (stream, addr))) = gate.phase.while_serving(next).await else {
            return;
        };
        let open = gate.metrics.connections().accepted();
        let (tls, proxied) = (listener.tls().cloned(), listener.proxied().cloned());
        let (protocol, stack, phase) = (
            Arc::clone(&gate.protocol),
            stack.clone(),
            gate.phase.clone(),
        );
        let stream = stream.into_std();
        gate.workers.next().spawn(async move {
            // To be told of a socket's readiness is a matter of one runtime.
            if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                let served = protocol.serve(stream, addr, proxied, tls, stack, phase);
                served.await;
            }
            drop((slot, open));
        });
    }
}

async fn serve_admin(listener: Listener, admin: Arc<Admin>) {
    let slots = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_TIMEOUT);
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let (stream, _) = listener.accept().await;
        let admin = Arc::clone(&admin);
        let service = service_fn(move |request| {
            std::future::ready(Ok::<_, Infallible>(admin.answer(&request)))
        });
        let connection = http1.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ = connection.await;
            drop(slot);
        });
    }
}
