//! The PROXY protocol.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tower_sse::proxy::config::model::Config;

use crate::feed::{Feed, PATIENCE, refused};
use crate::harness::Proxy;
use crate::upstream::header;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// Version 2, with a TLV nobody knows.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\
    \xcb\x00\x71\x09\x0a\x00\x00\x01\x12\x67\x01\xbb\xee\x00\x01x";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn config_of(feed: &Feed) -> Config {
    let mut config = feed.config();
    let from = ["127.0.0.1"].into_iter().collect();
    config.listeners[0].proxy_protocol = Some(from);
    config
}

async fn connect(addr: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(addr).await.unwrap()
}

/// Everything that is answered to these bytes.
async fn answer(addr: SocketAddr, from: &str, parts: &[&[u8]]) -> String {
    let mut stream = connect(addr, from).await;
    for part in parts {
        let _ = stream.write_all(part).await;
    }
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an end");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_balancer_says_who_the_client_is() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(config_of(&feed)).await;
    for (preface, client) in [
        (V1, "203.0.113.9"),
        (V1_IPV6, "2001:db8::9"),
        (V2, "203.0.113.9"),
        (V1_UNKNOWN, "127.0.0.1"),
        (V2_LOCAL, "127.0.0.1"),
    ] {
        let answer = answer(proxy.addr, "127.0.0.1", &[preface, ASK]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let heads = feed.upstream.heads();
        let head = heads.last().unwrap();
        assert_eq!(header(head, "x-forwarded-for"), Some(client));
    }
}

#[tokio::test]
async fn in_pieces_it_is_the_same() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(config_of(&feed)).await;
    for preface in [V1, V2] {
        let mut stream = connect(proxy.addr, "127.0.0.1").await;
        stream.set_nodelay(true).unwrap();
        for byte in [preface, ASK].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("an end").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn nobody_else_is_served() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(config_of(&feed)).await;
    // From elsewhere, whatever is said; and from the balancer without a header.
    assert_eq!(answer(proxy.addr, "127.0.0.2", &[V1, ASK]).await, "");
    assert_eq!(answer(proxy.addr, "127.0.0.2", &[ASK]).await, "");
    assert_eq!(answer(proxy.addr, "127.0.0.1", &[ASK]).await, "");
    let lie: &[u8] = b"PROXY TCP4 no.body.at.all 10.0.0.1 1 2\r\n";
    assert_eq!(answer(proxy.addr, "127.0.0.1", &[lie, ASK]).await, "");
    assert_eq!(refused(&proxy, "proxy_protocol").await, 4);
    assert!(feed.upstream.heads().is_empty());
}

#[tokio::test]
async fn where_it_is_not_expected_it_is_no_request() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(feed.config()).await;
    for preface in [V1, V2] {
        let answer = answer(proxy.addr, "127.0.0.1", &[preface, ASK]).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    assert!(feed.upstream.heads().is_empty());
}

#[tokio::test]
async fn limits_go_by_what_it_says() {
    let feed = Feed::start().await;
    let mut config = config_of(&feed);
    config.limits.connections_per_address = Some(1);
    let proxy = Proxy::start(config).await;
    let mut held = Vec::new();
    for client in ["203.0.113.9", "203.0.113.10"] {
        let mut stream = connect(proxy.addr, "127.0.0.1").await;
        let preface = format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n");
        stream.write_all(preface.as_bytes()).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut byte = [0];
        let read = timeout(PATIENCE, stream.read_exact(&mut byte)).await;
        read.unwrap().unwrap();
        held.push(stream);
    }
    assert_eq!(answer(proxy.addr, "127.0.0.1", &[V1, ASK]).await, "");
    assert_eq!(refused(&proxy, "connections_per_address").await, 1);
}
