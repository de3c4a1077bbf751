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
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use super::access_log::Register;
use super::admin::Admin;
use super::config::model::Config;
use super::inherited::Inherited;
use super::listener::{BindError, Listener};
use super::metrics::Metrics;
use super::phase::PhaseWatch;
use super::serving::{ReloadError, Serving, Shared};
use super::workers::Workers;
use super::{Assembly, Stack, stack};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Enough for operators and scrapers; more would be somebody else.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

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
    config: Config,
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    admin: Option<Listener>,
    assembly: Assembly,
    register: Arc<Register>,
    handover: bool,
    workers: Workers,
    control: Control,
    orders: mpsc::Receiver<Order>,
}

/// Changes a server that runs.
#[derive(Clone, Debug)]
pub struct Control {
    orders: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
}

/// What a running server is asked to do, and who wants to know of it.
#[derive(Debug)]
enum Order {
    Reload(Box<Config>, oneshot::Sender<Result<(), ReloadError>>),
    Answer(oneshot::Sender<()>),
}

/// What the accept loops share.
#[derive(Clone)]
struct Gate {
    shared: Shared,
    metrics: Arc<Metrics>,
    workers: Arc<Workers>,
}

impl Server {
    /// Puts the stack together and binds every socket, the admin's too.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::inherit(config, Inherited::default()).await
    }

    /// The same with sockets that are bound already.
    #[expect(
        clippy::unused_async,
        reason = "sockets belong to a runtime, which this demands"
    )]
    pub async fn inherit(config: Config, mut inherited: Inherited) -> Result<Self, BindError> {
        let assembly = Assembly::new(&config)?;
        let listeners = config.listeners.iter().map(|listener| {
            let greeting = assembly.greeting(&assembly.acmes, listener)?;
            Listener::inherit(listener, greeting, &mut inherited)
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        for address in inherited.left() {
            tracing::warn!(
                %address,
                "a socket was passed to the process that no listener has the address of; \
                 it is closed"
            );
        }
        let dropped = assembly.metrics.access_log_dropped().clone();
        let register = Register::open(&config.operations, dropped);
        let (orders, ordered) = mpsc::channel(1);
        Ok(Self {
            addresses: listeners.iter().map(Listener::address).collect(),
            listeners,
            admin: config.admin.map(Listener::bind_plain).transpose()?,
            control: Control {
                orders,
                metrics: Arc::clone(&assembly.metrics),
            },
            orders: ordered,
            register: Arc::new(register.map_err(BindError::access_log)?),
            assembly,
            config,
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

    /// What changes the server while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until `shutdown`, then drains and returns.
    ///
    /// If the future is dropped, connections are cut.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let stop = CancellationToken::new();
        let _stop_when_done = stop.clone().drop_guard();
        if let Some(listener) = self.admin {
            let admin = Arc::clone(&self.assembly.admin);
            tokio::spawn(stop.run_until_cancelled_owned(serve_admin(listener, admin)));
        }

        // Until the last of what they serve is done.
        let workers = Arc::new(self.workers);
        let metrics = Arc::clone(&self.assembly.metrics);
        let stack = stack(
            self.assembly.router.clone(),
            Arc::clone(&self.assembly.rules),
            Arc::clone(&metrics),
            Arc::clone(&self.assembly.admission),
            Arc::clone(&self.register),
        );
        let shared = Shared::new(&self.config, &self.assembly, self.handover);
        let gate = Gate {
            shared: shared.clone(),
            metrics,
            workers: Arc::clone(&workers),
        };
        let open = Box::new(move |listener, phase| {
            let accepting = accept(listener, stack.clone(), gate.clone(), phase);
            let accepting = unconstrained(accepting);
            gate.workers.accepting().spawn(accepting);
        });
        let mut serving = Serving::begin(
            self.config,
            self.assembly,
            self.register,
            self.listeners,
            shared,
            open,
        );

        let mut orders = self.orders;
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                // Whoever asked may have gone; what was done is done.
                Some(order) = orders.recv() => match order {
                    Order::Reload(config, done) => drop(done.send(serving.reload(*config))),
                    Order::Answer(done) => drop(tokio::spawn(answer(Arc::clone(&workers), done))),
                },
            }
        }
        // Who asks from now on is told that it is too late.
        drop(orders);
        serving.drain().await;
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

// === impl Control ===

impl Control {
    /// Puts another configuration in force.
    ///
    /// Requests from now on are answered by it. Connections, streams and their
    /// buffers stay; a stream that loses its upstream seeks it where its route
    /// leads now. An error means that nothing has changed.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (done, answer) = oneshot::channel();
        let order = Order::Reload(Box::new(config), done);
        let sent = self.orders.send(order).await;
        sent.map_err(|_| ReloadError::stopped())?;
        answer.await.unwrap_or_else(|_| Err(ReloadError::stopped()))
    }

    /// Resolves when each of the server's threads has answered; while it drains,
    /// at once.
    pub async fn answered(&self) {
        let (done, answer) = oneshot::channel();
        if self.orders.send(Order::Answer(done)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// What the server counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Has each thread do something.
async fn answer(workers: Arc<Workers>, done: oneshot::Sender<()>) {
    for worker in workers.all() {
        if worker.spawn(async {}).await.is_err() {
            return;
        }
    }
    let _ = done.send(());
}

/// Accepts until the drain begins, which closes the socket.
async fn accept<S, B>(listener: Listener, stack: S, gate: Gate, mut phase: PhaseWatch)
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
        let slot = Arc::clone(&gate.shared.slots).acquire_owned();
        let next = async {
            let slot = slot.await;
            (slot, listener.accept().await)
        };
        let Some((slot, (stream, addr))) = phase.while_serving(next).await else {
            return;
        };
        let open = gate.metrics.connections().accepted();
        let greeting = listener.greeting();
        let protocol = gate.shared.protocol.load_full();
        let (stack, phase) = (stack.clone(), phase.clone());
        let stream = stream.into_std();
        gate.workers.next().spawn(async move {
            // To be told of a socket's readiness is a matter of one runtime.
            if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                protocol.serve(stream, addr, greeting, stack, phase).await;
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
