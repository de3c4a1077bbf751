//! Streams that are asked for by a name, in another process than the one that
//! has them.

use http::HeaderName;
use http::request::Builder;
use tokio::sync::oneshot;
use tower_sse::SseLayer;
use tower_sse::resume::settings::{NameSource, Repeat};
use tower_sse::stream::policy::{Linger, Marker};

use crate::journal::World;
use crate::support::{End, Reply, Upstream, event, get, numbers, post, quiet, secs, status};

fn layer() -> SseLayer {
    SseLayer::new()
        .key_name(NameSource::Header(HeaderName::from_static("x-chat-id")))
        .attach("/chat/{key}/stream")
        .linger(Linger::Complete)
}

/// Forgets names soon.
fn brief() -> SseLayer {
    layer().max_runtime(secs(90)).retain(secs(60))
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

/// The last event was read and not kept, as the owner was deposed just then:
/// whoever reads on is not told that the answer is whole.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_last_event_was_not_kept_is_cut() {
    let world = World::new();
    let layer = || layer().finish(Marker::Data("[DONE]".into()));
    let one = world.process(layer());
    let mut client = one.app.send(named("7")).await;
    world.upstream.pipe(0).send(event(1));
    assert_eq!(client.data(1).await, ["1"]);
    // It does not hear of it, but is refused.
    one.desk.deaf(true);
    world.shelf.depose();
    world.upstream.pipe(0).send(event("[DONE]"));
    quiet().await;
    one.desk.deaf(false);
    world.shelf.mend();
    tokio::time::sleep(secs(30)).await;
    let (events, end) = client.rest().await;
    assert_eq!(events.len(), 0);
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
}

/// Its principal's others are read in another process: that is not to leave them.
#[tokio::test(start_paused = true)]
async fn what_is_read_elsewhere_is_not_left() {
    let world = World::new();
    let layer = || layer().max_detached(1);
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mine = |request: Builder| request.header("authorization", "alice");
    let mut clients = Vec::new();
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let first = one.app.send(mine(named(name))).await;
        clients.push(two.app.send(mine(of(name))).await);
        quiet().await;
        drop(first);
        quiet().await;
        assert_eq!(world.upstream.open(), n + 1);
    }
    tokio::time::sleep(secs(60)).await;
    assert_eq!(world.upstream.open(), 3);
}

/// A client that leaves while its name is being announced leaves no name behind
/// that nothing came of.
#[tokio::test(start_paused = true)]
async fn a_request_that_its_client_leaves_is_executed_all_the_same() {
    let world = World::new();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let asking = one.app.send(named("7"));
    // It is polled once, and dropped.
    assert!(futures_util::FutureExt::now_or_never(asking).is_none());
    quiet().await;
    assert_eq!(world.upstream.count(), 1);
    world.upstream.pipe(0).send(event(1));
    assert_eq!(two.app.send(of("7")).await.data(1).await, ["1"]);
}

/// However long an answer is read, its request is not executed again.
#[tokio::test(start_paused = true)]
async fn a_name_is_known_while_its_answer_runs() {
    let world = World::new();
    let layer = || brief().repeat(Repeat::Attach);
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.send(named("7")).await;
    world.upstream.pipe(0).send(event(1));
    assert_eq!(first.data(1).await, ["1"]);
    tokio::time::sleep(secs(3600)).await;
    let mut again = two.app.send(named("7")).await;
    assert_eq!(world.upstream.count(), 1);
    assert_eq!(again.data(1).await, ["1"]);
    world.upstream.end();
    assert_eq!(again.rest().await.1, End::Clean);
    drop((first, again));
    // So it is while the answer is retained, and then no longer.
    tokio::time::sleep(secs(30)).await;
    assert_eq!(two.app.send(named("7")).await.rest().await.1, End::Clean);
    assert_eq!(world.upstream.count(), 1);
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(two.app.send(named("7")).await.status(), 200);
    assert_eq!(world.upstream.count(), 2);
}

/// Nor while the upstream takes its time to answer at all.
#[tokio::test(start_paused = true)]
async fn a_name_is_known_before_its_answer_begins() {
    let mut world = World::new();
    let (decide, decided) = oneshot::channel();
    let mut reply = Some(Reply::Later(decided));
    world.upstream = Upstream::piped_unless(move |_| reply.take());
    let layer = || brief().repeat(Repeat::Attach);
    let (one, two) = (world.process(layer()), world.process(layer()));
    let (first, ()) = tokio::join!(one.app.send(named("7")), async {
        tokio::time::sleep(secs(3600)).await;
        // It waits for the answer to the first one, but not for ever.
        assert_eq!(two.app.send(named("7")).await.status(), 503);
        assert_eq!(world.upstream.count(), 1);
        let _ = decide.send(status(200).into());
    });
    assert_eq!(first.status(), 200);
}

/// The journal gave the name, and its answer was lost: nothing was sent under
/// that name, so nothing keeps the next one from it.
#[tokio::test(start_paused = true)]
async fn a_name_that_may_have_been_given_is_taken_back() {
    let world = World::new();
    let (one, two) = (world.process(layer()), world.process(layer()));
    world.shelf.lose_answer();
    assert_eq!(one.app.send(named("7")).await.status(), 503);
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(two.app.send(named("7")).await.status(), 200);
    assert_eq!(world.upstream.count(), 1);
}

/// Nothing came of it, so the name is free, here and elsewhere.
#[tokio::test(start_paused = true)]
async fn a_name_is_free_when_its_request_failed() {
    let mut world = World::new();
    let mut replies = vec![Reply::Unreachable];
    world.upstream = Upstream::piped_unless(move |_| replies.pop());
    let layer = || layer().repeat(Repeat::Refuse);
    let (one, two) = (world.process(layer()), world.process(layer()));
    assert!(one.app.try_send(named("7")).await.is_err());
    assert_eq!(two.app.send(named("7")).await.status(), 200);
}
