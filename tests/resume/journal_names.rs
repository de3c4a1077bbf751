//! Streams that are asked for by a name, in another process than the one that
//! has them.

use http::HeaderName;
use http::request::Builder;
use tower_sse::SseLayer;
use tower_sse::resume::settings::{NameSource, Repeat};
use tower_sse::stream::policy::{Linger, Marker};

use crate::journal::World;
use crate::support::{End, event, get, numbers, post, quiet, secs};

fn layer() -> SseLayer {
    SseLayer::new()
        .key_name(NameSource::Header(HeaderName::from_static("x-chat-id")))
        .attach("/chat/{key}/stream")
        .linger(Linger::Complete)
}

fn named(name: &str) -> Builder {
    post("/chat").header("x-chat-id", name)
}

fn of(name: &str) -> Builder {
    get(&format!("/chat/{name}/stream"))
}

fn stop(name: &str) -> Builder {
    of(name).method("DELETE")
}

fn aborted(reason: &str) -> End {
    End::Aborted(format!("event stream cut: {reason}"))
}

#[tokio::test(start_paused = true)]
async fn a_page_comes_back_to_another_process() {
    let world = World::new();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let first = one.app.send(named("7")).await;
    let key = first.header("sse-stream").to_owned();
    world.upstream.pipe(0).send(event(1) + &event(2));
    quiet().await;
    drop(first);
    let mut back = two.app.send(of("7")).await;
    assert_eq!(back.data(2).await, numbers(1..=2));
    let mut by_key = two.app.send(of(&key)).await;
    world.upstream.pipe(0).send(event(3));
    world.upstream.end();
    assert_eq!(back.rest_data().await, (numbers(3..=3), End::Clean));
    assert_eq!(by_key.rest_data().await, (numbers(1..=3), End::Clean));
    assert_eq!(two.app.send(of("8")).await.status(), 204);
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_reaches_the_process_that_has_the_upstream() {
    let world = World::new();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.send(named("7")).await;
    world.upstream.pipe(0).send(event(1));
    assert_eq!(first.data(1).await, ["1"]);
    assert_eq!(two.app.send(stop("7")).await.status(), 204);
    quiet().await;
    assert_eq!(world.upstream.open(), 0);
    assert_eq!(
        first.rest_data().await,
        (vec![], aborted("stopped by its client"))
    );
    let (events, end) = two.app.send(of("7")).await.rest().await;
    assert_eq!(events.len(), 1);
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_request_takes_the_place_of_one_elsewhere() {
    let world = World::new();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut old = one.app.send(named("7")).await;
    quiet().await;
    let mut new = two.app.send(named("7")).await;
    quiet().await;
    assert_eq!((world.upstream.count(), world.upstream.open()), (2, 1));
    assert!(matches!(old.rest().await.1, End::Aborted(_)));
    world.upstream.pipe(1).send(event(2));
    assert_eq!(new.data(1).await, ["2"]);
    // A third process finds the new one by that name.
    let three = world.process(layer());
    assert_eq!(three.app.send(of("7")).await.data(1).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_is_refused_while_one_runs_elsewhere() {
    let world = World::new();
    let layer = || layer().repeat(Repeat::Refuse);
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut old = one.app.send(named("7")).await;
    quiet().await;
    assert_eq!(two.app.send(named("7")).await.status(), 409);
    world.upstream.end();
    assert_eq!(old.rest().await.1, End::Clean);
    quiet().await;
    assert_eq!(two.app.send(named("7")).await.status(), 200);
    assert_eq!(world.upstream.count(), 2);
}

/// Its last event came before its process died: nothing is missing.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_last_event_was_kept_is_whole() {
    for (text, end) in [
        (event(1) + &event("[DONE]"), End::Clean),
        (event(1) + &event(2), aborted("upstream cut")),
    ] {
        let world = World::new();
        let layer = || layer().finish(Marker::Data("[DONE]".into()));
        let (one, two) = (world.process(layer()), world.process(layer()));
        let mut first = one.app.send(named("7")).await;
        world.upstream.pipe(0).send(text);
        let id = first.event().await.id;
        quiet().await;
        one.desk.kill();
        drop(first);
        let mut back = two.app.post("/chat", &id).await;
        tokio::time::sleep(secs(30)).await;
        let (events, how) = back.rest().await;
        assert_eq!((events.len(), how), (1, end));
        assert_eq!(world.upstream.count(), 1);
    }
}
