//! One-shots that the application names by a header of its own.

use http::HeaderName;
use http::header::AUTHORIZATION;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_sse::SseLayer;
use tower_sse::resume::settings::{BufferSettings, Mode};
use tower_sse::stream::policy::OnGap;

use crate::support::{App, End, Reply, Script, Upstream, event, get, numbers, post, secs, sse};

fn layer() -> SseLayer {
    SseLayer::new().key_header(HeaderName::from_static("idempotency-key"))
}

/// A client that lost the answer before it saw an id has only the name.
#[tokio::test(start_paused = true)]
async fn the_same_name_gets_the_same_answer_from_its_beginning() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let ask = |name: &str| app.send(post("/chat").header("idempotency-key", name));
    let mut first = ask("a").await;
    upstream.pipe(0).send(event(1) + &event(2));
    let id = first.event().await.id;
    drop(first);

    let mut again = ask("a").await;
    // The ids it was given still lead back to it, too.
    let mut resumed = app.post("/chat", &id).await;
    upstream.pipe(0).send(event(3));
    upstream.end();
    assert_eq!(again.rest_data().await, (numbers(1..=3), End::Clean));
    assert_eq!(resumed.rest_data().await, (numbers(2..=3), End::Clean));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_name_another_principal_and_no_name_are_other_requests() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let ask = |name: &str, user: &str| {
        let request = post("/chat").header("idempotency-key", name);
        app.send(request.header("authorization", user))
    };
    let _first = ask("a", "alice").await;
    let _name = ask("b", "alice").await;
    let _user = ask("a", "bob").await;
    let _none = app.post("/chat", "").await;
    let _none = app.post("/chat", "").await;
    assert_eq!(upstream.count(), 5);
    let _again = ask("a", "alice").await;
    assert_eq!(upstream.count(), 5);
}

/// An id that cannot be read does not make it another request.
#[tokio::test(start_paused = true)]
async fn a_malformed_id_does_not_execute_it_again() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let _first = app.send(post("/chat").header("idempotency-key", "a")).await;
    let again = post("/chat").header("idempotency-key", "a");
    let _again = app.send(again.header("last-event-id", "s1.nonsense")).await;
    assert_eq!(upstream.count(), 1);
}

/// The answer is on its way when the client loses patience.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_head_finds_the_answer_later() {
    let (decide, decided) = oneshot::channel();
    let mut decided = Some(decided);
    let upstream = Upstream::new(move |_| decided.take().map_or(Reply::Unreachable, Reply::Later));
    let app = App::new(&layer(), &upstream);
    let ask = || app.send(post("/chat").header("idempotency-key", "a"));
    assert!(timeout(secs(1), ask()).await.is_err());
    let answer = sse(Script::of(event(1) + &event(2)));
    decide.send(answer.into()).ok().unwrap();
    let mut again = ask().await;
    assert_eq!(again.rest_data().await, (numbers(1..=2), End::Clean));
    assert_eq!(upstream.count(), 1);
}

/// There the key tells feeds apart: two POSTs of one user, or in one language,
/// are still two requests.
#[tokio::test(start_paused = true)]
async fn the_key_of_a_shared_route_names_no_one_shot() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().shared().key_header(AUTHORIZATION);
    let app = App::new(&layer, &upstream);
    let ask = || app.send(post("/feed").header("authorization", "alice"));
    let _first = ask().await;
    let _second = ask().await;
    assert_eq!(upstream.count(), 2);
}

/// What is gone of an answer cannot be had by executing its request again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_trimmed_is_not_generated_again() {
    let upstream = Upstream::piped();
    let small = BufferSettings {
        bytes: Some(4 << 10),
        ..BufferSettings::default()
    };
    let layer = layer().mode(Mode::OneShot).on_gap(OnGap::Reset);
    let app = App::new(&layer.buffer(small), &upstream);
    let ask = || app.send(get("/chat").header("idempotency-key", "a"));
    let mut first = ask().await;
    let long: String = (1..=1000).map(event).collect();
    upstream.pipe(0).send(long);
    assert_eq!(first.data(1000).await.len(), 1000);
    assert_eq!(ask().await.status(), 410);
    assert_eq!(upstream.count(), 1);
}
