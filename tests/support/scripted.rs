//! A service that does what a test tells it to, and remembers what it was asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Collected};
use tokio::sync::{mpsc, oneshot};
use tower::Service;
use tower_sse::stream::source::BoxError;

/// One request that reached the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("?"))
    }

    pub(crate) fn last_event_id(&self) -> &str {
        self.header("last-event-id")
    }
}

/// What the upstream does about a request.
pub(crate) enum Reply {
    Answer(Response<Script>),
    /// The connection fails.
    Unreachable,
    /// It thinks, until told.
    Later(oneshot::Receiver<Reply>),
}

impl From<Response<Script>> for Reply {
    fn from(answer: Response<Script>) -> Self {
        Self::Answer(answer)
    }
}

/// An answer of 200 with an event stream.
pub(crate) fn sse(body: Script) -> Response<Script> {
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(body)
        .unwrap()
}

/// An answer with this status and a text that names it.
pub(crate) fn status(code: u16) -> Response<Script> {
    Response::builder()
        .status(code)
        .header("content-type", "text/plain")
        .body(Script::of(format!("status {code}")))
        .unwrap()
}

enum Step {
    Bytes(Bytes),
    Cut,
}

/// A body that follows a script.
pub(crate) struct Script {
    steps: mpsc::UnboundedReceiver<Step>,
    /// Kept where the body never ends.
    held: Option<Pipe>,
    open: Option<Open>,
}

/// The other end of a body. Dropped, the body ends cleanly.
#[derive(Clone)]
pub(crate) struct Pipe(mpsc::UnboundedSender<Step>);

impl Pipe {
    pub(crate) fn send(&self, bytes: impl Into<Bytes>) {
        let _ = self.0.send(Step::Bytes(bytes.into()));
    }

    /// The connection breaks.
    pub(crate) fn cut(&self) {
        let _ = self.0.send(Step::Cut);
    }
}

impl Script {
    pub(crate) fn pipe() -> (Pipe, Self) {
        let (sender, steps) = mpsc::unbounded_channel();
        let body = Self {
            steps,
            held: None,
            open: None,
        };
        (Pipe(sender), body)
    }

    /// These bytes, then a clean end.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        let (pipe, body) = Self::pipe();
        pipe.send(bytes);
        body
    }

    /// These bytes, then a broken connection.
    pub(crate) fn cut_after(bytes: impl Into<Bytes>) -> Self {
        let (pipe, body) = Self::pipe();
        pipe.send(bytes);
        pipe.cut();
        body
    }

    /// These bytes, then silence.
    pub(crate) fn held_after(bytes: impl Into<Bytes>) -> Self {
        let (pipe, mut body) = Self::pipe();
        pipe.send(bytes);
        body.held = Some(pipe);
        body
    }
}

/// Nothing, for layers that answer by themselves.
impl Default for Script {
    fn default() -> Self {
        Self::pipe().1
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.steps.poll_recv(cx).map(|step| match step? {
            Step::Bytes(bytes) => Some(Ok(Frame::data(bytes))),
            Step::Cut => Some(Err("connection reset by the test".into())),
        })
    }
}

/// Counts the bodies that are alive.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Handler = Box<dyn FnMut(&Call) -> Reply + Send>;

/// The upstream. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Inner>);

struct Inner {
    handler: Mutex<Handler>,
    calls: Mutex<Vec<Call>>,
    pipes: Mutex<Vec<Pipe>>,
    open: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers as the function says.
    pub(crate) fn new<T: Into<Reply>>(
        mut handler: impl FnMut(&Call) -> T + Send + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            handler: Mutex::new(Box::new(move |call| handler(call).into())),
            calls: Mutex::default(),
            pipes: Mutex::default(),
            open: Arc::default(),
        }))
    }

    /// Answers each request with an event stream that the test writes.
    pub(crate) fn piped() -> Self {
        Self::piped_unless(|_| None)
    }

    /// The same, but for requests that get another answer.
    pub(crate) fn piped_unless(
        mut other: impl FnMut(&Call) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let upstream = Self::new(|_| Reply::Unreachable);
        let weak = Arc::downgrade(&upstream.0);
        *lock(&upstream.0.handler) = Box::new(move |call| {
            if let Some(reply) = other(call) {
                return reply;
            }
            let (pipe, body) = Script::pipe();
            let inner = weak.upgrade().expect("whoever is called is alive");
            lock(&inner.pipes).push(pipe);
            sse(body).into()
        });
        upstream
    }

    /// The writing end of the `n`th stream.
    pub(crate) fn pipe(&self, n: usize) -> Pipe {
        lock(&self.0.pipes)[n].clone()
    }

    /// Ends the last stream cleanly (unless the test holds its pipe, too).
    pub(crate) fn end(&self) {
        lock(&self.0.pipes).pop();
    }

    /// What it was asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.0.calls).clone()
    }

    pub(crate) fn last_call(&self) -> Call {
        self.calls().pop().expect("a call")
    }

    /// How often it was called.
    pub(crate) fn count(&self) -> usize {
        lock(&self.0.calls).len()
    }

    /// How many of its bodies are still held by anybody.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    fn reply(&self, mut call: Call) -> Reply {
        let mut calls = lock(&self.0.calls);
        call.number = calls.len();
        calls.push(call.clone());
        drop(calls);
        lock(&self.0.handler)(&call)
    }

    fn count_body(&self, mut answer: Response<Script>) -> Response<Script> {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        answer.body_mut().open = Some(Open(Arc::clone(&self.0.open)));
        answer
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Script>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(Collected::to_bytes);
            let mut reply = upstream.reply(Call {
                number: 0,
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                body: body.unwrap_or_default(),
            });
            loop {
                reply = match reply {
                    Reply::Answer(answer) => return Ok(upstream.count_body(answer)),
                    Reply::Unreachable => return Err("unreachable, says the test".into()),
                    Reply::Later(later) => later.await.unwrap_or(Reply::Unreachable),
                };
            }
        })
    }
}
