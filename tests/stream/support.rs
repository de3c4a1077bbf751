//! An upstream that does as it is told, and clients polled by hand.
//!
//! All of it runs on a paused clock: time passes only when every task waits,
//! so that sleeping means "until nothing is left to do".

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_sse::log::{Ending, Limits, Next, Position, Reader};
use tower_sse::observe::{Observer, Signal};
use tower_sse::stream::create::NewStream;
use tower_sse::stream::id::Epoch;
use tower_sse::stream::key::Key;
use tower_sse::stream::policy::{Ids, Kind, Linger, Reconnect, UpstreamResume};
use tower_sse::stream::pump::Beginning;
use tower_sse::stream::registry::Registry;
use tower_sse::stream::source::{Answer, BoxError, Opening, Refusal, Source, UpstreamBody};
use tower_sse::stream::stream::{Phase, Policy, Stream, Subscription};

/// An upstream's body, written to from outside.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
struct PipeState {
    frames: VecDeque<Result<Bytes, BoxError>>,
    ended: bool,
    taken: usize,
    polls: usize,
    dropped: bool,
    waker: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut PipeState) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        let out = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        out
    }

    pub(crate) fn send(&self, text: &str) -> &Self {
        self.send_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    pub(crate) fn send_bytes(&self, frame: Bytes) -> &Self {
        self.with(|state| state.frames.push_back(Ok(frame)));
        self
    }

    pub(crate) fn end(&self) -> &Self {
        self.with(|state| state.ended = true);
        self
    }

    pub(crate) fn cut(&self) -> &Self {
        self.with(|state| state.frames.push_back(Err("connection reset".into())));
        self
    }

    /// Frames that were read from it.
    pub(crate) fn taken(&self) -> usize {
        self.0.lock().unwrap().taken
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.lock().unwrap().dropped
    }

    pub(crate) fn body(&self) -> UpstreamBody {
        PipeBody(self.clone()).boxed_unsync()
    }
}

struct PipeBody(Pipe);

impl Body for PipeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.0.lock().unwrap();
        state.polls += 1;
        if let Some(frame) = state.frames.pop_front() {
            state.taken += 1;
            return Poll::Ready(Some(frame.map(Frame::data)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().dropped = true;
    }
}

/// What the upstream answers when it is asked again.
pub(crate) enum Step {
    Stream(Pipe),
    Refuse(u16, Option<Duration>),
    Fail,
    Hang,
    Panic,
}

/// Answers as scripted, then not at all; remembers what it was asked, and when.
#[derive(Default)]
pub(crate) struct Script {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<(Instant, Option<String>)>>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into_iter().collect()),
            asked: Mutex::default(),
        })
    }

    /// The ids it was asked to go on from.
    pub(crate) fn asked(&self) -> Vec<Option<String>> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, id)| id.clone()).collect()
    }

    pub(crate) fn asked_at(&self) -> Vec<Instant> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| *at)
            .collect()
    }
}

impl Source for Script {
    fn open(&self, last_event_id: Option<Bytes>) -> Opening {
        let id = last_event_id.map(|id| String::from_utf8(id.to_vec()).unwrap());
        self.asked.lock().unwrap().push((Instant::now(), id));
        let step = self.steps.lock().unwrap().pop_front();
        Box::pin(async move {
            match step.unwrap_or(Step::Fail) {
                Step::Stream(pipe) => Ok(Answer::Stream {
                    body: pipe.body(),
                    gap: false,
                }),
                Step::Refuse(status, retry_after) => Ok(Answer::Refused(Refusal {
                    status,
                    retry_after,
                })),
                Step::Fail => Err("connection refused".into()),
                Step::Hang => std::future::pending().await,
                Step::Panic => panic!("a handler's own panic, as the test wants it"),
            }
        })
    }
}

/// Remembers every signal.
#[derive(Default)]
pub(crate) struct Signals(Mutex<Vec<Signal>>);

impl Observer for Signals {
    fn observe(&self, signal: Signal) {
        self.0.lock().unwrap().push(signal);
    }
}

impl Signals {
    pub(crate) fn all(&self) -> Vec<Signal> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, wanted: Signal) -> usize {
        self.all()
            .iter()
            .filter(|signal| **signal == wanted)
            .count()
    }

    pub(crate) fn buffered(&self) -> i64 {
        let changes = self.all();
        let changes = changes.iter().filter_map(|signal| match signal {
            Signal::Buffered(change) => Some(*change),
            _ => None,
        });
        changes.sum()
    }
}

pub(crate) fn policy(kind: Kind, signals: &Arc<Signals>) -> Policy {
    Policy {
        kind,
        ids: Ids::Auto,
        resume: UpstreamResume::None,
        limits: match kind {
            Kind::OneShot => Limits {
                bytes: 16 << 20,
                ..Limits::NONE
            },
            Kind::Private | Kind::Shared => Limits::default(),
        },
        finish: Arc::default(),
        responses: 1,
        defers: false,
        linger: Linger::default(),
        max_runtime: Duration::from_secs(900),
        max_detached: 16,
        retain: Duration::from_secs(600),
        reconnect: Reconnect::default(),
        hold: Duration::ZERO,
        batch: Duration::ZERO,
        upstream_idle: None,
        max_event_bytes: 1 << 20,
        gap_event: None,
        strip_retry: false,
        observer: Arc::clone(signals) as _,
    }
}

/// A stream that runs.
pub(crate) struct Rig {
    pub(crate) registry: Arc<Registry>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) script: Arc<Script>,
    pub(crate) pipe: Pipe,
    pub(crate) pump: JoinHandle<()>,
    polls: Arc<AtomicUsize>,
}

/// How a test's stream differs from the usual.
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) steps: Vec<Step>,
    pub(crate) opened_with: Option<&'static str>,
    pub(crate) held: bool,
    pub(crate) registry: Arc<Registry>,
    signals: Arc<Signals>,
}

impl Setup {
    pub(crate) fn new(kind: Kind) -> Self {
        let signals = Arc::default();
        Self {
            policy: policy(kind, &signals),
            steps: Vec::new(),
            opened_with: None,
            held: false,
            registry: Arc::new(Registry::new(1 << 30)),
            signals,
        }
    }

    pub(crate) fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Starts it, with nobody attached.
    pub(crate) fn start(self) -> Rig {
        static KEYS: AtomicUsize = AtomicUsize::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed).to_string();
        let key = Key::Request(key.into_bytes().into());
        let pipe = Pipe::new();
        let script = Script::new(self.steps);
        let new = NewStream {
            key: Some(key.clone()),
            name: None,
            epoch: Epoch::private().unwrap(),
            journaled: None,
            unknown: false,
            source: (self.policy.kind != Kind::OneShot).then(|| Arc::clone(&script) as _),
            policy: self.policy,
            head: Box::default(),
            principal: None,
            scope: Box::default(),
            opened_with: self.opened_with.map(|id| Bytes::from_static(id.as_bytes())),
            beginning: if self.held {
                Beginning::Held
            } else {
                Beginning::Live {
                    body: pipe.body(),
                    gap: false,
                }
            },
        };
        let (stream, pump) = new.build(&self.registry);
        self.registry.insert(key, &stream);
        let polls = Arc::new(AtomicUsize::new(0));
        let pump = tokio::spawn(counted(pump.run(), Arc::clone(&polls)));
        Rig {
            registry: self.registry,
            stream,
            signals: self.signals,
            script,
            pipe,
            pump,
            polls,
        }
    }

    /// Starts it with a client at its beginning.
    pub(crate) fn read(self) -> (Rig, Client) {
        let rig = self.start();
        let client = rig.attach(Position::Oldest);
        (rig, client)
    }
}

async fn counted(future: impl Future<Output = ()>, polls: Arc<AtomicUsize>) {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(cx)
    })
    .await;
}

impl Rig {
    pub(crate) fn attach(&self, position: Position) -> Client {
        self.try_attach(position).unwrap()
    }

    pub(crate) fn try_attach(&self, position: Position) -> Option<Client> {
        let (subscription, attached) = self.stream.attach(position)?;
        Some(Client {
            gap: attached.gap,
            lost: attached.lost,
            snapshot: attached.snapshot,
            reader: attached.reader,
            _subscription: subscription,
        })
    }

    /// How often the pump was polled so far.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn high(&self) -> u64 {
        self.stream.log().with(tower_sse::log::Ring::high)
    }

    /// Everything retained, as text.
    pub(crate) fn retained(&self) -> String {
        self.stream.log().with(|ring| {
            let mut cursor = ring.low();
            let mut text = String::new();
            while let Some(chunk) = ring.read(cursor, usize::MAX) {
                text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
                cursor = chunk.last;
            }
            text
        })
    }

    /// The data of what is retained.
    pub(crate) fn data(&self) -> Vec<String> {
        data(&self.retained())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.stream.phase() == Phase::Gone
    }
}

/// The values of the `data:` lines.
pub(crate) fn data(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(ToOwned::to_owned).collect()
}

/// `count` events with data from `first` on.
pub(crate) fn events(first: usize, count: usize) -> String {
    let events: Vec<_> = (first..first + count)
        .map(|n| format!("data: {n}\n\n"))
        .collect();
    events.concat()
}

pub(crate) fn numbers(first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|n| n.to_string()).collect()
}

/// A reader and its share in the stream.
pub(crate) struct Client {
    pub(crate) gap: bool,
    pub(crate) lost: u64,
    pub(crate) snapshot: bool,
    reader: Reader,
    // After the reader, as in a response body.
    _subscription: Subscription,
}

impl Client {
    pub(crate) fn cursor(&self) -> u64 {
        self.reader.cursor()
    }

    pub(crate) async fn next(&mut self) -> Next {
        poll_fn(|cx| self.reader.poll_next(cx)).await
    }

    pub(crate) fn now(&mut self) -> Poll<Next> {
        self.reader
            .poll_next(&mut Context::from_waker(Waker::noop()))
    }

    /// All there is to read now, comments included.
    pub(crate) fn text(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            match self.now() {
                Poll::Ready(Next::Data { chunk, .. }) => text.extend_from_slice(&chunk.bytes),
                Poll::Ready(Next::Comment(line)) => text.extend_from_slice(&line),
                Poll::Ready(Next::Gap(_)) => text.extend_from_slice(GAP.as_bytes()),
                _ => return String::from_utf8(text).unwrap(),
            }
        }
    }

    /// Reads on to the end, as fast as it can.
    pub(crate) async fn drain(mut self) -> (Vec<String>, Next) {
        let mut text = Vec::new();
        loop {
            match self.next().await {
                Next::Data { chunk, .. } => text.extend_from_slice(&chunk.bytes),
                Next::Comment(_) | Next::Gap(_) => {}
                end => return (data(std::str::from_utf8(&text).unwrap()), end),
            }
        }
    }
}

/// How a reader's `Next::Gap` stands in the text of a [`Client`].
pub(crate) const GAP: &str = "(gap)\n";

pub(crate) const CLEAN: Poll<Next> = Poll::Ready(Next::Ended(Ending::Complete));

pub(crate) fn is_aborted(next: &Poll<Next>) -> bool {
    matches!(next, Poll::Ready(Next::Ended(Ending::Aborted(_))))
}

/// Until every task waits for a later time.
pub(crate) async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
