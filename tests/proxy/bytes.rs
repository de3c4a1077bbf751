//! What is not an event stream goes through byte for byte, both ways.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::harness::{self, Proxy, fetch, request};
use crate::upstream::{Upstream, header};

fn random(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

/// Echoes a request's body, with its length.
async fn echo() -> Upstream {
    Upstream::start(|mut connection| async move {
        while let Some((_, body)) = connection.request().await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            connection.send(head).await;
            connection.send(body).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_with_a_length() {
    let upstream = echo().await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let body = random(1 << 20);
    let answer = fetch(proxy.addr, request("POST", "/", body.clone())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-length"], "1048576");
    assert!(answer.body == body);
    assert_eq!(
        header(&upstream.heads()[0], "content-length"),
        Some("1048576")
    );
}

#[tokio::test]
async fn a_body_in_chunks_with_trailers_both_ways() {
    let upstream = Upstream::start(|mut connection| async move {
        while let Some((_, body)) = connection.request().await {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
            connection.send(head).await;
            for chunk in body.chunks(10_007) {
                connection.send(format!("{:x}\r\n", chunk.len())).await;
                connection.send(chunk).await;
                connection.send("\r\n").await;
            }
            connection.send("0\r\nx-sum: 42\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let body = random(1 << 20);
    let trailers = HeaderMap::from_iter([("x-up".parse().unwrap(), HeaderValue::from_static("7"))]);
    let frames = body
        .chunks(8_191)
        .map(|chunk| Frame::data(Bytes::copy_from_slice(chunk)))
        .chain([Frame::trailers(trailers)])
        .map(Ok::<_, std::io::Error>)
        .collect::<Vec<_>>();
    let request = Request::post("/")
        .header("host", "app.example")
        .header("te", "trailers")
        .header("trailer", "x-up")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    let answer = fetch(proxy.addr, request).await;
    let (payload, trailers) = answer.body.split_at(body.len());
    assert!(payload == body);
    assert_eq!(
        trailers, b"x-up: 7\r\n",
        "the upstream saw the request's trailer"
    );
    assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
    assert_eq!(header(&upstream.heads()[0], "te"), Some("trailers"));
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection() {
    let body = random(100_000);
    let mut response = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    response.extend(&body);
    let upstream = Upstream::start(move |mut connection| {
        let response = response.clone();
        async move {
            connection.request().await;
            connection.send(response).await;
        }
    })
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    assert!(proxy.get("/").await.body == body);
}

#[tokio::test]
async fn a_truncated_body_is_not_ended_cleanly() {
    let upstream = Upstream::start(|mut connection| async move {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
    })
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let response = harness::open(proxy.addr, harness::get("/")).await;
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(body.is_err());
}

#[tokio::test]
async fn responses_without_a_body_keep_their_heads() {
    let cases = [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
            200,
            Some("5"),
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
            304,
            None,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nETag: \"a\"\r\n\r\n",
            204,
            None,
        ),
    ];
    for (method, response, status, length) in cases {
        let upstream = Upstream::answering(response).await;
        let proxy = Proxy::to(&[upstream.url()]).await;
        let answer = fetch(proxy.addr, request(method, "/", "")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["etag"], "\"a\"");
        assert!(answer.body.is_empty());
        let found = answer.headers.get("content-length");
        assert_eq!(
            found.map(|value| value.to_str().unwrap()),
            length,
            "{status}"
        );
    }
}

#[tokio::test]
async fn the_target_is_not_touched() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    for target in ["/%7Efoo/..//a?x=%2F&y=%zz&&", "/?", "/a;b=c,d?e?f"] {
        proxy.get(target).await;
        let head = upstream.heads().pop().unwrap();
        assert_eq!(
            head.lines().next(),
            Some(&*format!("GET {target} HTTP/1.1"))
        );
    }
}

#[tokio::test]
async fn interim_responses_are_not_taken_for_the_answer() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    assert_eq!(proxy.get("/").await.text(), "ok");
}
