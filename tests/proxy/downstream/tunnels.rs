//! WebSocket and other protocols that take a connection over.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_sse::proxy::config::model::Config;

use crate::feed::PATIENCE;
use crate::harness::{Proxy, config, eventually};
use crate::upstream::{Connection, Upstream, header};

const ASK: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Key: abc=\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: xyz=\r\nX-Kept: 1\r\n\r\n";

/// Says hello with the head, and gives back what it is sent.
async fn echo(mut connection: Connection) {
    if connection.head().await.is_none() {
        return;
    }
    connection.send([SWITCHED, "hello"].concat()).await;
    while let Some(byte) = connection.exactly(1).await {
        connection.send(byte).await;
    }
    connection.send("bye").await;
}

async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut text = vec![0; length];
    let read = timeout(PATIENCE, stream.read_exact(&mut text)).await;
    read.expect("bytes").unwrap();
    String::from_utf8(text).unwrap()
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push_str(&read(stream, 1).await);
    }
    head
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let _ = read.expect("an end");
    String::from_utf8(rest).unwrap()
}

async fn tunnel(proxy: &Proxy) -> TcpStream {
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(ASK.as_bytes()).await.unwrap();
    let head = head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(read(&mut client, 5).await, "hello");
    client
}

#[tokio::test]
async fn bytes_go_both_ways_to_both_ends() {
    let upstream = Upstream::start(echo).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    // The first bytes come along with the head, as eager clients send them.
    client.write_all(ASK.as_bytes()).await.unwrap();
    client.write_all(b"early").await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let value = |name| header(&answer, name).unwrap().to_ascii_lowercase();
    assert_eq!(value("connection"), "upgrade");
    assert_eq!(value("upgrade"), "websocket");
    assert_eq!(value("sec-websocket-accept"), "xyz=");
    assert_eq!(value("x-kept"), "1");
    assert_eq!(header(&answer, "transfer-encoding"), None);
    assert_eq!(read(&mut client, 10).await, "helloearly");
    let large = "x".repeat(300_000);
    let (mut reader, mut writer) = client.into_split();
    let sent = large.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(sent.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut back = String::new();
    let read = timeout(PATIENCE, reader.read_to_string(&mut back)).await;
    read.expect("an end").unwrap();
    writing.await.unwrap();
    // One side may end before the other.
    assert!(back == large + "bye");

    let asked = &upstream.heads()[0];
    assert!(asked.starts_with("GET /chat?x=1 HTTP/1.1\r\n"), "{asked}");
    let value = |name| header(asked, name).unwrap().to_ascii_lowercase();
    assert_eq!(value("connection"), "upgrade");
    assert_eq!(value("upgrade"), "websocket");
    assert_eq!(header(asked, "sec-websocket-key"), Some("abc="));
    assert_eq!(header(asked, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(upstream.heads().len(), 1, "it is asked once");
}

#[tokio::test]
async fn a_refusal_is_an_answer_like_any_other() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let upstream = Upstream::answering(refusal).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    for _ in 0..2 {
        client.write_all(ASK.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        assert_eq!(read(&mut client, 2).await, "no");
    }
}

/// It would have no limits.
#[tokio::test]
async fn an_event_stream_is_no_answer_to_it() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
    let upstream = Upstream::answering(stream).await;
    let proxy = Proxy::start(one_place(&upstream)).await;
    for _ in 0..2 {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_not_switched_to() {
    let upstream = Upstream::answering(SWITCHED.replace("websocket", "other")).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    for ask in [ASK, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(ask.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
}

#[tokio::test]
async fn only_what_the_route_has() {
    let upstream = Upstream::start(echo).await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].upgrade = vec!["other".to_owned()];
    let proxy = Proxy::start(config).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(ASK.as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 501 "));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_passed_over() {
    let upstream = Upstream::start(echo).await;
    let down = crate::harness::refused();
    let proxy = Proxy::to(&[down, upstream.url()]).await;
    for _ in 0..2 {
        tunnel(&proxy).await;
    }
}

#[tokio::test]
async fn silence_ends_a_tunnel() {
    let upstream = Upstream::start(echo).await;
    let mut config = config(&[upstream.url()]);
    config.limits.tunnel_idle = Some(Duration::from_secs(1));
    let proxy = Proxy::start(config).await;
    let mut client = tunnel(&proxy).await;
    assert_eq!(rest(&mut client).await, "");
}

fn one_place(upstream: &Upstream) -> Config {
    let mut config = config(&[upstream.url()]);
    config.limits.streams_per_address = Some(1);
    config
}

#[tokio::test]
async fn a_tunnel_counts_as_a_stream() {
    let upstream = Upstream::start(echo).await;
    let proxy = Proxy::start(one_place(&upstream)).await;
    let first = tunnel(&proxy).await;
    let mut second = TcpStream::connect(proxy.addr).await.unwrap();
    second.write_all(ASK.as_bytes()).await.unwrap();
    assert!(head(&mut second).await.starts_with("HTTP/1.1 429 "));
    drop(first);
    eventually("the place is free", || async {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        head(&mut client).await.starts_with("HTTP/1.1 101 ")
    })
    .await;
}

#[tokio::test]
async fn a_drain_lets_tunnels_be_until_its_deadline() {
    let upstream = Upstream::start(echo).await;
    let mut config = config(&[upstream.url()]);
    config.drain.deadline = Duration::from_secs(6);
    let mut proxy = Proxy::start(config).await;
    let mut client = tunnel(&proxy).await;
    proxy.stop();
    eventually("it drains", || async {
        proxy.ask_admin("/readyz").await.status == 503
    })
    .await;
    client.write_all(b"still").await.unwrap();
    assert_eq!(read(&mut client, 5).await, "still");
    assert_eq!(rest(&mut client).await, "");
    proxy.stopped().await;
}
