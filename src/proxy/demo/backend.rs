//! A service of the kind the proxy is for: it sends events without ids, sends
//! no heartbeats, replays nothing, and dies now and then.
//!
//! While it is dead it produces nothing, as a dead process would: its count
//! goes on where it stopped. What its direct readers lose is what it sends
//! before they are back, and, when it answers 503 while it starts, everything
//! from then on: an `EventSource` never tries again after that.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::reply::{self, Reply};

/// How the backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It sends events.
    Serving,
    /// There is no process: connections are reset, then refused.
    Dead,
    /// There is one, but it answers 503.
    Starting,
}

impl State {
    /// The word the page knows it by.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Dead => "dead",
            Self::Starting => "starting",
        }
    }
}

/// The backend's life, repeated. A crash first, after which a direct reader
/// comes back late; then a deploy, with a 503 that spans the moment browsers
/// come back (3 s to 5 s after the loss). It never dies on the beat of its
/// events: whether the last one still went out would be a matter of luck.
const LIFE: [(State, Duration); 5] = [
    (State::Serving, Duration::from_millis(5200)),
    (State::Dead, Duration::from_secs(2)),
    (State::Serving, Duration::from_millis(6200)),
    (State::Dead, Duration::from_millis(1500)),
    (State::Starting, Duration::from_secs(4)),
];

/// Time between events, and from coming up to the first.
const PACE: Duration = Duration::from_millis(500);

/// Events a reader may be behind before it loses some; none ever is here.
const BACKLOG: usize = 16;

/// The backend, not yet running.
#[derive(Debug)]
pub(super) struct Backend {
    listener: TcpListener,
    address: SocketAddr,
    state: watch::Sender<State>,
    events: broadcast::Sender<Bytes>,
}

impl Backend {
    /// Takes a free loopback port. Its state is published on `state`.
    pub(super) async fn bind(state: watch::Sender<State>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (events, _) = broadcast::channel(BACKLOG);
        Ok(Self {
            listener,
            address,
            state,
            events,
        })
    }

    /// Where it listens when it lives.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lives and dies for ever.
    pub(super) async fn run(self) {
        let Self {
            listener,
            address,
            state,
            events,
        } = self;
        let mut listener = Some(listener);
        let mut connections = JoinSet::new();
        let mut counter = Counter::default();
        let service = Service {
            state: state.subscribe(),
            events: events.clone(),
        };
        for (phase, duration) in LIFE.iter().copied().cycle() {
            state.send_replace(phase);
            if phase == State::Dead {
                // Both at once, as when a process is killed.
                listener = None;
                connections.abort_all();
                sleep(duration).await;
                continue;
            }
            let accepting = match listener.take() {
                Some(listener) => listener,
                None => rebind(address).await,
            };
            let accept = accept(&accepting, &mut connections, &service);
            let send = async {
                if phase == State::Serving {
                    counter.run(&events).await;
                }
                pending::<()>().await;
            };
            // Neither ever ends by itself.
            let _ = timeout(duration, async { tokio::join!(accept, send) }).await;
            listener = Some(accepting);
        }
    }
}

/// Takes the port again; whoever else has it meanwhile will let go of it.
async fn rebind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(PACE / 5).await,
        }
    }
}

/// Numbers and prices: what an event holds.
#[derive(Debug)]
struct Counter {
    n: u64,
    price: f64,
}

impl Default for Counter {
    fn default() -> Self {
        Self { n: 0, price: 100.0 }
    }
}

impl Counter {
    /// Sends events for ever. To no reader too: they are lost then.
    async fn run(&mut self, events: &broadcast::Sender<Bytes>) {
        let mut ticks = interval_at(Instant::now() + PACE, PACE);
        loop {
            ticks.tick().await;
            self.n += 1;
            self.price = (self.price + fastrand::f64() - 0.5).max(1.0);
            let event = format!("data: {{\"n\":{},\"price\":{:.2}}}\n\n", self.n, self.price);
            let _ = events.send(Bytes::from(event));
        }
    }
}

// === HTTP ===

/// What connections are answered by.
#[derive(Clone, Debug)]
struct Service {
    state: watch::Receiver<State>,
    events: broadcast::Sender<Bytes>,
}

async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>, service: &Service) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: time is what helps.
            sleep(PACE).await;
            continue;
        };
        // Closing sends a reset, as if the process had been killed.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(stream, service.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, service: Service) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = service.answer(request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

impl Service {
    fn answer(&self, path: &str) -> Reply {
        if path != "/events" {
            return reply::text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "only /events is here\n",
            );
        }
        if *self.state.borrow() != State::Serving {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return reply::text(status, "text/plain", "starting\n");
        }
        reply::events(live(self.events.subscribe()))
    }
}

/// Events from now on.
fn live(events: broadcast::Receiver<Bytes>) -> impl Stream<Item = Bytes> {
    stream::unfold(events, |mut events| async {
        let event = events.recv().await.ok()?;
        Some((event, events))
    })
}
