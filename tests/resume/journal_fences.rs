//! What an owner does that is one no more, and what its followers believe.

use tower_sse::SseLayer;
use tower_sse::journal::OnLoss;
use tower_sse::resume::settings::BufferSettings;

use crate::journal::{World, numbered, resumable};
use crate::support::{End, event, numbers, quiet, secs};

/// What the journal refused was seen by nobody: the upstream is asked for it
/// again, and nothing that came in the same piece is published before it.
#[tokio::test(start_paused = true)]
async fn what_a_deposed_owner_read_is_read_again() {
    let world = World::new();
    let one = world.process(resumable().buffer(BufferSettings {
        // Each event is a batch of its own.
        events: Some(4),
        ..BufferSettings::default()
    }));
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(client.data(1).await, ["1"]);
    one.desk.deaf(true);
    world.shelf.depose();
    world.upstream.pipe(0).send(numbered(2..=4));
    quiet().await;
    client.drain().unwrap();
    assert!(client.page.events.is_empty());
    assert_eq!(world.upstream.open(), 0);
    one.desk.deaf(false);
    quiet().await;
    assert_eq!(world.upstream.calls()[1].last_event_id(), "1");
    world.upstream.pipe(1).send(numbered(2..=4));
    assert_eq!(client.data(3).await, numbers(2..=4));
}

/// Another process may connect while a record is still on its way.
#[tokio::test(start_paused = true)]
async fn an_upstream_is_let_go_before_the_journal_answers() {
    let world = World::new();
    let one = world.process_that(resumable(), OnLoss::Pause);
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(client.data(1).await, ["1"]);
    world.shelf.stall_after(0);
    world.upstream.pipe(0).send(numbered(2..=2));
    quiet().await;
    assert_eq!(world.upstream.open(), 1);
    world.shelf.depose();
    quiet().await;
    assert_eq!(world.upstream.open(), 0);
}

/// A follower has read what the journal lost, and others went on without it.
#[tokio::test(start_paused = true)]
async fn a_follower_that_is_ahead_of_the_next_owner_is_cut() {
    let world = World::new();
    let layer = || SseLayer::new().shared();
    let [one, ahead, behind] = [(); 3].map(|()| world.process(layer()));
    let mut first = one.app.get("/e", "").await;
    let mut second = ahead.app.get("/e", "").await;
    let _third = behind.app.get("/e", "").await;
    for n in 1..=4 {
        if n == 3 {
            behind.desk.deaf(true);
        }
        world.upstream.pipe(0).send(event(n));
        quiet().await;
    }
    assert_eq!(first.data(4).await, numbers(1..=4));
    assert_eq!(second.data(4).await, numbers(1..=4));
    ahead.desk.deaf(true);
    one.desk.kill();
    world.shelf.lose(2);
    behind.desk.deaf(false);
    quiet().await;
    for n in 5..=8 {
        world.upstream.pipe(1).send(event(n));
        quiet().await;
    }
    ahead.desk.deaf(false);
    quiet().await;
    let end = tokio::time::timeout(secs(5), second.rest_data()).await;
    let (data, end) = end.expect("an end");
    assert!(data.is_empty(), "{data:?} after what was lost");
    assert!(matches!(end, End::Aborted(_)));
}

/// A one-shot that nobody reads through this process is not over by that.
#[tokio::test(start_paused = true)]
async fn a_follower_that_nobody_reads_leaves_a_one_shot_alone() {
    let world = World::new();
    let layer = SseLayer::new;
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    let mut other = two.app.post("/chat", &id).await;
    assert_eq!(other.data(1).await, ["2"]);
    drop(other);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(two.engine.buffered_bytes(), 0);
    world.upstream.pipe(0).send(event(3));
    world.upstream.end();
    let mut again = two.app.post("/chat", &id).await;
    assert_eq!(again.rest_data().await, (numbers(2..=3), End::Clean));
}

/// The owner lost its upstream: those who follow are told of it.
#[tokio::test(start_paused = true)]
async fn the_owners_doubt_is_its_followers() {
    let world = World::new();
    let layer = || SseLayer::new().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let _first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = second.event().await.id;
    // The owner is told of readers elsewhere only while it has none itself.
    let exact = two.app.get("/e", &id).await;
    assert_eq!(exact.resumed(), "exact");
    world.upstream.pipe(0).cut();
    quiet().await;
    let doubtful = two.app.get("/e", &id).await;
    assert_eq!(doubtful.resumed(), "gap");
}
