//! A shutdown lets requests finish, and takes no new ones.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::harness::{LONG, Proxy, answer, config, eventually, get, open};
use crate::upstream::Upstream;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";

/// Sends `at_once`, and `later` when allowed to.
async fn gated(at_once: &'static str, later: &'static str) -> (Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let shared = Arc::clone(&gate);
    let upstream = Upstream::start(move |mut connection| {
        let gate = Arc::clone(&shared);
        async move {
            while connection.request().await.is_some() {
                connection.send(at_once).await;
                gate.acquire().await.unwrap().forget();
                connection.send(later).await;
            }
        }
    })
    .await;
    (upstream, gate)
}

#[tokio::test]
async fn a_request_in_flight_finishes_and_nobody_new_comes_in() {
    let (upstream, gate) = gated(HEAD, "done").await;
    let mut proxy = Proxy::to(&[upstream.url()]).await;
    let idle = TcpStream::connect(proxy.addr).await.unwrap();
    let response = open(proxy.addr, get("/")).await;

    proxy.stop();
    eventually("not ready", || async {
        proxy.ask_admin("/readyz").await.status == 503
    })
    .await;
    assert_eq!(proxy.ask_admin("/readyz").await.text(), "draining\n");
    let refused = || async { TcpStream::connect(proxy.addr).await.is_err() };
    eventually("the listener is closed", refused).await;
    let mut rest = Vec::new();
    let mut idle = idle;
    let end = tokio::time::timeout(LONG, idle.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(
        matches!(end, Ok(0) | Err(_)),
        "an idle connection is closed"
    );

    gate.add_permits(1);
    assert_eq!(answer(response).await.text(), "done");
    proxy.stopped().await;
}

#[tokio::test]
async fn a_response_during_the_drain_says_close() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    let (upstream, gate) = gated("", whole).await;
    let mut proxy = Proxy::to(&[upstream.url()]).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("the request arrived", || async {
        upstream.heads().len() == 1
    })
    .await;
    proxy.stop();
    // By then all connections are told.
    let refused = || async { TcpStream::connect(proxy.addr).await.is_err() };
    eventually("the listener is closed", refused).await;
    gate.add_permits(1);
    let mut text = String::new();
    tokio::time::timeout(LONG, client.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(text.ends_with("done"), "{text}");
    assert!(
        text.to_ascii_lowercase()
            .contains("\r\nconnection: close\r\n"),
        "{text}"
    );
    proxy.stopped().await;
}

#[tokio::test]
async fn the_deadline_cuts_what_is_left() {
    let (upstream, _gate) = gated(HEAD, "done").await;
    let mut config = config(&[upstream.url()]);
    config.drain.deadline = Duration::from_millis(50);
    let mut proxy = Proxy::start(config).await;
    let response = open(proxy.addr, get("/")).await;
    proxy.stop();
    proxy.stopped().await;
    let cut = tokio::time::timeout(LONG, response.into_body().collect())
        .await
        .unwrap();
    assert!(cut.is_err(), "cut, not ended as if complete");
}

/// What came compressed is passed on as it is: no heartbeat wakes it, and the
/// engine does not know when it could be ended.
#[tokio::test]
async fn the_deadline_cuts_what_nothing_else_ends() {
    const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                          Content-Encoding: gzip\r\n\r\nnot really";
    let (upstream, _gate) = gated(STREAM, "").await;
    let mut config = config(&[upstream.url()]);
    config.drain.deadline = Duration::from_millis(50);
    let mut proxy = Proxy::start(config).await;
    let mut response = open(proxy.addr, get("/")).await;
    response.frame().await.unwrap().unwrap();
    proxy.stop();
    proxy.stopped().await;
    let end = tokio::time::timeout(LONG, response.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "cut, not ended");
}
