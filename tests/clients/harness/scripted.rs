//! A backend inside the test: it sends what it is told, when it is told.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::PATIENCE;

/// Answers every request with an open event stream. It gives no ids, sends no
/// heartbeats, and heeds no `Last-Event-ID`.
pub(crate) struct Scripted {
    url: String,
    served: Arc<Served>,
}

#[derive(Default)]
struct Served {
    streams: Mutex<Vec<Handle>>,
    /// Method and path of each request so far.
    requests: watch::Sender<Vec<String>>,
}

/// The sending end of one response body; dropped, it ends the body.
type Handle = mpsc::UnboundedSender<Result<Bytes, Cut>>;

#[derive(Debug)]
pub(super) struct Cut;

impl Scripted {
    pub(crate) async fn start() -> Self {
        let served = Arc::new(Served::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, served }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for `count` requests in all.
    pub(crate) async fn requested(&self, count: usize) {
        let mut requests = self.served.requests.subscribe();
        let reached = requests.wait_for(|requests| requests.len() >= count);
        let reached = timeout(PATIENCE, reached).await.is_ok();
        assert!(
            reached,
            "waited for {count} requests, saw {:?}",
            self.requests()
        );
    }

    /// Method and path of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.served.requests.borrow().clone()
    }

    /// Sends to every open stream, in one piece.
    pub(crate) fn send(&self, text: &str) {
        self.each(|stream| drop(stream.send(Ok(Bytes::copy_from_slice(text.as_bytes())))));
    }

    /// Sends each number as one event without id.
    pub(crate) fn count(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.send(&format!("data: {number}\n\n"));
        }
    }

    /// Breaks every open stream off in the middle: no last chunk is sent.
    pub(crate) fn cut(&self) {
        self.each(|stream| drop(stream.send(Err(Cut))));
        self.finish();
    }

    /// Ends every open stream cleanly.
    pub(crate) fn finish(&self) {
        self.served.streams.lock().unwrap().clear();
    }

    /// Waits until whoever asked has left every stream that is open.
    pub(crate) async fn left(&self) {
        let streams = self.served.streams.lock().unwrap().clone();
        for stream in streams {
            let left = timeout(PATIENCE, stream.closed()).await;
            assert!(left.is_ok(), "a stream is still read");
        }
    }

    fn each(&self, act: impl Fn(&Handle)) {
        let streams = self.served.streams.lock().unwrap();
        assert!(!streams.is_empty(), "nobody has asked for a stream");
        streams.iter().for_each(act);
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut as scripted")
    }
}

impl std::error::Error for Cut {}

async fn answer(
    State(served): State<Arc<Served>>,
    request: Request,
) -> Result<Response, Infallible> {
    let line = format!("{} {}", request.method(), request.uri());
    // To the end, or the connection would be reset on account of the rest.
    let _ = to_bytes(request.into_body(), usize::MAX).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    // In this order: whoever has seen the request may send at once.
    served.streams.lock().unwrap().push(sender);
    served.requests.send_modify(|requests| requests.push(line));

    let body = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    Ok(Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .body(Body::from_stream(body))
        .unwrap())
}
