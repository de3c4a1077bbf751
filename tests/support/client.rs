//! A client of the layer, in the same process.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::request::Builder;
use http::response::Parts;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_sse::SseLayer;
use tower_sse::resume::{SseBody, SseService};
use tower_sse::stream::source::BoxError;

use super::browser::{Browser, Event};
use super::scripted::{Script, Upstream};

/// The layer around an upstream.
#[derive(Clone)]
pub(crate) struct App {
    service: SseService<Upstream>,
}

impl App {
    pub(crate) fn new(layer: &SseLayer, upstream: &Upstream) -> Self {
        Self {
            service: layer.layer(upstream.clone()),
        }
    }

    /// Sends a request, and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Builder) -> Client {
        self.try_send(request).await.expect("an answer")
    }

    pub(crate) async fn try_send(&self, request: Builder) -> Result<Client, BoxError> {
        self.ask(request, "asked").await
    }

    /// Sends a request with a body, likewise.
    pub(crate) async fn send_body(&self, request: Builder, body: &str) -> Client {
        self.ask(request, body).await.expect("an answer")
    }

    async fn ask(&self, request: Builder, body: &str) -> Result<Client, BoxError> {
        let body = Full::from(body.to_owned());
        let request: Request<Full<Bytes>> = request.body(body).unwrap();
        let answer: Response<SseBody<Script>> = self.service.clone().oneshot(request).await?;
        let (head, body) = answer.into_parts();
        Ok(Client {
            head,
            body: Box::pin(body),
            page: Browser::default(),
            bytes: Vec::new(),
        })
    }

    /// GET, with the id if it is not empty, as an `EventSource` would.
    pub(crate) async fn get(&self, uri: &str, id: &str) -> Client {
        self.send(with_id(get(uri), id)).await
    }

    /// POST, likewise.
    pub(crate) async fn post(&self, uri: &str, id: &str) -> Client {
        self.send(with_id(post(uri), id)).await
    }
}

pub(crate) fn get(uri: &str) -> Builder {
    Request::get(uri).header("accept", "text/event-stream")
}

pub(crate) fn post(uri: &str) -> Builder {
    Request::post(uri).header("accept", "text/event-stream")
}

pub(crate) fn with_id(request: Builder, id: &str) -> Builder {
    if id.is_empty() {
        return request;
    }
    request.header("last-event-id", id)
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Aborted(String),
}

/// An answer, and the page that reads it.
pub(crate) struct Client {
    pub(crate) head: Parts,
    body: Pin<Box<SseBody<Script>>>,
    pub(crate) page: Browser,
    /// Every byte so far.
    pub(crate) bytes: Vec<u8>,
}

impl Client {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or("?"))
    }

    /// `Sse-Resume`.
    pub(crate) fn resumed(&self) -> &str {
        self.header("sse-resume")
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        let frame = std::task::ready!(self.body.as_mut().poll_frame(cx));
        Poll::Ready(match frame {
            None => Err(End::Clean),
            Some(Err(error)) => Err(End::Aborted(error.to_string())),
            Some(Ok(frame)) => Ok(Frame::into_data(frame).unwrap_or_default()),
        })
    }

    /// The next piece of the body, or how it ended.
    pub(crate) async fn chunk(&mut self) -> Result<Bytes, End> {
        let chunk = poll_fn(|cx| self.poll(cx)).await?;
        self.page.feed(&chunk);
        self.bytes.extend_from_slice(&chunk);
        Ok(chunk)
    }

    /// Reads what is there, without waiting for more.
    pub(crate) fn drain(&mut self) -> Result<(), End> {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(chunk) = self.poll(&mut cx) {
            let chunk = chunk?;
            self.page.feed(&chunk);
            self.bytes.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.page.events.pop_front() {
                return event;
            }
            let end = self.chunk().await.err();
            assert_eq!(end, None, "ended where an event was expected");
        }
    }

    /// The data of the next events.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            data.push(self.event().await.data);
        }
        data
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> (Vec<Event>, End) {
        loop {
            if let Err(end) = self.chunk().await {
                return (self.page.take(), end);
            }
        }
    }

    /// The data of what is left, and how it ended.
    pub(crate) async fn rest_data(&mut self) -> (Vec<String>, End) {
        let (events, end) = self.rest().await;
        (events.into_iter().map(|event| event.data).collect(), end)
    }

    /// The whole body as text, and how it ended.
    pub(crate) async fn text(&mut self) -> (String, End) {
        let (_, end) = self.rest().await;
        (String::from_utf8_lossy(&self.bytes).into_owned(), end)
    }
}
