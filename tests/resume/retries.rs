//! Requests that are sent again: only where the upstream is said to know them,
//! and only if nothing of an answer came.

use tower_sse::SseLayer;

use crate::support::{App, End, Reply, Script, Upstream, event, numbers, post, sse, status};

/// Fails so often, then answers.
fn failing(times: usize) -> Upstream {
    Upstream::new(move |call| match call.number {
        n if n < times => Reply::Unreachable,
        _ => sse(Script::of(event(1))).into(),
    })
}

#[tokio::test(start_paused = true)]
async fn what_got_no_answer_is_sent_again_with_the_same_key_and_body() {
    let upstream = failing(2);
    let app = App::new(&SseLayer::new().retries(2), &upstream);
    let mut client = app.send_body(post("/chat"), "a question").await;
    assert_eq!(client.rest_data().await, (numbers(1..=1), End::Clean));
    let calls = upstream.calls();
    assert_eq!(calls.len(), 3);
    let key = calls[0].header("idempotency-key").to_owned();
    assert_eq!(key.len(), 22);
    for call in &calls {
        assert_eq!(call.body, "a question");
        assert_eq!(call.header("idempotency-key"), key);
    }
    app.post("/chat", "").await;
    assert_ne!(upstream.last_call().header("idempotency-key"), key);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_the_clients_own_stays() {
    let upstream = failing(1);
    let app = App::new(&SseLayer::new().retries(1), &upstream);
    app.send(post("/chat").header("idempotency-key", "mine"))
        .await;
    assert_eq!(upstream.calls()[1].header("idempotency-key"), "mine");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_the_clients() {
    let upstream = failing(9);
    let app = App::new(&SseLayer::new().retries(2), &upstream);
    assert!(app.try_send(post("/chat")).await.is_err());
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_again_unless_the_route_says_so() {
    let upstream = failing(1);
    let app = App::new(&SseLayer::new(), &upstream);
    assert!(app.try_send(post("/chat")).await.is_err());
    assert_eq!(upstream.count(), 1);
    assert_eq!(upstream.last_call().header("idempotency-key"), "");
}

/// An answer is an answer, and a stream that breaks was executed.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_again_after_the_first_byte() {
    let upstream = Upstream::new(|call| match call.number {
        0 => status(503),
        1 => sse(Script::cut_after("")),
        _ => sse(Script::cut_after(event(1))),
    });
    let app = App::new(&SseLayer::new().retries(5), &upstream);
    assert_eq!(app.post("/chat", "").await.status(), 503);
    for n in 2..=3 {
        let (_, end) = app.post("/chat", "").await.rest().await;
        assert!(matches!(end, End::Aborted(_)), "{end:?}");
        assert_eq!(upstream.count(), n);
    }
}
