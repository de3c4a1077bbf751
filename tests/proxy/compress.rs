//! Compression through the whole proxy: event streams event by event, written by
//! us and by hyper, and everything else by tower-http.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_sse::proxy::config::model::Config;
use tower_sse::resume::settings::{Coding, KeyPath, Mode, NameSource, Repeat};

use crate::harness::{LONG, Proxy, config, eventually, fetch, get, open, request};
use crate::upstream::{Connection, Upstream, header};

#[path = "../support/gunzip.rs"]
mod gunzip;
use gunzip::Gunzip;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// One event at once and one for each number that the test sets; at `END` the
/// answer ends, at `CUT` its connection is reset.
async fn count(mut connection: Connection, mut told: watch::Receiver<u32>) {
    while let Some((head, _)) = connection.request().await {
        if head.starts_with("HEAD ") {
            connection.send(STREAM).await;
            return;
        }
        connection.send(STREAM).await;
        connection.send("data: 0\n\n").await;
        while told.changed().await.is_ok() {
            let number = *told.borrow_and_update();
            match number {
                END => return,
                CUT => return connection.reset(),
                number => connection.send(format!("data: {number}\n\n")).await,
            }
        }
    }
}

const END: u32 = 1000;
const CUT: u32 = 1001;

async fn counting(mode: Mode) -> (Upstream, Config, watch::Sender<u32>) {
    let (tell, told) = watch::channel(0);
    let upstream = Upstream::start(move |connection| count(connection, told.clone())).await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].sse.mode = mode;
    config.routes[0].sse.compress = Some(Coding::Gzip);
    (upstream, config, tell)
}

fn accepting<B>(mut request: Request<B>) -> Request<B> {
    let headers = request.headers_mut();
    headers.insert("accept", "text/event-stream".parse().unwrap());
    headers.insert("accept-encoding", "gzip, deflate, br".parse().unwrap());
    request
}

/// A client that decodes as it reads.
struct Reader {
    response: Response<Incoming>,
    gunzip: Gunzip,
    text: String,
}

impl Reader {
    fn new(response: Response<Incoming>) -> Self {
        let headers = response.headers();
        assert_eq!(value(headers, "content-encoding"), "gzip", "{headers:?}");
        assert_eq!(value(headers, "vary"), "Accept-Encoding");
        assert_eq!(value(headers, "cache-control"), "no-cache, no-transform");
        Self {
            response,
            gunzip: Gunzip::new(),
            text: String::new(),
        }
    }

    async fn open(proxy: &Proxy, request: Request<Full<Bytes>>) -> Self {
        Self::new(open(proxy.addr, accepting(request)).await)
    }

    /// Reads on; `None` at an end in order, an error at any other.
    async fn more(&mut self) -> Option<Result<(), hyper::Error>> {
        let frame = timeout(LONG, self.response.frame()).await.unwrap()?;
        Some(frame.map(|frame| {
            let plain = self.gunzip.feed(&frame.into_data().unwrap());
            self.text = String::from_utf8(plain.to_vec()).unwrap();
        }))
    }

    async fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            self.more().await.unwrap().unwrap();
        }
    }

    /// To the end; whether it was in order, and the decoder says the same.
    async fn rest(mut self) -> (String, bool, bool) {
        loop {
            match self.more().await {
                Some(Ok(())) => {}
                end => {
                    let whole = self.gunzip.finish().is_some();
                    return (self.text, end.is_none(), whole);
                }
            }
        }
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn http1_reads_event_by_event() {
    let (_upstream, config, tell) = counting(Mode::Shared).await;
    let proxy = Proxy::start(config).await;
    let mut reader = Reader::open(&proxy, get("/e")).await;
    for number in 0..20 {
        // The next is not sent before this one is read.
        reader.until(&format!("data: {number}\n")).await;
        tell.send_replace(number + 1);
    }
}

#[tokio::test]
async fn http2_reads_event_by_event() {
    let (_upstream, config, tell) = counting(Mode::Shared).await;
    let proxy = Proxy::start(config).await;
    let io = TokioIo::new(TcpStream::connect(proxy.addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://app.example/e");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(accepting(request)).await.unwrap();
    let mut reader = Reader::new(response);
    for number in 0..20 {
        reader.until(&format!("data: {number}\n")).await;
        tell.send_replace(number + 1);
    }
}

#[tokio::test]
async fn many_clients_cost_one_compression() {
    let (_upstream, config, tell) = counting(Mode::Shared).await;
    let proxy = Proxy::start(config).await;
    let mut readers = Vec::new();
    for _ in 0..100 {
        readers.push(Reader::open(&proxy, get("/e")).await);
        readers[0].until("data: 0\n").await;
    }
    for number in 1..=10 {
        tell.send_replace(number);
        for reader in &mut readers {
            reader.until(&format!("data: {number}\n")).await;
        }
    }
    let metrics = proxy.ask_admin("/metrics").await;
    let counted = |name: &str| -> usize {
        let name = format!("sse_{name}_total{{route=\"/\"}} ");
        let line = metrics.text().lines().find_map(|l| l.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    };
    // Ten events, and the first one before there were others.
    let events = counted("compress_input_bytes");
    assert!(events < 2 * 11 * "data: 10\nid: s1.AbCdEfGhIjKl.10\n\n".len());
    assert!(counted("compress_output_bytes") > 0);
    assert!(counted("events_sent") >= 1000);
}

#[tokio::test]
async fn an_end_in_order_is_one_to_whoever_looks() {
    let (_upstream, config, tell) = counting(Mode::OneShot).await;
    let proxy = Proxy::start(config).await;
    let mut reader = Reader::open(&proxy, get("/e")).await;
    reader.until("data: 0\n").await;
    tell.send_replace(1);
    reader.until("data: 1\n").await;
    tell.send_replace(END);
    let (text, in_order, whole) = reader.rest().await;
    assert_eq!(text.matches("data: ").count(), 2);
    assert!(in_order && whole);
}

#[tokio::test]
async fn a_cut_answer_is_cut_to_whoever_looks() {
    let (_upstream, config, tell) = counting(Mode::OneShot).await;
    let proxy = Proxy::start(config).await;
    let mut reader = Reader::open(&proxy, request("POST", "/e", "ask")).await;
    reader.until("data: 0\n").await;
    tell.send_replace(CUT);
    let (text, in_order, whole) = reader.rest().await;
    assert_eq!(text.matches("data: ").count(), 1);
    assert!(!in_order && !whole);
}

#[tokio::test]
async fn who_attaches_gets_it_compressed_too() {
    let (_upstream, mut config, tell) = counting(Mode::Auto).await;
    let sse = &mut config.routes[0].sse;
    sse.key.name = Some(NameSource::Header("x-chat-id".parse().unwrap()));
    sse.key.repeat = Some(Repeat::Attach);
    sse.attach = KeyPath::parse("/chat/{key}");
    let proxy = Proxy::start(config).await;
    let mut post = request("POST", "/chat", "ask");
    post.headers_mut().insert("x-chat-id", "7".parse().unwrap());
    let mut first = Reader::open(&proxy, post).await;
    first.until("data: 0\n").await;
    let mut second = Reader::open(&proxy, get("/chat/7")).await;
    second.until("data: 0\n").await;
    tell.send_replace(1);
    second.until("data: 1\n").await;
    tell.send_replace(END);
    for reader in [first, second] {
        let (text, in_order, whole) = reader.rest().await;
        assert_eq!(text.matches("data: ").count(), 2);
        assert!(in_order && whole);
    }
}

#[tokio::test]
async fn nobody_is_sent_what_it_does_not_take() {
    let (upstream, config, _tell) = counting(Mode::Auto).await;
    let proxy = Proxy::start(config).await;
    let plain = open(proxy.addr, get("/e")).await;
    assert_eq!(value(plain.headers(), "content-encoding"), "");
    assert_eq!(value(plain.headers(), "vary"), "Accept-Encoding");
    // Whoever asks: the upstream is to send what can be read.
    let _zipped = Reader::open(&proxy, get("/e")).await;
    let heads = upstream.heads();
    assert_eq!(header(&heads[1], "accept-encoding"), Some("identity"));
    // HEAD goes through as it is.
    let head = fetch(proxy.addr, accepting(request("HEAD", "/e", ""))).await;
    assert_eq!(value(&head.headers, "content-encoding"), "");
    assert!(head.body.is_empty());
}

/// An upstream whose answer has this head and this body, and a route that
/// compresses answers.
async fn answers(head: &str, body: &str) -> (Upstream, Proxy) {
    let length = body.len();
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    ))
    .await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].compress = Some(Coding::Gzip);
    (upstream, Proxy::start(config).await)
}

fn wanting(accepted: &str) -> Request<Full<Bytes>> {
    let mut request = get("/");
    let accepted = accepted.parse().unwrap();
    request.headers_mut().insert("accept-encoding", accepted);
    request
}

#[tokio::test]
async fn other_answers_are_compressed_where_their_route_says_so() {
    let body = "{\"a\":1}".repeat(100);
    let (_upstream, proxy) = answers("Content-Type: application/json\r\n", &body).await;
    let answer = fetch(proxy.addr, wanting("br, gzip")).await;
    assert_eq!(value(&answer.headers, "content-encoding"), "gzip");
    assert_eq!(value(&answer.headers, "vary"), "accept-encoding");
    assert!(answer.body.len() * 5 < body.len());
    let mut gunzip = Gunzip::new();
    assert_eq!(gunzip.feed(&answer.body), body.as_bytes());

    for accepted in ["identity", "br", "gzip;q=0", "br, identity;q=0"] {
        let answer = fetch(proxy.addr, wanting(accepted)).await;
        assert_eq!(answer.status, 200, "{accepted}");
        assert_eq!(value(&answer.headers, "content-encoding"), "");
        assert_eq!(answer.text(), body);
    }
}

#[tokio::test]
async fn what_must_not_be_changed_or_gains_nothing_is_not() {
    let long = "x".repeat(1000);
    for (head, body) in [
        (
            "Content-Type: text/plain\r\nCache-Control: no-transform\r\n",
            &*long,
        ),
        (
            "Content-Type: text/plain\r\nContent-Encoding: br\r\n",
            &*long,
        ),
        ("Content-Type: image/png\r\n", &*long),
        ("Content-Type: text/plain\r\n", "short"),
    ] {
        let (_upstream, proxy) = answers(head, body).await;
        let answer = fetch(proxy.addr, wanting("gzip, br")).await;
        assert_ne!(value(&answer.headers, "content-encoding"), "gzip", "{head}");
        assert_eq!(answer.text(), body);
    }
}

#[tokio::test]
async fn a_route_that_compresses_answers_leaves_its_streams_alone() {
    let (_upstream, mut config, tell) = counting(Mode::Shared).await;
    config.routes[0].compress = Some(Coding::Gzip);
    config.routes[0].sse.compress = None;
    let proxy = Proxy::start(config).await;
    let mut response = open(proxy.addr, accepting(get("/e"))).await;
    assert_eq!(value(response.headers(), "content-encoding"), "");
    let mut text = String::new();
    for number in 0..5 {
        while !text.contains(&format!("data: {number}\n")) {
            let frame = timeout(LONG, response.frame()).await.unwrap();
            let data = frame.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        tell.send_replace(number + 1);
    }
    drop(response);
    eventually("the client is gone", || async {
        let metrics = proxy.ask_admin("/metrics").await;
        metrics.text().contains("sse_clients_open{route=\"/\"} 0")
    })
    .await;
}
