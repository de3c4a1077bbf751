//! Spans go to a collector, as part of the trace a request belongs to.

use std::sync::{Arc, Mutex};

use http::Request;
use http_body_util::{BodyExt, Full};

use crate::harness::{fetch, open};
use crate::process::{Folder, Process, patiently};
use crate::upstream::{Upstream, header};

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a collector was sent.
type Sent = Arc<Mutex<Vec<u8>>>;

async fn collector() -> (Upstream, Sent) {
    let sent = Sent::default();
    let seen = Arc::clone(&sent);
    let collector = Upstream::start(move |mut connection| {
        let sent = Arc::clone(&seen);
        async move {
            while let Some((head, body)) = connection.request().await {
                assert!(head.starts_with("POST /v1/traces "), "{head}");
                sent.lock().unwrap().extend_from_slice(&body);
                connection
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
            }
        }
    })
    .await;
    (collector, sent)
}

async fn upstream() -> Upstream {
    Upstream::start(|mut connection| async move {
        while let Some((head, _)) = connection.request().await {
            if head.contains("/events") {
                connection.send(STREAM).await;
                connection.closed().await;
                return;
            }
            connection.send(PLAIN).await;
        }
    })
    .await
}

fn start(folder: &Folder, upstream: &Upstream, collector: &Upstream) -> Process {
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         drain: {{ deadline: 5s, spread: 0s }}\n\
         routes: [{{ path: /, upstream: \"{}\" }}]\n",
        upstream.url()
    );
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())];
    Process::with(&folder.write("proxy.yaml", &text), endpoint)
}

fn traced(path: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(path)
        .header("host", "a")
        .header("accept", "text/event-stream")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .body(Full::default())
        .unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn has(sent: &Sent, part: &[u8]) -> bool {
    let sent = sent.lock().unwrap();
    sent.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_request_is_a_span_between_the_clients_and_the_upstreams() {
    let (folder, upstream) = (Folder::new(), upstream().await);
    let (collector, sent) = collector().await;
    let proxy = start(&folder, &upstream, &collector);
    assert_eq!(fetch(proxy.addr, traced("/plain")).await.text(), "ok");

    let head = upstream.heads().remove(0);
    let context = header(&head, "traceparent").unwrap().to_owned();
    let [_, trace, span, _] = context.split('-').collect::<Vec<_>>()[..] else {
        panic!("{context}");
    };
    assert_eq!(trace, TRACE, "the client's trace");
    assert_ne!(span, PARENT, "and a span of its own");

    // What is left to send is sent at the end.
    proxy.signal("TERM");
    assert!(proxy.end().await.success());
    for part in [bytes(TRACE), bytes(PARENT), bytes(span)] {
        assert!(has(&sent, &part));
    }
    for text in ["request", "sse-proxy", "route"] {
        assert!(has(&sent, text.as_bytes()), "{text}");
    }
}

#[tokio::test]
async fn a_streams_span_ends_with_the_stream() {
    let (folder, upstream) = (Folder::new(), upstream().await);
    let (collector, sent) = collector().await;
    let proxy = start(&folder, &upstream, &collector);
    let mut response = open(proxy.addr, traced("/events")).await;
    response.frame().await.unwrap().unwrap();
    // Sent after it began, as spans are sent when they end.
    fetch(proxy.addr, traced("/plain")).await;
    patiently("the request's span is sent", || async {
        has(&sent, &bytes(TRACE))
    })
    .await;
    let context = |at: usize| {
        let head = upstream.heads().remove(at);
        let context = header(&head, "traceparent").unwrap().to_owned();
        bytes(context.split('-').nth(2).unwrap())
    };
    assert!(has(&sent, &context(1)), "the request's");
    assert!(!has(&sent, &context(0)), "not yet the stream's");
    drop(response);
    proxy.signal("TERM");
    assert!(proxy.end().await.success());
    assert!(has(&sent, &context(0)), "the stream's");
}
