//! Servers that are spoken to in HTTP/2, over connections that are shared.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tower_sse::proxy::config::model::{Config, Protocol};
use tower_sse::stream::policy::UpstreamResume;

use crate::harness::{LONG, Proxy, config, eventually, fetch, get, open, refused, request};

/// What the server's connections share.
#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    /// The number of its connection and the head of each request.
    heads: Mutex<Vec<(usize, Request<()>)>>,
    refuses: AtomicBool,
    leave: watch::Sender<()>,
}

/// How the first connection is treated; all others are served.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Served,
    /// Told to go, with nothing heeded.
    SentAway,
    /// Given the head of an event stream, and then nothing, not even to a ping.
    Dead,
}

struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    async fn start(streams: u32, first: First) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = all.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&all);
                if number == 0 && first != First::Served {
                    tokio::spawn(disappoint(stream, first));
                } else {
                    tokio::spawn(serve(stream, number, streams, shared));
                }
            }
        });
        Self { addr, shared }
    }

    fn config(&self) -> Config {
        config_of(&[format!("http://{}", self.addr)])
    }

    fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

fn config_of(servers: &[String]) -> Config {
    let mut config = config(servers);
    config.upstreams.get_mut("app").unwrap().protocol = Protocol::Http2;
    let sse = &mut config.routes[0].sse;
    sse.reconnect.initial = Duration::from_millis(50);
    sse.resume = UpstreamResume::Snapshot;
    config
}

async fn serve(stream: TcpStream, number: usize, streams: u32, shared: Arc<Shared>) {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut leave = shared.leave.subscribe();
    loop {
        tokio::select! {
            next = connection.accept() => {
                let Some(Ok((request, respond))) = next else { return };
                tokio::spawn(answer(request, respond, number, Arc::clone(&shared)));
            }
            _ = leave.changed() => connection.graceful_shutdown(),
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    number: usize,
    shared: Arc<Shared>,
) {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let head = Request::from_parts(head, ());
    shared.heads.lock().unwrap().push((number, head));
    if path == "/refused" && shared.refuses.swap(false, Ordering::SeqCst) {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    if path == "/cancelled" {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    }
    if path == "/events" {
        let head = Response::builder().header("content-type", "text/event-stream");
        let mut send = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let event = format!("data: {number}\n\n");
        let _ = send.send_data(event.into(), false);
        let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
        return;
    }
    let mut length = 0;
    while let Some(Ok(data)) = body.data().await {
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    let _ = send.send_data(length.to_string().into(), true);
}

/// Speaks just enough to be taken for a server.
async fn disappoint(mut stream: TcpStream, how: First) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    // The last stream heeded is 0.
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // `:status: 200`, and `content-type` by its number in the static table.
    const HEAD: &[u8] = b"\0\0\x15\x01\x04\0\0\0\x01\x88\x0f\x10\x11text/event-stream";
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    loop {
        let mut frame = [0; 9];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        let (kind, ack) = (frame[3], frame[4] & 1 == 1);
        match kind {
            4 if !ack => stream.write_all(SETTINGS_ACK).await.unwrap(),
            1 if how == First::SentAway => stream.write_all(GOAWAY).await.unwrap(),
            1 => stream.write_all(HEAD).await.unwrap(),
            _ => {}
        }
    }
}

async fn until(response: &mut Response<Incoming>, seen: &mut String, wanted: &str) {
    // Over all: heartbeats alone must not keep a test waiting.
    let reading = async {
        while !seen.contains(wanted) {
            let data = response.frame().await.unwrap().unwrap().into_data();
            seen.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
        }
    };
    let came = timeout(LONG * 2, reading).await;
    assert!(came.is_ok(), "never: {wanted:?}; {seen:?}");
}

#[tokio::test]
async fn requests_share_a_connection_and_are_what_they_were() {
    let server = Server::start(100, First::Served).await;
    let proxy = Proxy::start(server.config()).await;
    let mut stream = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut stream.0, &mut stream.1, "data: 0\n").await;
    let mut asked = request("POST", "/a/b?c=%20d", vec![b'x'; 1_000_000]);
    asked
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    asked.headers_mut().insert("x-own", "kept".parse().unwrap());
    let answer = fetch(proxy.addr, asked).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "1000000"));
    assert_eq!(server.connections(), 1);
    let heads = server.shared.heads.lock().unwrap();
    let (_, head) = heads.last().unwrap();
    // The client's host, not the server's address.
    assert_eq!(head.uri(), "http://app.example/a/b?c=%20d");
    assert_eq!(head.headers()["te"], "trailers");
    assert_eq!(head.headers()["x-own"], "kept");
    assert_eq!(head.headers()["x-forwarded-host"], "app.example");
    assert!(!head.headers().contains_key("host"));
}

#[tokio::test]
async fn a_connection_gets_no_more_streams_than_it_may_have() {
    let server = Server::start(2, First::Served).await;
    let proxy = Proxy::start(server.config()).await;
    let mut streams = Vec::new();
    for number in [0, 0, 1, 1, 2] {
        let mut stream = (open(proxy.addr, get("/events")).await, String::new());
        until(&mut stream.0, &mut stream.1, &format!("data: {number}\n")).await;
        streams.push(stream);
    }
    assert_eq!(server.connections(), 3);
    // What is free is used before there is another one.
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn what_a_server_did_nothing_with_is_sent_again() {
    let server = Server::start(100, First::Served).await;
    let proxy = Proxy::start(server.config()).await;
    server.shared.refuses.store(true, Ordering::SeqCst);
    let answer = fetch(proxy.addr, request("POST", "/refused", "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.shared.heads.lock().unwrap().len(), 2);
    // Any other reason may come after it was done.
    let answer = fetch(proxy.addr, request("POST", "/cancelled", "")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(server.shared.heads.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_request_that_a_leaving_server_did_not_heed_is_sent_again() {
    let server = Server::start(100, First::SentAway).await;
    let proxy = Proxy::start(server.config()).await;
    let answer = fetch(proxy.addr, request("POST", "/", "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_leaves_keeps_what_it_has_and_gets_no_more() {
    let server = Server::start(100, First::Served).await;
    let proxy = Proxy::start(server.config()).await;
    let mut stream = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut stream.0, &mut stream.1, "data: 0\n").await;
    server.shared.leave.send_replace(());
    eventually("another connection is made", || async {
        proxy.get("/").await.status == 200 && server.connections() == 2
    })
    .await;
    let metrics = proxy.ask_admin("/metrics").await;
    let reconnects = "sse_upstream_reconnects_total{route=\"/\"} 0\n";
    assert!(metrics.text().contains(reconnects), "{}", metrics.text());
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_left() {
    let server = Server::start(100, First::Dead).await;
    let mut config = server.config();
    config.upstreams.get_mut("app").unwrap().pool.ping = Duration::from_secs(1);
    let proxy = Proxy::start(config).await;
    let (mut stream, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut stream, &mut seen, "data: 1\n").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_refused_connect_moves_on() {
    let server = Server::start(100, First::Served).await;
    let servers = [refused(), format!("http://{}", server.addr)];
    let proxy = Proxy::start(config_of(&servers)).await;
    for _ in 0..4 {
        let answer = fetch(proxy.addr, request("POST", "/", "body")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "4"));
    }
}

#[tokio::test]
async fn health_checks_speak_it_as_well() {
    let server = Server::start(100, First::Served).await;
    let mut config = server.config();
    let check = tower_sse::proxy::config::model::HealthCheck::new(
        "/healthz".into(),
        Duration::from_millis(20),
    );
    config.upstreams.get_mut("app").unwrap().health_check = Some(check);
    let proxy = Proxy::start(config).await;
    eventually("it was asked a few times", || async {
        let heads = server.shared.heads.lock().unwrap();
        let checks = heads
            .iter()
            .filter(|(_, head)| head.uri().path() == "/healthz");
        checks.count() > 3
    })
    .await;
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200);
    assert_eq!(proxy.get("/").await.status, 200);
}
