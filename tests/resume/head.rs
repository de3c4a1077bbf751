//! Response heads, and answers that are not for the layer to touch.

use http::{Request, Response};
use tower_sse::SseLayer;
use tower_sse::resume::settings::Mode;

use crate::support::{App, End, Reply, Script, Upstream, event, get, post, sse, status};

fn dressed(kind: &str) -> Response<Script> {
    Response::builder()
        .header("content-type", kind)
        .header("content-length", "999")
        .header("cache-control", "public, max-age=60")
        .header("x-app", "mine")
        .header("set-cookie", "session=first")
        .header("access-control-expose-headers", "X-App")
        .body(Script::held_after(event(1)))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_streams_head_keeps_it_from_being_held_up() {
    let upstream = Upstream::new(|_| dressed("Text/Event-Stream;charset=utf-8"));
    let app = App::new(&SseLayer::new(), &upstream);
    let mut first = app.get("/e", "").await;
    let id = first.event().await.id;
    let second = app.get("/e", &id).await;
    for (client, resumed) in [(&first, "new"), (&second, "exact")] {
        assert_eq!(client.status(), 200);
        assert_eq!(
            client.header("content-type"),
            "Text/Event-Stream;charset=utf-8"
        );
        assert_eq!(client.header("cache-control"), "no-cache, no-transform");
        assert_eq!(client.header("x-accel-buffering"), "no");
        assert_eq!(client.header("content-length"), "");
        assert_eq!(client.header("x-app"), "mine");
        assert_eq!(client.resumed(), resumed);
        let exposed: Vec<_> = client
            .head
            .headers
            .get_all("access-control-expose-headers")
            .iter()
            .collect();
        assert_eq!(exposed, ["X-App", "Sse-Resume"]);
    }
    assert_eq!(first.header("set-cookie"), "session=first");
    assert_eq!(second.header("set-cookie"), "");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_is_asked_for_without_compression() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new(), &upstream);
    app.send(get("/e").header("accept-encoding", "gzip, br"))
        .await;
    assert_eq!(upstream.last_call().header("accept-encoding"), "identity");
    // What asks for something else may have it compressed.
    let other = Request::get("/page").header("accept", "text/html");
    app.send(other.header("accept-encoding", "gzip")).await;
    assert_eq!(upstream.last_call().header("accept-encoding"), "gzip");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_an_event_stream_is_untouched() {
    for (code, kind) in [
        (200, "application/json"),
        (503, "text/event-stream"),
        (404, "text/plain"),
        (206, "text/event-stream"),
        (200, "text/event-streams"),
    ] {
        let upstream = Upstream::new(move |_| {
            Response::builder()
                .status(code)
                .header("content-type", kind)
                .header("content-length", "4")
                .header("cache-control", "public")
                .header("set-cookie", "a=b")
                .body(Script::of("data"))
                .unwrap()
        });
        for mode in [Mode::Auto, Mode::Shared, Mode::OneShot, Mode::Passthrough] {
            let app = App::new(&SseLayer::new().mode(mode), &upstream);
            for request in [get("/e"), post("/e")] {
                let mut client = app.send(request).await;
                assert_eq!(client.status(), code);
                assert_eq!(client.header("content-length"), "4");
                assert_eq!(client.header("cache-control"), "public");
                assert_eq!(client.header("set-cookie"), "a=b");
                assert_eq!(client.head.headers.len(), 4);
                assert_eq!(client.text().await, ("data".into(), End::Clean));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_reached_is_the_callers_to_answer() {
    let upstream = Upstream::new(|_| Reply::Unreachable);
    for mode in [Mode::Auto, Mode::Shared, Mode::OneShot, Mode::Passthrough] {
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        let error = app.try_send(get("/e")).await.err().unwrap();
        assert_eq!(error.to_string(), "unreachable, says the test");
    }
}

/// It can be neither read nor added to.
#[tokio::test(start_paused = true)]
async fn a_compressed_event_stream_is_untouched() {
    let upstream = Upstream::new(|_| {
        let mut answer = sse(Script::of(&b"\x1f\x8b\x08 as it is"[..]));
        answer
            .headers_mut()
            .insert("content-encoding", "gzip".parse().unwrap());
        answer
    });
    for mode in [Mode::Auto, Mode::Shared, Mode::OneShot, Mode::Passthrough] {
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        let mut client = app.send(get("/e")).await;
        assert_eq!(client.header("content-encoding"), "gzip");
        assert_eq!(client.head.headers.len(), 2);
        assert_eq!(client.rest().await.1, End::Clean);
        assert_eq!(client.bytes, b"\x1f\x8b\x08 as it is");
    }
}

/// Heads without a body, and protocols that are not HTTP's, are not streams.
#[tokio::test(start_paused = true)]
async fn requests_that_cannot_bring_a_stream_pass() {
    let upstream = Upstream::new(|_| dressed("text/event-stream"));
    for mode in [Mode::Auto, Mode::Shared, Mode::OneShot, Mode::Passthrough] {
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        let head = app.send(Request::head("/e")).await;
        assert_eq!(head.header("cache-control"), "public, max-age=60");
        assert_eq!(head.resumed(), "");
    }
    let app = App::new(&SseLayer::new(), &upstream);
    let upgrade = app.send(get("/e").header("upgrade", "websocket")).await;
    assert_eq!(upgrade.header("content-length"), "999");
}

/// The request that is repeated when the upstream is lost has no body, so it
/// must not speak of one.
#[tokio::test(start_paused = true)]
async fn a_repeated_request_does_not_promise_a_body() {
    let upstream = Upstream::new(|call| match call.number {
        0 => sse(Script::cut_after(event(1))),
        1 => sse(Script::held_after(event(2))),
        _ => status(500),
    });
    let app = App::new(&SseLayer::new(), &upstream);
    let ask = get("/e?x=%20y")
        .header("content-length", "5")
        .header("x-app", "mine");
    let mut client = app.send(ask.header("transfer-encoding", "chunked")).await;
    assert_eq!(client.data(2).await, ["1", "2"]);
    let again = upstream.last_call();
    assert_eq!(again.uri, "/e?x=%20y");
    assert_eq!(again.header("x-app"), "mine");
    assert_eq!(
        (
            again.header("content-length"),
            again.header("transfer-encoding")
        ),
        ("", "")
    );
    assert!(again.body.is_empty());
}
