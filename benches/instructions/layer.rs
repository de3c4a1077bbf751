//! The whole way through the layer, as a server walks it: a service that
//! answers with an event stream, the task that moves its bytes, the body a
//! client is given.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use tower::{Layer, Service, ServiceExt};
use tower_sse::resume::settings::{BufferSettings, Mode};
use tower_sse::resume::{RequestBody, SseBody, SseService};
use tower_sse::stream::policy::Linger;
use tower_sse::{Engine, SseLayer};

use crate::case::{Case, event, event_with_fields};

const RETAINED: usize = 10_000;
const CLIENTS: u16 = 1000;
/// Events that come in one chunk: 16 KiB, what is read from a socket at once.
const BURST: u16 = 80;

pub(crate) const CASES: &[Case] = &[
    Case::new("layer_event", "event", 1200, |n| {
        run(one_by_one(n, SseLayer::new(), vec![event()]));
    }),
    Case::new("layer_event_fields", "event", 1200, |n| {
        // More than are retained, so that each is new when its turn comes again.
        let events = (0..2048).map(event_with_fields).collect();
        run(one_by_one(n, SseLayer::new(), events));
    }),
    Case::new("layer_burst", "event", 20, |n| {
        let burst = event().repeat(BURST.into());
        run(one_by_one(n, SseLayer::new(), vec![burst]));
    })
    .each(BURST),
    Case::new("layer_passthrough", "event", 1000, |n| {
        let layer = SseLayer::new().mode(Mode::Passthrough);
        run(one_by_one(n, layer, vec![event()]));
    }),
    Case::new("layer_fan_out", "delivery", 10, |n| run(fan_out(n))).each(CLIENTS),
    Case::new("layer_resume", "10,000 events", 100, |n| run(resume(n))),
    Case::new("layer_open", "stream", 160, |n| run(open(n))),
    Case::new("layer_no_stream", "request", 200, |n| run(no_stream(n))),
];

/// One thread, and a clock that stands still: how long it takes under valgrind
/// makes no timer fire.
fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(case),
        Err(error) => panic!("{error}"),
    }
}

/// Each event is sent once the client has read the one before.
async fn one_by_one(rounds: u64, layer: SseLayer, events: Vec<String>) {
    let app = App::new("text/event-stream", &layer);
    let events: Vec<_> = events.into_iter().map(Bytes::from).collect();
    let mut client = app.get(None).await;
    for (_, event) in (0..rounds).zip(events.iter().cycle()) {
        app.send(event.clone());
        black_box(client.next().await);
    }
    assert!(client.has_read_all());
}

/// A task for each client, as servers have.
async fn fan_out(rounds: u64) {
    let app = App::new("text/event-stream", &SseLayer::new().shared());
    let event = Bytes::from(event());
    let deliveries = Arc::new(AtomicU64::new(0));
    for _ in 0..CLIENTS {
        let mut client = app.get(None).await;
        let deliveries = Arc::clone(&deliveries);
        tokio::spawn(async move {
            loop {
                black_box(client.next().await);
                deliveries.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 1..=rounds {
        app.send(event.clone());
        while deliveries.load(Ordering::Relaxed) < round * u64::from(CLIENTS) {
            yield_now().await;
        }
    }
}

/// A client comes back with an id from before all that is retained.
async fn resume(rounds: u64) {
    let layer = SseLayer::new().buffer(BufferSettings {
        events: Some(2 * RETAINED),
        ..BufferSettings::default()
    });
    let app = App::new("text/event-stream", &layer);
    let mut first = app.get(None).await;
    app.send(Bytes::from(event()));
    let id = id_of(&first.next().await);
    let mut bytes = 0;
    for _ in 0..RETAINED / usize::from(BURST) {
        app.send(Bytes::from(event().repeat(BURST.into())));
        bytes += first.next().await.len();
    }
    for _ in 0..rounds {
        let mut client = app.get(Some(&id)).await;
        let mut read = 0;
        while read < bytes {
            read += black_box(client.next().await).len();
        }
        assert!(client.has_read_all());
        // For the stream's task to take note of the client.
        yield_now().await;
    }
}

fn id_of(event: &[u8]) -> HeaderValue {
    let mut lines = event.split(|byte| *byte == b'\n');
    let id = lines.find_map(|line| line.strip_prefix(b"id: "));
    let id = id.and_then(|id| HeaderValue::from_bytes(id).ok());
    id.unwrap_or_else(|| panic!("an event without an id"))
}

/// From the request to the first event, and the end of a stream that nobody
/// reads any more.
async fn open(rounds: u64) {
    let engine = Engine::default();
    let layer = SseLayer::new()
        .engine(engine.clone())
        .linger(Linger::For(Duration::ZERO))
        .retain(Duration::ZERO);
    let app = App::new("text/event-stream", &layer);
    let event = Bytes::from(event());
    for _ in 0..rounds {
        let mut client = app.get(None).await;
        app.send(event.clone());
        black_box(client.next().await);
        drop(client);
        while engine.buffered_bytes() > 0 {
            yield_now().await;
        }
    }
}

/// What is no event stream passes through.
async fn no_stream(rounds: u64) {
    let app = App::new("application/json", &SseLayer::new());
    for _ in 0..rounds {
        let answer = app.ask(None).await;
        app.send(Bytes::from_static(b"{}"));
        app.end();
        match answer.into_body().collect().await {
            Ok(body) => assert_eq!(body.to_bytes().len(), 2),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The layer around an upstream.
struct App {
    service: SseService<Upstream>,
    upstream: Upstream,
    request: Request<Empty<Bytes>>,
}

impl App {
    fn new(content_type: &'static str, layer: &SseLayer) -> Self {
        let upstream = Upstream {
            content_type,
            feed: Arc::default(),
        };
        // As browsers make it. Made once: that is not what is to be counted.
        let request = Request::get("http://example.org/events?room=1")
            .header(ACCEPT, "text/event-stream")
            .header(USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) Firefox/150.0")
            .header("accept-language", "en")
            .header("cache-control", "no-cache")
            .header("cookie", "session=0123456789abcdef")
            .header("referer", "http://example.org/")
            .body(Empty::new());
        Self {
            service: layer.layer(upstream.clone()),
            upstream,
            request: request.unwrap_or_else(|error| panic!("{error}")),
        }
    }

    async fn ask(&self, id: Option<&HeaderValue>) -> Response<SseBody<Feed>> {
        let mut request = self.request.clone();
        if let Some(id) = id {
            request.headers_mut().insert("last-event-id", id.clone());
        }
        match self.service.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// A client that has read the first heartbeat.
    async fn get(&self, id: Option<&HeaderValue>) -> Client {
        let body = self.ask(id).await.into_body();
        let mut client = Client { body };
        assert_eq!(client.next().await, ":\n");
        client
    }

    fn send(&self, bytes: Bytes) {
        let sent = lock(&self.upstream.feed).as_ref().map(|f| f.send(bytes));
        assert!(matches!(sent, Some(Ok(()))));
    }

    fn end(&self) {
        *lock(&self.upstream.feed) = None;
    }
}

struct Client {
    body: SseBody<Feed>,
}

impl Client {
    async fn next(&mut self) -> Bytes {
        match self.body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    fn has_read_all(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(self.next()).poll(&mut cx).is_pending()
    }
}

/// Answers every request with a body that is written to from outside.
#[derive(Clone)]
struct Upstream {
    content_type: &'static str,
    /// The other end of the last body.
    feed: Arc<Mutex<Option<UnboundedSender<Bytes>>>>,
}

impl Service<Request<RequestBody<Empty<Bytes>>>> for Upstream {
    type Response = Response<Feed>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Feed>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Empty<Bytes>>>) -> Self::Future {
        let (sender, receiver) = unbounded_channel();
        *lock(&self.feed) = Some(sender);
        let answer = Response::builder()
            .header(CONTENT_TYPE, self.content_type)
            .body(Feed(receiver));
        ready(Ok(answer.unwrap_or_else(|error| panic!("{error}"))))
    }
}

struct Feed(UnboundedReceiver<Bytes>);

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.0.poll_recv(cx);
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
