//! Clients that are slow, stalled or too many.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{LONG, Proxy, config};
use crate::upstream::Upstream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SOON: Duration = Duration::from_millis(50);

async fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "still open after {}", rest.escape_ascii());
    rest
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let upstream = Upstream::answering(OK).await;
    let mut config = config(&[upstream.url()]);
    config.limits.header_timeout = SOON;
    let proxy = Proxy::start(config).await;
    // Nothing, what might be HTTP/2, half a head.
    for start in ["", "P", "PRI", "GET / HTTP/1.1\r\nHost:"] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        ends(&mut client).await;
    }
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn a_head_that_ends_as_http2_began_is_cut() {
    let upstream = Upstream::answering(OK).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    // Long before its time is up, and without a moment's work in between: a
    // proxy that asks the socket again and again would hang this test.
    for start in ["", "P", "PR", "PRI"] {
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        ends(&mut client).await;
    }
    assert_eq!(proxy.get("/").await.text(), "ok");
}

#[tokio::test]
async fn no_limit_is_too_long() {
    let upstream = Upstream::answering(OK).await;
    for longest in [Duration::from_secs(30 * 24 * 60 * 60), Duration::MAX] {
        let mut config = config(&[upstream.url()]);
        config.limits.write_timeout = longest;
        config.limits.header_timeout = longest;
        config.drain.deadline = longest;
        config.drain.spread = longest;
        let app = config.upstreams.get_mut("app").unwrap();
        app.connect_timeout = longest;
        app.response_timeout = Some(longest);
        let mut proxy = Proxy::start(config).await;
        assert_eq!(proxy.get("/").await.text(), "ok");
        proxy.stop();
        proxy.stopped().await;
    }
}

#[tokio::test]
async fn a_head_in_single_bytes_is_read() {
    let upstream = Upstream::answering(OK).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in b"PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(ends(&mut client).await.ends_with(b"ok"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let upstream = Upstream::answering(OK).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let cookie = "x".repeat(100_000);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    let _ = client.write_all(request.as_bytes()).await;
    assert!(ends(&mut client).await.starts_with(b"HTTP/1.1 431 "));
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn above_the_limit_clients_wait() {
    let upstream = Upstream::answering(OK).await;
    let mut config = config(&[upstream.url()]);
    config.limits.connections = 1;
    let proxy = Proxy::start(config).await;
    let mut first = TcpStream::connect(proxy.addr).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();

    let mut second = TcpStream::connect(proxy.addr).await.unwrap();
    second
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let waits = tokio::time::timeout(SOON, second.read_exact(&mut byte)).await;
    assert!(waits.is_err(), "the only slot is taken");
    drop(first);
    tokio::time::timeout(LONG, second.read_exact(&mut byte))
        .await
        .unwrap()
        .unwrap();
}

/// The upstream sends without end, the client does not read. When the proxy
/// gives up on the client, it hangs up on the upstream too.
#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let (told, mut hung_up) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut connection| {
        let told = told.clone();
        async move {
            connection.request().await;
            connection.send("HTTP/1.1 200 OK\r\n\r\n").await;
            while connection.try_send(&vec![b'x'; 65_536]).await {}
            let _ = told.send(());
        }
    })
    .await;
    let mut config = config(&[upstream.url()]);
    config.limits.write_timeout = Duration::from_millis(300);
    let proxy = Proxy::start(config).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(proxy.addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::timeout(LONG, hung_up.recv())
        .await
        .unwrap()
        .unwrap();
}
