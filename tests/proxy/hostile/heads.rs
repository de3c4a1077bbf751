//! Heads without measure.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::rest;
use crate::feed::{Feed, all_get_the_next, readers};
use crate::harness::Proxy;

/// Writes until the proxy will have no more; returns how much it took.
async fn pour(stream: &mut TcpStream, piece: &[u8], most: usize) -> usize {
    let mut poured = 0;
    while poured < most && stream.write_all(piece).await.is_ok() {
        poured += piece.len();
    }
    poured
}

#[tokio::test]
async fn a_head_without_end_is_refused_long_before() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(feed.config()).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let most = 64 << 20;
    for (beginning, piece) in [
        // Many headers, one header, one name, one target, blank lines.
        (
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "X-Flood: 1\r\n".repeat(1000),
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "x".repeat(10_000)),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "x".repeat(10_000)),
        ("GET /", "x".repeat(10_000)),
        ("", "x".repeat(10_000)),
    ] {
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let poured = pour(&mut stream, piece.as_bytes(), most).await;
        assert!(poured < most, "it took {poured} bytes of {beginning:?}");
        let answer = rest(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{answer}");
        all_get_the_next(&mut readers, &feed).await;
    }
    assert_eq!(
        feed.upstream.heads().len(),
        1,
        "only the stream was asked for"
    );
}

/// Requests without end, none of whose answers is read.
#[tokio::test]
async fn a_pipeline_that_nobody_reads_fills_no_memory() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.write_timeout = super::LIMIT;
    let proxy = Proxy::start(config).await;
    let mut readers = readers(&proxy, &feed, 5).await;
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let piece = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let most = 256 << 20;
    let poured = pour(&mut stream, piece.as_bytes(), most);
    let poured = tokio::time::timeout(crate::feed::PATIENCE, poured).await;
    assert!(poured.expect("an end") < most);
    all_get_the_next(&mut readers, &feed).await;
}
