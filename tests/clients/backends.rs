//! Frameworks people write backends with: a client gets through the proxy just
//! what it gets without.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpListener;

use crate::harness::{Process, Proxy, node, python};

/// Type and data of what each backend sends; in between also a comment, an id
/// and a `retry`.
const VARIED: [(&str, &str); 7] = [
    ("message", "plain"),
    ("message", "two\nlines"),
    ("named", "grüße 🚀"),
    ("message", "with id"),
    ("message", "  indented"),
    ("message", ""),
    ("end", "bye"),
];

#[tokio::test]
async fn express_passes_unchanged() {
    passes_unchanged(node("express_varied.mjs", &[])).await;
}

#[tokio::test]
async fn sse_starlette_passes_unchanged() {
    passes_unchanged(python("starlette_varied.py", &[])).await;
}

#[tokio::test]
async fn axum_passes_unchanged() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/events", get(varied));
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Its `data("")` writes no line at all, so that one event is not sent.
    let sent = VARIED
        .into_iter()
        .filter(|(_, data)| !data.is_empty())
        .collect();
    is_the_same_through_the_proxy(&url, sent).await;
}

async fn varied() -> Sse<impl stream::Stream<Item = Result<Event, Infallible>>> {
    let event = Event::default;
    let events = [
        event().data("plain"),
        event().data("two\nlines"),
        event().event("named").data("grüße 🚀"),
        event().comment("only a comment"),
        event()
            .id("a-1")
            .retry(Duration::from_millis(200))
            .data("with id"),
        event().data("  indented"),
        event().event("end").data("bye"),
    ];
    // Open until the client leaves, as a live stream is.
    let open = stream::iter(events.map(Ok)).chain(stream::pending());
    Sse::new(open).keep_alive(KeepAlive::default())
}

async fn passes_unchanged(mut backend: Process) {
    let port = &backend.report("listening").await["port"];
    is_the_same_through_the_proxy(&format!("http://127.0.0.1:{port}"), VARIED.to_vec()).await;
}

async fn is_the_same_through_the_proxy(backend: &str, sent: Vec<(&str, &str)>) {
    let text = |(kind, data): (&str, &str)| (kind.to_owned(), data.to_owned());
    let sent: Vec<_> = sent.into_iter().map(text).collect();
    assert_eq!(read(backend).await, sent, "the backend itself");
    let proxy = Proxy::start(backend, "heartbeat: 100ms").await;
    assert_eq!(read(proxy.url()).await, sent, "through the proxy");
}

/// Type and data of all events, up to the one of type `end`.
async fn read(server: &str) -> Vec<(String, String)> {
    let url = format!("{server}/events");
    let mut client = node("eventsource.mjs", &["eventsource5", &url, "named", "end"]);
    client.ended().await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let messages = client.reports("message");
    messages
        .iter()
        .map(|message| (text(&message["type"]), text(&message["data"])))
        .collect()
}
