//! The thread that is measured: a service, its streams, and the writing of them.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;
use tower_sse::SseLayer;
use tower_sse::observe::{Observer, Signal};
use tower_sse::resume::settings::{BufferSettings, Coding};
use tower_sse::stream::policy::Join;

use super::events::Shape;
use super::table::Sample;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type App = BoxCloneService<Request<Empty<Bytes>>, Response<AnyBody>, Infallible>;

/// Who compresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Shared,
    Encoder,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Shared, Self::Encoder];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Shared => "shared",
            Self::Encoder => "encoder",
        }
    }
}

/// Runs something on this thread.
pub(crate) fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, what)
}

/// Clients of one stream.
pub(crate) struct Crowd {
    way: Way,
    app: App,
    upstream: mpsc::UnboundedSender<Bytes>,
    readers: SocketAddr,
    clients: usize,
    /// Bytes and events published.
    bytes: usize,
    events: u64,
    handed_out: Arc<HandedOut>,
    seen: Rc<Seen>,
    resident: usize,
    begun: Duration,
}

/// Events given to clients, over all of them.
#[derive(Default)]
struct HandedOut(AtomicU64);

impl Observer for HandedOut {
    fn observe(&self, signal: Signal) {
        if let Signal::EventsOut(events) = signal {
            self.0.fetch_add(events, Ordering::Relaxed);
        }
    }
}

/// What the clients' tasks note.
#[derive(Default)]
struct Seen {
    idle: Cell<usize>,
    bytes: Cell<usize>,
    /// When the last delivery arrived.
    arrived: Cell<Option<Instant>>,
    /// From an arrival to a write.
    delays: RefCell<Vec<Duration>>,
    changed: Notify,
}

impl Crowd {
    pub(crate) fn new(way: Way) -> Self {
        let (upstream, chunks) = mpsc::unbounded_channel();
        let handed_out = Arc::new(HandedOut::default());
        Self {
            way,
            app: app(way, chunks, Arc::clone(&handed_out)),
            upstream,
            readers: readers(),
            clients: 0,
            bytes: 0,
            events: 0,
            handed_out,
            seen: Rc::default(),
            resident: resident(),
            begun: Duration::ZERO,
        }
    }

    /// More clients, who get all that was published.
    pub(crate) fn join(&mut self, clients: usize) {
        for _ in 0..clients {
            let (app, seen, readers) = (self.app.clone(), Rc::clone(&self.seen), self.readers);
            let coding = match self.way {
                Way::Plain => "identity",
                Way::Shared | Way::Encoder => "gzip",
            };
            tokio::task::spawn_local(async move {
                let request = Request::get("/")
                    .header("accept", "text/event-stream")
                    .header("accept-encoding", coding)
                    .body(Empty::new())
                    .unwrap();
                let answer = app.oneshot(request).await.unwrap();
                let zipped = answer.headers().contains_key("content-encoding");
                assert_eq!(zipped, coding == "gzip");
                let socket = TcpStream::connect(readers).await.unwrap();
                socket.set_nodelay(true).unwrap();
                seen.serve(answer.into_body(), socket).await;
            });
        }
        self.clients += clients;
    }

    /// Bytes published so far, before they are given ids.
    pub(crate) fn published(&self) -> usize {
        self.bytes
    }

    /// Publishes, and waits until all of it is on its way to everybody.
    pub(crate) async fn deliver(&mut self, shape: Shape, number: usize) {
        let text = shape.delivery(number);
        self.bytes += text.len();
        self.events += shape.events() as u64;
        self.seen.arrived.set(Some(Instant::now()));
        self.upstream.send(text.into()).unwrap();
        self.settled().await;
    }

    /// Waits until everybody has everything.
    pub(crate) async fn settled(&self) {
        let wanted = self.events * self.clients as u64;
        let all = || self.handed_out.0.load(Ordering::Relaxed) == wanted;
        while self.seen.idle.get() < self.clients || !all() {
            self.seen.changed.notified().await;
        }
    }

    /// What came before is not counted.
    pub(crate) fn begin(&mut self) {
        self.seen.bytes.set(0);
        self.seen.delays.borrow_mut().clear();
        self.begun = processor_time();
    }

    /// What there was since, of which there were so many.
    pub(crate) fn sample(&self, count: usize) -> Sample {
        let time = processor_time().saturating_sub(self.begun);
        let mut delays = self.seen.delays.take();
        delays.sort_unstable();
        let at = |percent: usize| {
            let index = delays.len() * percent / 100;
            delays.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e6)
        };
        Sample {
            way: self.way.name(),
            processor: time.as_secs_f64() * 1e6 / count as f64,
            bytes: self.seen.bytes.get() as f64 / count as f64,
            half: at(50),
            most: at(99),
            memory: resident().saturating_sub(self.resident) as f64 / self.clients as f64,
        }
    }
}

impl Seen {
    async fn serve(&self, mut body: AnyBody, mut socket: TcpStream) {
        loop {
            let mut idle = false;
            let frame = poll_fn(|cx| {
                let frame = Pin::new(&mut body).poll_frame(cx);
                if frame.is_pending() && !std::mem::replace(&mut idle, true) {
                    self.idle.set(self.idle.get() + 1);
                    self.changed.notify_one();
                }
                frame
            });
            let frame = frame.await.unwrap().unwrap();
            if idle {
                self.idle.set(self.idle.get() - 1);
            }
            let bytes = frame.into_data().unwrap();
            socket.write_all(&bytes).await.unwrap();
            self.bytes.set(self.bytes.get() + bytes.len());
            if let Some(arrived) = self.arrived.get() {
                self.delays.borrow_mut().push(arrived.elapsed());
            }
        }
    }
}

/// The layer around an upstream with one stream, and what compresses it.
fn app(way: Way, chunks: mpsc::UnboundedReceiver<Bytes>, observer: Arc<HandedOut>) -> App {
    let stream = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), chunks))
    });
    let body = Arc::new(std::sync::Mutex::new(Some(StreamBody::new(Box::pin(
        stream,
    )))));
    let upstream = service_fn(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        let answer = Response::builder()
            .header("content-type", "text/event-stream")
            .body(body);
        std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
    });
    let layer = SseLayer::new()
        .shared()
        .join(Join::Start)
        .observer(observer)
        .buffer(BufferSettings {
            events: Some(1_000_000),
            bytes: Some(64 << 20),
            age: None,
        });
    match way {
        Way::Plain => layer.layer(upstream).map_response(any).boxed_clone(),
        Way::Shared => layer
            .compress(Coding::Gzip)
            .layer(upstream)
            .map_response(any)
            .boxed_clone(),
        Way::Encoder => CompressionLayer::new()
            .gzip(true)
            .compress_when(
                |_: http::StatusCode,
                 _: http::Version,
                 _: &http::HeaderMap,
                 _: &http::Extensions| true,
            )
            .layer(layer.layer(upstream))
            .map_response(any)
            .boxed_clone(),
    }
}

fn any<B>(answer: Response<B>) -> Response<AnyBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// Where another thread reads whatever is sent.
fn readers() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(|| {
        run(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::task::spawn_local(async move {
                    let mut sink = [0; 16 << 10];
                    while socket.readable().await.is_ok() {
                        if let Ok(0) = socket.try_read(&mut sink) {
                            break;
                        }
                    }
                });
            }
        });
    });
    address
}

/// Of this thread, in the kernel's count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap())
}

/// Of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap()
}
