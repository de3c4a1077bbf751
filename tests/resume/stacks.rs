//! The layer among others: axum's router, plain hyper, a `ServiceBuilder`.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream, StreamExt};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_sse::SseLayer;

use crate::support::socket::{Raw, serve};
use crate::support::{App, Browser, Script, Upstream, event, numbers, secs, sse};

async fn three() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::iter(1..=3).map(|n| Ok(Event::default().data(n.to_string())));
    Sse::new(events.chain(stream::pending())).keep_alive(KeepAlive::default())
}

async fn read(answer: http::Response<Body>, count: usize) -> Vec<crate::support::Event> {
    let mut body = answer.into_body();
    let mut page = Browser::default();
    while page.events.len() < count {
        let frame = body.frame().await.expect("more events").unwrap();
        page.feed(&frame.into_data().unwrap());
    }
    page.take()
}

#[tokio::test(start_paused = true)]
async fn axum() {
    let app = Router::new()
        .route("/events", get(three))
        .route("/chat", post(three))
        .route("/page", get(|| async { "a page" }))
        .layer(SseLayer::new());
    for request in [Request::get("/events"), Request::post("/chat")] {
        let uri = request.uri_ref().unwrap().clone();
        let method = request.method_ref().unwrap().clone();
        let answer = app
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let events = read(answer, 3).await;
        let again = Request::builder().uri(uri).method(method);
        let again = again
            .header("last-event-id", &events[0].id)
            .body(Body::empty())
            .unwrap();
        let answer = app.clone().oneshot(again).await.unwrap();
        assert_eq!(answer.headers()["sse-resume"], "exact");
        let rest = read(answer, 2).await;
        assert_eq!(rest, events[1..]);
    }
    let page = Request::get("/page").body(Body::empty()).unwrap();
    let answer = app.oneshot(page).await.unwrap();
    assert!(!answer.headers().contains_key("sse-resume"));
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "a page"
    );
}

/// axum's own keep-alive comments pass as bare lines.
#[tokio::test(start_paused = true)]
async fn axum_keep_alive() {
    let quiet = || async {
        let events = stream::pending::<Result<Event, Infallible>>();
        Sse::new(events).keep_alive(KeepAlive::new().interval(secs(1)).text("still here"))
    };
    let app = Router::new()
        .route("/events", get(quiet))
        .layer(SseLayer::new());
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let mut body = app.oneshot(request).await.unwrap().into_body();
    for expected in [":\n", ": still here\n", ": still here\n"] {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
    }
}

#[tokio::test]
async fn hyper() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1) + &event(2) + &event(3))));
    let address = serve(SseLayer::new().layer(upstream.clone())).await;
    let mut client = Raw::ask(address, "POST", "").await;
    assert_eq!(client.data(3).await, numbers(1..=3));
    assert_eq!(client.chunk().await, Ok(None));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn service_builder() {
    let upstream = Upstream::new(|_| sse(Script::held_after(event(1) + &event(2))));
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, secs(10));
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::new().allow_origin(Any))
        .layer(timeout())
        .layer(SseLayer::new())
        .layer(TraceLayer::new_for_http())
        .layer(timeout())
        .service(upstream.clone());
    let address = serve(stack).await;
    let mut first = Raw::ask(address, "GET", "").await;
    assert!(first.head.contains("access-control-allow-origin: *"));
    assert!(
        first
            .head
            .contains("access-control-expose-headers: sse-resume")
    );
    assert_eq!(first.data(1).await, ["1"]);
    let id = first.page.last_id.clone();
    drop(first);
    let mut second = Raw::ask(address, "GET", &id).await;
    assert!(second.head.contains("sse-resume: exact"), "{}", second.head);
    second.data(usize::from(!id.ends_with(".2"))).await;
    assert_eq!(upstream.count(), 1);
}

/// A timeout around the layer is one for the head: the body runs on.
#[tokio::test(start_paused = true)]
async fn a_timeout_does_not_end_a_stream() {
    let upstream = Upstream::piped();
    let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, secs(5));
    let app = timeout.layer(SseLayer::new().layer(upstream.clone()));
    let request = Request::get("/e").body(Body::empty()).unwrap();
    let mut body = app.oneshot(request).await.unwrap().into_body();
    for _ in 0..5 {
        assert!(body.frame().await.unwrap().is_ok());
    }
    // Whoever wraps the upstream only is asked again like any other.
    let app = App::new(&SseLayer::new(), &upstream);
    app.get("/e", "").await;
    assert_eq!(upstream.count(), 2);
}
