//! An upstream whose events are numbered, and clients that must get each one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_sse::proxy::config::model::Config;
use tower_sse::resume::settings::Mode;

use crate::harness::{Proxy, config};
use crate::upstream::{Connection, Upstream};

/// A slow machine's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// `/stream` is a feed, whatever the method; anything else is `ok`.
pub(crate) struct Feed {
    pub(crate) upstream: Upstream,
    sent: watch::Sender<u32>,
}

/// A client of the feed.
pub(crate) struct Reader {
    body: Incoming,
    text: String,
    seen: u32,
}

impl Feed {
    pub(crate) async fn start() -> Self {
        let sent = watch::Sender::new(0);
        let source = sent.clone();
        let upstream = Upstream::start(move |connection| serve(connection, source.subscribe()));
        Self {
            upstream: upstream.await,
            sent,
        }
    }

    /// One route to it, whose streams are shared.
    pub(crate) fn config(&self) -> Config {
        let mut config = config(&[self.upstream.url()]);
        config.routes[0].sse.mode = Mode::Shared;
        config.routes[0].sse.principal = Vec::new();
        config
    }

    /// Sends the next event to everybody.
    pub(crate) fn send(&self) -> u32 {
        self.sent.send_modify(|sent| *sent += 1);
        *self.sent.borrow()
    }
}

async fn serve(mut connection: Connection, mut sent: watch::Receiver<u32>) {
    while let Some((head, _)) = connection.request().await {
        if !head.contains(" /stream ") {
            connection.send(PLAIN).await;
            continue;
        }
        connection.send(STREAM).await;
        let mut next = 1;
        loop {
            let to = *sent.borrow_and_update();
            for number in next..=to {
                let event = format!("data: {number}\n\n");
                if !connection.try_send(event.as_bytes()).await {
                    return;
                }
            }
            next = to + 1;
            tokio::select! {
                changed = sent.changed() => if changed.is_err() { return },
                () = connection.closed() => return,
            }
        }
    }
}

impl Reader {
    /// Reads the feed from its beginning.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let response = ask(addr, "127.0.0.1", stream_request()).await;
        assert_eq!(response.status(), 200);
        Self::of(response)
    }

    pub(crate) fn of(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            text: String::new(),
            seen: 0,
        }
    }

    /// Waits for the event of this number; each before must have come, once.
    pub(crate) async fn until(&mut self, number: u32) {
        while self.seen < number {
            assert!(self.read().await, "ended after {}", self.seen);
        }
    }

    /// Waits for the event of this number, which is the first after joining.
    pub(crate) async fn joins_at(&mut self, number: u32) {
        self.seen = number - 1;
        self.until(number).await;
    }

    /// Waits for the end, which must be in order.
    pub(crate) async fn ends(&mut self) {
        while self.read().await {}
    }

    async fn read(&mut self) -> bool {
        let frame = timeout(PATIENCE, self.body.frame()).await;
        let Some(frame) = frame.expect("an event, or the end") else {
            return false;
        };
        let data = frame.expect("no cut").into_data().unwrap_or_default();
        self.text.push_str(std::str::from_utf8(&data).unwrap());
        while let Some((line, rest)) = self.text.split_once('\n') {
            if let Some(number) = line.strip_prefix("data: ") {
                self.seen += 1;
                assert_eq!(number, self.seen.to_string());
            }
            let read = self.text.len() - rest.len();
            self.text.drain(..read);
        }
        true
    }
}

/// Readers that a test's mischief must not touch, with one event each.
pub(crate) async fn readers(proxy: &Proxy, feed: &Feed, count: usize) -> Vec<Reader> {
    let mut readers = Vec::new();
    for _ in 0..count {
        readers.push(Reader::open(proxy.addr).await);
    }
    all_get_the_next(&mut readers, feed).await;
    readers
}

/// Each of them gets the next event, and has got all before.
pub(crate) async fn all_get_the_next(readers: &mut [Reader], feed: &Feed) {
    let number = feed.send();
    for reader in readers {
        reader.until(number).await;
    }
}

pub(crate) fn stream_request() -> Request<Full<Bytes>> {
    Request::get("/stream")
        .header("host", "app.example")
        .header("accept", "text/event-stream")
        .body(Full::default())
        .unwrap()
}

/// One request from this address of the loopback network.
pub(crate) async fn ask(
    addr: SocketAddr,
    from: &str,
    request: Request<Full<Bytes>>,
) -> Response<Incoming> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(addr).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let response = timeout(PATIENCE, sender.send_request(request)).await;
    response.expect("an answer").unwrap()
}

/// The proxy's count of what it refused for this reason.
pub(crate) async fn refused(proxy: &Proxy, reason: &str) -> u64 {
    let metrics = proxy.ask_admin("/metrics").await;
    let wanted = format!("sse_refused_total{{reason=\"{reason}\"}} ");
    let mut lines = metrics.text().lines();
    let count = lines.find_map(|line| line.strip_prefix(&wanted));
    count.expect("a metric").parse().unwrap()
}
