//! Sizes and times of a request.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, Request};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::feed::{Feed, PATIENCE, Reader, refused};
use crate::harness::{Proxy, fetch, request};

const SOON: Duration = Duration::from_millis(200);

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset ends it as well.
    let _ = read.expect("an end");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.request_body = Some(1000);
    let proxy = Proxy::start(config).await;
    let allowed = fetch(proxy.addr, request("POST", "/", vec![b'x'; 1000])).await;
    assert_eq!(allowed.status, 200);
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 13];
    let read = timeout(PATIENCE, client.read_exact(&mut status)).await;
    read.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 413 ");
    assert_eq!(refused(&proxy, "request_body").await, 1);
    assert_eq!(feed.upstream.heads().len(), 1);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_cut() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.request_body = Some(1000);
    let proxy = Proxy::start(config).await;
    for (chunks, status) in [(10, 200), (11, 413)] {
        let frames = (0..chunks).map(|_| {
            let data = Bytes::from(vec![b'x'; 100]);
            Ok::<_, std::io::Error>(Frame::data(data))
        });
        let request = Request::post("/")
            .header("host", "app.example")
            .body(StreamBody::new(stream::iter(frames)))
            .unwrap();
        let answer = fetch(proxy.addr, request).await;
        assert_eq!(answer.status, status, "{chunks} chunks");
    }
    assert_eq!(refused(&proxy, "request_body").await, 1);
}

/// The engine reads a body for the name of its stream before anybody else.
#[tokio::test]
async fn whoever_reads_a_body_it_is_bounded() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.request_body = Some(1000);
    config.routes[0].sse.mode = tower_sse::resume::settings::Mode::Auto;
    config.routes[0].sse.key.name = Some(tower_sse::resume::settings::NameSource::Json {
        pointer: "/id".into(),
        max: 1 << 20,
    });
    let proxy = Proxy::start(config).await;
    let frames =
        (0..20).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b' '; 100]))));
    let request = Request::post("/")
        .header("host", "app.example")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    assert_eq!(fetch(proxy.addr, request).await.status, 413);
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.body_timeout = Some(SOON);
    let proxy = Proxy::start(config).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(refused(&proxy, "body_timeout").await, 1);
}

#[tokio::test]
async fn heads_are_bounded_by_bytes_and_by_count() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.header_bytes = 4096;
    config.limits.headers = 20;
    let proxy = Proxy::start(config).await;
    let many = |count: usize| "X-Another: 1\r\n".repeat(count);
    let large = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    for (headers, status) in [
        (many(18), "HTTP/1.1 200 "),
        (many(21), "HTTP/1.1 431 "),
        (large(3900), "HTTP/1.1 200 "),
        (large(4100), "HTTP/1.1 431 "),
    ] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with(status), "{} {answer}", head.len());
    }
}

#[tokio::test]
async fn http2_heads_are_bounded_as_well() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.header_bytes = 4096;
    config.limits.headers = 20;
    let proxy = Proxy::start(config).await;
    let io = TokioIo::new(TcpStream::connect(proxy.addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    for (count, bytes, status) in [(10, 1, 200), (21, 1, 431), (1, 3000, 200), (1, 5000, 431)] {
        let mut request = Request::get("http://app.example/").body(Full::<Bytes>::default());
        let headers = request.as_mut().unwrap().headers_mut();
        for number in 0..count {
            let name: HeaderName = format!("x-{number}").parse().unwrap();
            headers.insert(name, "x".repeat(bytes).parse().unwrap());
        }
        let answer = timeout(PATIENCE, sender.send_request(request.unwrap())).await;
        // Past the size that it was told, a client may refuse to ask.
        match answer.unwrap() {
            Ok(answer) => assert_eq!(answer.status(), status, "{count} of {bytes}"),
            Err(error) => assert!(bytes > 4096, "{error:?}"),
        }
    }
    assert_eq!(refused(&proxy, "headers").await, 1);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.idle_timeout = Some(SOON);
    let proxy = Proxy::start(config).await;
    // After a plain answer, and after an event stream of the same connection.
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"));

    // HTTP/2, which would wait for ever.
    let io = TokioIo::new(TcpStream::connect(proxy.addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://app.example/").body(Full::<Bytes>::default());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let closed = timeout(PATIENCE, connection).await;
    closed.expect("an end").unwrap().expect("in order");
}

#[tokio::test]
async fn an_open_stream_is_not_idle() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.idle_timeout = Some(SOON);
    config.limits.header_timeout = SOON * 10;
    let proxy = Proxy::start(config).await;
    let mut reader = Reader::open(proxy.addr).await;
    // A plain connection meets its limit meanwhile.
    let mut idle = TcpStream::connect(proxy.addr).await.unwrap();
    rest(&mut idle).await;
    let mut idle = TcpStream::connect(proxy.addr).await.unwrap();
    rest(&mut idle).await;
    let number = feed.send();
    reader.until(number).await;
}

#[tokio::test]
async fn no_limit_is_too_long() {
    let feed = Feed::start().await;
    for longest in [Duration::from_secs(30 * 24 * 60 * 60), Duration::MAX] {
        let mut config = feed.config();
        let limits = &mut config.limits;
        limits.idle_timeout = Some(longest);
        limits.body_timeout = Some(longest);
        limits.tunnel_idle = Some(longest);
        limits.max_connection_age = Some(longest);
        limits.request_body = Some(usize::MAX);
        limits.streams_per_address = Some(usize::MAX);
        let proxy = Proxy::start(config).await;
        assert_eq!(proxy.get("/").await.text(), "ok");
        let answer = fetch(proxy.addr, request("POST", "/", "x")).await;
        assert_eq!(answer.status, 200);
        Reader::open(proxy.addr).await;
    }
}

#[tokio::test]
async fn with_an_idle_timeout_a_head_still_has_its_own() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.idle_timeout = Some(PATIENCE * 60);
    config.limits.header_timeout = SOON * 10;
    let proxy = Proxy::start(config).await;
    for start in ["", "GET / HT"] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        rest(&mut client).await;
    }
    // Nor is the second one given longer, once it has begun.
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let mut byte = [0];
    client.read_exact(&mut byte).await.unwrap();
    client.write_all(b"GET / HT").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.ends_with("ok"), "{answer}");
}
