//! Connections and streams of one client.

use http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tower_sse::resume::settings::{Credential, Mode};

use crate::feed::{Feed, PATIENCE, Reader, ask, refused, stream_request};
use crate::harness::{Proxy, eventually, get, request};

fn with_token(token: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = stream_request();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

fn wait_of(response: &Response<Incoming>) -> u64 {
    assert_eq!(response.status(), 429);
    let wait = response.headers()[RETRY_AFTER].to_str().unwrap();
    wait.parse().unwrap()
}

#[tokio::test]
async fn streams_of_one_address_have_a_limit() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.streams_per_address = Some(2);
    let proxy = Proxy::start(config).await;
    let mut first = Reader::open(proxy.addr).await;
    let second = Reader::open(proxy.addr).await;
    let third = ask(proxy.addr, "127.0.0.1", stream_request()).await;
    assert!((5..=10).contains(&wait_of(&third)));
    assert_eq!(refused(&proxy, "streams_per_address").await, 1);

    // Anything but a stream is let through, and others have their own.
    assert_eq!(proxy.get("/").await.text(), "ok");
    let mut other = Reader::of(ask(proxy.addr, "127.0.0.2", stream_request()).await);
    let number = feed.send();
    first.until(number).await;
    other.until(number).await;

    // A place is free when its client is gone.
    drop(second);
    eventually("a place is free", || async {
        let response = ask(proxy.addr, "127.0.0.1", stream_request()).await;
        response.status() == 200
    })
    .await;
}

#[tokio::test]
async fn what_is_no_stream_takes_no_place() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.streams_per_address = Some(1);
    let proxy = Proxy::start(config).await;
    for _ in 0..3 {
        let mut asking = get("/");
        let accept = "text/event-stream".parse().unwrap();
        asking.headers_mut().insert(ACCEPT, accept);
        let plain = ask(proxy.addr, "127.0.0.1", asking).await;
        assert_eq!(plain.status(), 200);
        let posted = ask(proxy.addr, "127.0.0.1", request("POST", "/", "x")).await;
        assert_eq!(posted.status(), 200);
    }
    Reader::open(proxy.addr).await;
}

#[tokio::test]
async fn a_stream_that_nobody_announced_is_counted_too() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.streams_per_address = Some(1);
    let proxy = Proxy::start(config).await;
    let unannounced = || ask(proxy.addr, "127.0.0.1", get("/stream"));
    let first = unannounced().await;
    assert_eq!(first.status(), 200);
    wait_of(&unannounced().await);
    assert_eq!(proxy.get("/").await.text(), "ok");
}

#[tokio::test]
async fn a_request_that_acts_is_refused_before_it_is_sent() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].sse.mode = Mode::Auto;
    config.limits.streams_per_address = Some(1);
    let proxy = Proxy::start(config).await;
    let _held = Reader::open(proxy.addr).await;
    for method in ["POST", "PUT", "DELETE"] {
        let acting = request(method, "/stream", "x");
        wait_of(&ask(proxy.addr, "127.0.0.1", acting).await);
    }
    let acted = |head: &String| !head.starts_with("GET");
    assert!(!feed.upstream.heads().iter().any(acted));
}

#[tokio::test]
async fn streams_of_one_principal_have_a_limit() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].sse.principal = vec![Credential::Header(AUTHORIZATION)];
    config.limits.streams_per_principal = Some(1);
    let proxy = Proxy::start(config).await;
    let alice = ask(proxy.addr, "127.0.0.1", with_token("alice")).await;
    assert_eq!(alice.status(), 200);
    // Wherever she comes from.
    wait_of(&ask(proxy.addr, "127.0.0.2", with_token("alice")).await);
    assert_eq!(refused(&proxy, "streams_per_principal").await, 1);
    let bob = ask(proxy.addr, "127.0.0.1", with_token("bob")).await;
    assert_eq!(bob.status(), 200);
    // Who says nothing is nobody, of whom there may be many.
    for _ in 0..2 {
        Reader::open(proxy.addr).await;
    }
}

#[tokio::test]
async fn connections_of_one_address_have_a_limit() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.connections_per_address = Some(2);
    let proxy = Proxy::start(config).await;
    let first = Reader::open(proxy.addr).await;
    let _second = Reader::open(proxy.addr).await;
    let mut third = TcpStream::connect(proxy.addr).await.unwrap();
    let mut nothing = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, third.read_to_end(&mut nothing)).await;
    assert!(closed.is_ok() && nothing.is_empty());
    assert_eq!(refused(&proxy, "connections_per_address").await, 1);
    let other = ask(proxy.addr, "127.0.0.2", get("/")).await;
    assert_eq!(other.status(), 200);

    drop(first);
    eventually("a place is free", || async {
        let socket = TcpSocket::new_v4().unwrap();
        let mut stream = socket.connect(proxy.addr).await.unwrap();
        let asked = tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
        let mut answer = Vec::new();
        asked.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_brings_more_connections_than_one_client_may_have() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.connections_per_address = Some(1);
    config.trusted_proxies = ["127.0.0.1"].into_iter().collect();
    let proxy = Proxy::start(config).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(Reader::open(proxy.addr).await);
    }
}
