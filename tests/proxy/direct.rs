//! Requests that ask for an event stream, each on an upstream connection of its
//! own, whose body the proxy reads from the socket itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::sync::Notify;
use tokio::time::timeout;
use tower_sse::stream::policy::Linger;

use crate::harness::{Answer, LONG, Proxy, config, fetch, open, refused};
use crate::upstream::{Connection, Upstream};

/// As a browser asks.
fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .uri(path)
        .header("host", "app.example")
        .header("accept", "text/event-stream")
        .body(Empty::new())
        .unwrap()
}

/// Reads until the text is there.
async fn until(addr: SocketAddr, path: &str, wanted: &str) -> String {
    let mut response = open(addr, get(path)).await;
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(wanted) {
            let frame = response.frame().await.unwrap().unwrap();
            let data = frame.into_data().unwrap();
            seen.push_str(std::str::from_utf8(&data).unwrap());
        }
    };
    timeout(LONG, reading).await.unwrap();
    seen
}

/// An upstream that sends these pieces, each on its own, and then waits or
/// hangs up.
async fn pieces(pieces: Vec<&'static str>, wait: bool) -> Upstream {
    Upstream::start(move |mut connection: Connection| {
        let pieces = pieces.clone();
        async move {
            connection.request().await;
            for piece in pieces {
                if !connection.try_send(piece.as_bytes()).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
            if wait {
                std::future::pending::<()>().await;
            }
        }
    })
    .await
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

#[tokio::test]
async fn chunks_cut_anywhere_are_put_together() {
    let sent = [
        HEAD,
        "Transfer-Encoding: chunked\r\n\r\n9",
        ";ext=1\r",
        "\ndata: on",
        "e\r\n1\r\n\n\r\n",
        "0000B\r\n\ndata: two\n\r\n1\r\n\n\r\n",
    ];
    let upstream = pieces(sent.to_vec(), true).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let seen = until(proxy.addr, "/", "data: two\nid: ").await;
    assert!(seen.contains("data: one\nid: "), "{seen}");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection() {
    let upstream = pieces(vec![HEAD, "\r\ndata: o", "ne\n\n"], true).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    until(proxy.addr, "/", "data: one\nid: ").await;
}

/// A cut, an end, and what is no chunk: each is one upstream connection's end,
/// and the next one goes on.
#[tokio::test]
async fn however_a_connection_ends_the_stream_goes_on() {
    for end in ["9\r\ndata: cut", "0\r\n\r\n", "x\r\n", "3\r\n:\n\nlonger"] {
        let sent = vec![
            HEAD,
            "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            end,
        ];
        let upstream = pieces(sent, false).await;
        let mut config = config(&[upstream.url()]);
        config.routes[0].sse.reconnect.initial = Duration::from_millis(1);
        let proxy = Proxy::start(config).await;
        let seen = until(proxy.addr, "/", "sse-resume gap reason=upstream").await;
        assert!(
            seen.contains("data: 1\nid: ") && !seen.contains("cut"),
            "{end}: {seen}"
        );
        assert!(upstream.connections() >= 2, "{end}");
    }
}

#[tokio::test]
async fn any_other_answer_is_passed_on() {
    for (answer, status, body) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            200,
            "{}",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n",
            404,
            "gone",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (
            "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        ("HTTP/1.0 500 No\r\n\r\nold", 500, "old"),
    ] {
        let upstream = pieces(vec![answer], false).await;
        let proxy = Proxy::to(&[upstream.url()]).await;
        let Answer {
            status: seen,
            body: text,
            ..
        } = fetch(proxy.addr, get("/a?b=c")).await;
        assert_eq!(
            (seen.as_u16(), &text[..]),
            (status, body.as_bytes()),
            "{answer}"
        );
        let head = &upstream.heads()[0];
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_lowercase().contains("\r\nhost: app.example\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_of_the_gateway() {
    for (sent, status) in [("", 502), ("HTTP/1.1 2", 502), ("nonsense\r\n\r\n", 502)] {
        let upstream = pieces(vec![sent], false).await;
        let proxy = Proxy::to(&[upstream.url()]).await;
        assert_eq!(fetch(proxy.addr, get("/")).await.status, status, "{sent}");
        assert_eq!(upstream.connections(), 1, "{sent}");
    }
    let refused = Proxy::to(&[refused()]).await;
    assert_eq!(fetch(refused.addr, get("/")).await.status, 502);
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_upstream_connection() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let upstream = Upstream::start(move |mut connection: Connection| {
        let told = Arc::clone(&told);
        async move {
            connection.request().await;
            connection.send(HEAD).await;
            connection.send("\r\ndata: 1\n\n").await;
            connection.closed().await;
            told.notify_one();
        }
    })
    .await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].sse.linger = Linger::For(Duration::ZERO);
    let proxy = Proxy::start(config).await;
    until(proxy.addr, "/", "data: 1").await;
    timeout(LONG, gone.notified()).await.unwrap();
}

/// What asks for an event stream shares no connection, and what does not, does.
#[tokio::test]
async fn each_has_a_connection_of_its_own() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (accept, connections) in [("text/html, text/event-stream", 2), ("*/*", 1)] {
        let upstream = Upstream::answering(answer).await;
        let proxy = Proxy::to(&[upstream.url()]).await;
        for _ in 0..2 {
            let mut request = get("/");
            request
                .headers_mut()
                .insert("accept", accept.parse().unwrap());
            assert_eq!(fetch(proxy.addr, request).await.body, "ok");
        }
        assert_eq!(upstream.connections(), connections, "{accept}");
    }
}
