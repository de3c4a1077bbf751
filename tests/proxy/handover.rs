//! A connection before, during and after an event stream. Event streams over
//! HTTP/1.1 are written by the proxy itself, everything else by hyper, and a
//! client must not be able to tell.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_sse::resume::settings::Mode;

use crate::harness::{LONG, Proxy, config, eventually};
use crate::upstream::{Connection, Upstream};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nplain\n";

/// `/stream` answers with two events, the second when told to, and ends.
async fn serve(mut connection: Connection, mut told: watch::Receiver<bool>) {
    while let Some((head, _)) = connection.request().await {
        if !head.contains(" /stream ") {
            connection.send(PLAIN).await;
            continue;
        }
        connection.send(STREAM).await;
        connection.send("data: one\n\n").await;
        if told.wait_for(|told| *told).await.is_ok() {
            connection.send("data: two\n\n").await;
        }
        return;
    }
}

/// A proxy whose streams end with their upstream's.
async fn proxy() -> (Upstream, Proxy, watch::Sender<bool>) {
    let (tell, told) = watch::channel(false);
    let upstream = Upstream::start(move |connection| serve(connection, told.clone())).await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].sse.mode = Mode::OneShot;
    let proxy = Proxy::start(config).await;
    (upstream, proxy, tell)
}

fn ask(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{more}\r\n")
}

/// Reads until the text is there, or to the end.
async fn until(client: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen);
        if !wanted.is_empty() && text.contains(wanted) {
            return text.into_owned();
        }
        let read = timeout(LONG, client.read_buf(&mut seen)).await;
        if read.unwrap().unwrap() == 0 {
            return String::from_utf8(seen).unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_serves_on_after_a_stream() {
    let (_upstream, proxy, tell) = proxy().await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    for again in [false, true] {
        tell.send_replace(again);
        client
            .write_all(ask("/stream", "").as_bytes())
            .await
            .unwrap();
        let seen = until(&mut client, "data: one").await;
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
        assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
        // Asked in the middle of the stream, answered after it.
        client.write_all(ask("/a", "").as_bytes()).await.unwrap();
        client.write_all(ask("/b", "").as_bytes()).await.unwrap();
        tell.send_replace(true);
        let mut seen = seen + &until(&mut client, "plain\n").await;
        while seen.matches("plain\n").count() < 2 {
            seen += &until(&mut client, "plain\n").await;
        }
        let order = [
            "data: one",
            "data: two",
            "\r\n0\r\n\r\nHTTP/1.1 200 OK",
            "plain",
        ];
        let places: Vec<_> = order.iter().map(|part| seen.find(part)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn close_is_said_and_done() {
    let (_upstream, proxy, tell) = proxy().await;
    tell.send_replace(true);
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let request = ask("/stream", "Connection: close\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let seen = until(&mut client, "").await;
    assert!(seen.contains("\r\nconnection: close\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn an_http10_client_gets_no_chunks() {
    let (_upstream, proxy, tell) = proxy().await;
    tell.send_replace(true);
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    let request = ask("/stream", "").replace("HTTP/1.1", "HTTP/1.0");
    client.write_all(request.as_bytes()).await.unwrap();
    let seen = until(&mut client, "").await;
    assert!(
        seen.contains("data: two\n") && seen.ends_with("\n\n"),
        "{seen}"
    );
    assert!(!seen.contains("chunked"), "{seen}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_along() {
    let (_upstream, proxy, _tell) = proxy().await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client
        .write_all(ask("/stream", "").as_bytes())
        .await
        .unwrap();
    until(&mut client, "data: one").await;
    drop(client);
    eventually("the client is gone", async || {
        let metrics = proxy.ask_admin("/metrics").await;
        metrics.text().contains("sse_clients_open{route=\"/\"} 0")
            && metrics.text().contains("sse_connections_open 0")
    })
    .await;
}
