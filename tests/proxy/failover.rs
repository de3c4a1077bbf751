//! A server that cannot be connected to is passed over; a request of which a
//! byte was sent is never sent again.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_sse::proxy::config::model::Balance;

use crate::harness::{self, Proxy, config, eventually, fetch, get, refused, request};
use crate::upstream::Upstream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_refused_connect_moves_on_with_the_body_whole() {
    let upstream = Upstream::start(|mut connection| async move {
        while let Some((_, body)) = connection.request().await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            connection.send(head).await;
            connection.send(body).await;
        }
    })
    .await;
    let proxy = Proxy::to(&[refused(), refused(), upstream.url()]).await;
    let body = vec![b'x'; 100_000];
    for _ in 0..6 {
        let answer = fetch(proxy.addr, request("POST", "/", body.clone())).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body);
    }
}

#[tokio::test]
async fn a_post_is_not_sent_again_after_its_first_byte() {
    let break_off = |mut connection: crate::upstream::Connection| async move {
        connection.head().await;
        connection.reset();
    };
    let (a, b) = (
        Upstream::start(break_off).await,
        Upstream::start(break_off).await,
    );
    let proxy = Proxy::to(&[a.url(), b.url()]).await;
    let answer = fetch(proxy.addr, request("POST", "/", "pay")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(a.heads().len() + b.heads().len(), 1);
}

#[tokio::test]
async fn least_streams_counts_bodies_until_they_end() {
    let gate = Arc::new(Semaphore::new(0));
    let script = |name: &'static str, gate: Arc<Semaphore>| {
        move |mut connection: crate::upstream::Connection| {
            let gate = Arc::clone(&gate);
            async move {
                while let Some((head, _)) = connection.request().await {
                    let start =
                        format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nContent-Length: 1\r\n\r\n");
                    connection.send(start).await;
                    if head.starts_with("GET /slow") {
                        gate.acquire().await.unwrap().forget();
                    }
                    connection.send("x").await;
                }
            }
        }
    };
    let a = Upstream::start(script("a", Arc::clone(&gate))).await;
    let b = Upstream::start(script("b", Arc::clone(&gate))).await;
    let mut config = config(&[a.url(), b.url()]);
    config.upstreams.get_mut("app").unwrap().balance = Balance::LeastStreams;
    let proxy = Proxy::start(config).await;

    let slow = harness::open(proxy.addr, get("/slow")).await;
    let busy = slow.headers()["x-server"].clone();
    for _ in 0..5 {
        assert_ne!(proxy.get("/").await.headers["x-server"], busy);
    }
    gate.add_permits(1);
    assert_eq!(harness::answer(slow).await.text(), "x");
    eventually("the first server is chosen again", || async {
        proxy.get("/").await.headers["x-server"] == busy
    })
    .await;
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let (a, b) = (Upstream::answering(OK).await, Upstream::answering(OK).await);
    let proxy = Proxy::to(&[a.url(), b.url()]).await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "ok");
    }
    assert_eq!((a.heads().len(), b.heads().len()), (3, 3));
}

#[tokio::test]
async fn idle_connections_are_used_again() {
    let upstream = Upstream::answering(OK).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), "ok");
    }
    assert_eq!(upstream.heads().len(), 5);
    assert!(upstream.connections() < 5, "{}", upstream.connections());
}
