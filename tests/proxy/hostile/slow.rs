//! Clients that take all the time there is.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{LIMIT, rest};
use crate::authority::Authority;
use crate::feed::{Feed, PATIENCE, Reader, all_get_the_next, readers};
use crate::harness::{Proxy, listener};

/// How many of them.
const MANY: usize = 200;

async fn connect(proxy: &Proxy, beginning: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..MANY {
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        all.push(stream);
    }
    all
}

/// Sends a byte on each, again and again, until the proxy has closed all.
async fn dribble(mut all: Vec<TcpStream>, readers: &mut [Reader], feed: &Feed, byte: u8) {
    let step = LIMIT / 10;
    let begun = tokio::time::Instant::now();
    while !all.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} are still open", all.len());
        let mut open = Vec::new();
        for mut stream in all {
            let mut answer = [0; 512];
            let closed = match timeout(step / 1000, stream.read(&mut answer)).await {
                Ok(Ok(0) | Err(_)) => true,
                Ok(Ok(_)) | Err(_) => stream.write_all(&[byte]).await.is_err(),
            };
            if !closed {
                open.push(stream);
            }
        }
        all = open;
        all_get_the_next(readers, feed).await;
        tokio::time::sleep(step).await;
    }
}

#[tokio::test]
async fn heads_that_come_by_the_byte() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.header_timeout = LIMIT;
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let all = connect(&proxy, "GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    dribble(all, &mut readers, &feed, b'x').await;
    assert_eq!(
        feed.upstream.heads().len(),
        1,
        "only the stream was asked for"
    );
}

/// A handshake that never begins, or stops, is not waited for longer than its
/// 10 s.
#[tokio::test]
async fn handshakes_that_do_not_go_on() {
    let feed = Feed::start().await;
    let authority = Authority::new("hostile");
    let mut config = feed.config();
    config
        .listeners
        .push(listener(Some(authority.listener(None))));
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let mut all = Vec::new();
    for number in 0..MANY {
        let mut stream = TcpStream::connect(proxy.addrs[1]).await.unwrap();
        // The beginning of a ClientHello of 512 bytes.
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        stream.write_all(&hello[..number % 12]).await.unwrap();
        all.push(stream);
    }
    all_get_the_next(&mut readers, &feed).await;
    for mut stream in all {
        assert_eq!(rest(&mut stream).await, "");
    }
    all_get_the_next(&mut readers, &feed).await;
}

/// Each byte is progress, so it is the connections that are bounded: those of
/// one address never are all there are.
#[tokio::test]
async fn bodies_that_come_by_the_byte() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.body_timeout = Some(LIMIT);
    config.limits.connections = MANY;
    config.limits.connections_per_address = Some(20);
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let mut all = connect(
        &proxy,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
    )
    .await;
    for _ in 0..5 {
        for stream in &mut all {
            let _ = stream.write_all(b"x").await;
        }
        all_get_the_next(&mut readers, &feed).await;
    }
    // Somebody else comes in, and whoever stops is thrown out.
    let other = crate::feed::ask(proxy.addr, "127.0.0.2", crate::harness::get("/")).await;
    assert_eq!(other.status(), 200);
    for mut stream in all {
        rest(&mut stream).await;
    }
    all_get_the_next(&mut readers, &feed).await;
}

#[tokio::test]
async fn bodies_that_stop() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.body_timeout = Some(LIMIT);
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    for mut stream in connect(&proxy, head).await {
        let answer = rest(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{answer}"
        );
    }
    all_get_the_next(&mut readers, &feed).await;
}

/// They ask for a stream and read nothing of it, with the least of buffers.
#[tokio::test]
async fn readers_that_do_not_read() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.write_timeout = LIMIT;
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let mut all = Vec::new();
    for _ in 0..MANY {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stream = socket.connect(proxy.addr).await.unwrap();
        let ask = b"GET /stream HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        all.push(stream);
    }
    for _ in 0..500 {
        all_get_the_next(&mut readers, &feed).await;
    }
    drop(all);
    all_get_the_next(&mut readers, &feed).await;
}
