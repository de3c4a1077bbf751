//! Streams that outlive their process, and are read through another one.

use http::HeaderName;
use std::sync::Arc;
use tower_sse::journal::OnLoss;
use tower_sse::observe::{GapReason, Signal};
use tower_sse::stream::policy::{Ids, UpstreamResume};
use tower_sse::{Engine, SseLayer};

use crate::support::shelf::{Desk, Shelf};
use crate::support::{
    App, End, Seen, Upstream, event, event_with_id, get, numbers, post, quiet, secs, status,
    with_id,
};

/// One process: its layer around the common upstream.
pub(crate) struct Process {
    pub(crate) app: App,
    pub(crate) desk: Desk,
    pub(crate) engine: Engine,
    pub(crate) seen: Arc<Seen>,
}

pub(crate) struct World {
    pub(crate) shelf: Shelf,
    pub(crate) upstream: Upstream,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            shelf: Shelf::default(),
            upstream: Upstream::piped(),
        }
    }

    pub(crate) fn process(&self, layer: SseLayer) -> Process {
        self.process_that(layer, OnLoss::Pause)
    }

    pub(crate) fn process_that(&self, layer: SseLayer, on_loss: OnLoss) -> Process {
        let desk = self.shelf.desk(on_loss);
        let engine = Engine::with_journal(1 << 20, Arc::new(desk.clone()));
        let seen = Seen::new();
        let layer = layer.engine(engine.clone()).observer(seen.clone());
        Process {
            app: App::new(&layer, &self.upstream),
            desk,
            engine,
            seen,
        }
    }
}

pub(crate) fn resumable() -> SseLayer {
    SseLayer::new().resume(UpstreamResume::LastEventId)
}

pub(crate) fn keyed() -> SseLayer {
    SseLayer::new().key_header(HeaderName::from_static("x-chat"))
}

pub(crate) fn numbered(range: std::ops::RangeInclusive<usize>) -> String {
    range.map(|n| event_with_id(n, n)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_to_another_process() {
    let world = World::new();
    let (one, two) = (world.process(resumable()), world.process(resumable()));
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=3));
    let id = client.event().await.id;
    quiet().await;
    drop(client);
    let mut client = two.app.get("/e", &id).await;
    assert_eq!(client.resumed().to_owned(), "exact");
    world.upstream.pipe(0).send(numbered(4..=5));
    assert_eq!(client.data(4).await, numbers(2..=5));
    // The first one serves it for as long as the second one reads it.
    tokio::time::sleep(secs(120)).await;
    world.upstream.pipe(0).send(numbered(6..=6));
    assert_eq!(client.data(1).await, ["6"]);
    assert_eq!((world.upstream.count(), world.upstream.open()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_not_held_in_memory_and_comes_back() {
    let world = World::new();
    let one = world.process(resumable());
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=3));
    let id = client.event().await.id;
    quiet().await;
    drop(client);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(one.engine.buffered_bytes(), 0);
    assert_eq!(world.upstream.open(), 0);
    let mut client = one.app.get("/e", &id).await;
    assert_eq!(client.resumed().to_owned(), "exact");
    assert_eq!(client.data(2).await, numbers(2..=3));
    quiet().await;
    assert_eq!(world.upstream.calls()[1].last_event_id(), "3");
    world.upstream.pipe(1).send(numbered(4..=4));
    assert_eq!(client.data(1).await, ["4"]);
    assert_eq!(one.seen.gaps(), []);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_dies_is_replaced_by_one_that_is_read() {
    let world = World::new();
    let layer = || resumable().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=3));
    assert_eq!(first.data(3).await, second.data(3).await);
    assert_eq!(world.upstream.count(), 1);
    one.desk.kill();
    quiet().await;
    assert_eq!(world.upstream.calls()[1].last_event_id(), "3");
    assert_eq!(two.seen.count(Signal::Owned), 1);
    world.upstream.pipe(1).send(numbered(4..=4));
    // What the dead one is still sent, nobody gets.
    world.upstream.pipe(0).send(numbered(4..=4));
    assert_eq!(second.data(1).await, ["4"]);
    quiet().await;
    first.drain().unwrap();
    assert!(first.page.events.is_empty());
    assert_eq!(one.seen.count(Signal::Disowned), 1);
    assert_eq!(world.upstream.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_hands_the_upstream_over_at_once() {
    let world = World::new();
    let layer = || resumable().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(
        (first.data(1).await, second.data(1).await),
        (numbers(1..=1), numbers(1..=1))
    );
    let engine = one.engine.clone();
    let drain = tokio::spawn(async move { engine.drain(secs(5), secs(10)).await });
    quiet().await;
    assert_eq!((world.upstream.count(), world.upstream.open()), (2, 1));
    world.upstream.pipe(1).send(numbered(2..=2));
    // Those who have not been asked to leave yet read on.
    assert_eq!(
        (first.data(1).await, second.data(1).await),
        (numbers(2..=2), numbers(2..=2))
    );
    assert_eq!(first.rest().await.1, End::Clean);
    drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_is_read_through_another_process_and_never_sent_again() {
    let world = World::new();
    let (one, two) = (
        world.process(SseLayer::new()),
        world.process(SseLayer::new()),
    );
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    let mut other = two.app.post("/chat", &id).await;
    world.upstream.pipe(0).send(event(3));
    world.upstream.end();
    assert_eq!(other.rest_data().await, (numbers(2..=3), End::Clean));
    assert_eq!(client.rest_data().await, (numbers(2..=3), End::Clean));
    // Its end is known as well to one that comes later.
    let three = world.process(SseLayer::new());
    let mut late = three.app.post("/chat", &id).await;
    assert_eq!(late.rest_data().await, (numbers(2..=3), End::Clean));
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_whose_process_dies_is_aborted_not_ended() {
    let world = World::new();
    let (one, two) = (
        world.process(SseLayer::new()),
        world.process(SseLayer::new()),
    );
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    quiet().await;
    one.desk.kill();
    let mut other = two.app.post("/chat", &id).await;
    let (data, end) = other.rest_data().await;
    assert_eq!(data, ["2"]);
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
    // And so it is for whoever comes after that.
    let three = world.process(SseLayer::new());
    let (data, end) = three.app.post("/chat", &id).await.rest_data().await;
    assert_eq!(data, ["2"]);
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_named_request_is_executed_by_one_process_only() {
    let world = World::new();
    let (one, two) = (world.process(keyed()), world.process(keyed()));
    let ask = || post("/chat").header("x-chat", "a");
    let mut first = one.app.send(ask()).await;
    world.upstream.pipe(0).send(event(1));
    let mut second = two.app.send(ask()).await;
    world.upstream.pipe(0).send(event(2));
    world.upstream.end();
    assert_eq!(first.rest_data().await, (numbers(1..=2), End::Clean));
    assert_eq!(second.rest_data().await, (numbers(1..=2), End::Clean));
    // Out of reach of the journal, it cannot be known whether it was sent.
    let three = world.process(keyed());
    three.desk.away(true);
    let refused = three.app.send(ask()).await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, "1")
    );
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_named_request_of_which_no_stream_came_may_be_sent_again() {
    let mut refuse = true;
    let upstream = Upstream::piped_unless(move |_| {
        std::mem::replace(&mut refuse, false).then(|| status(429).into())
    });
    let world = World {
        upstream,
        ..World::new()
    };
    let (one, two) = (world.process(keyed()), world.process(keyed()));
    let ask = || post("/chat").header("x-chat", "a");
    assert_eq!(one.app.send(ask()).await.status(), 429);
    let mut again = two.app.send(ask()).await;
    world.upstream.pipe(0).send(event(1));
    world.upstream.end();
    assert_eq!(again.rest_data().await, (numbers(1..=1), End::Clean));
    assert_eq!(world.upstream.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_gets_a_stream_through_another_process() {
    let world = World::new();
    let (one, two) = (world.process(resumable()), world.process(resumable()));
    let mine = get("/e").header("authorization", "alice");
    let mut client = one.app.send(mine).await;
    world.upstream.pipe(0).send(numbered(1..=2));
    let id = client.event().await.id;
    quiet().await;
    let bob = with_id(get("/e").header("authorization", "bob"), &id);
    let theirs = two.app.send(bob).await;
    assert_eq!((theirs.resumed(), world.upstream.count()), ("exact", 2));
    assert_eq!(world.upstream.calls()[1].header("authorization"), "bob");
    let elsewhere = with_id(get("/other").header("authorization", "alice"), &id);
    let _elsewhere = two.app.send(elsewhere).await;
    assert_eq!(world.upstream.count(), 3);
    let alice = with_id(get("/e").header("authorization", "alice"), &id);
    let mut again = two.app.send(alice).await;
    assert_eq!(again.data(1).await, ["2"]);
    assert_eq!(world.upstream.count(), 3);
}

/// What the journal did not take is published under ids that it cannot give to
/// anything else; when it can again, it gets what it lacks.
#[tokio::test(start_paused = true)]
async fn a_failed_append_changes_the_epoch_and_is_made_good() {
    let world = World::new();
    let one = world.process(SseLayer::new());
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let before = client.event().await.id;
    world.shelf.fail_next(1);
    world.upstream.pipe(0).send(event(2));
    let alone = client.event().await.id;
    world.upstream.pipe(0).send(event(3));
    let third = client.event().await.id;
    assert_ne!(epoch(&before), epoch(&alone));
    assert_eq!(epoch(&alone), epoch(&third));
    assert_eq!(one.seen.count(Signal::Durable(false)), 1);
    assert!(!world.shelf.text().contains("data: 2"));
    world.shelf.mend();
    quiet().await;
    assert_eq!(one.seen.count(Signal::Durable(true)), 1);
    world.upstream.pipe(0).send(event(4));
    quiet().await;
    let two = world.process(SseLayer::new());
    // Both old ids and new ones lead to their places.
    let mut other = two.app.get("/e", &before).await;
    assert_eq!(
        (other.resumed().to_owned(), other.data(3).await),
        ("exact".to_owned(), numbers(2..=4))
    );
    let mut other = two.app.get("/e", &third).await;
    assert_eq!(
        (other.resumed().to_owned(), other.data(1).await),
        ("exact".to_owned(), numbers(4..=4))
    );
    assert_eq!(world.upstream.count(), 1);
}

pub(crate) fn epoch(id: &str) -> String {
    id.split('.').nth(1).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_lost_its_tail_never_names_two_events_alike() {
    let world = World::new();
    let layer = || SseLayer::new().shared();
    let one = world.process(layer());
    let mut client = one.app.get("/e", "").await;
    for n in 1..=4 {
        world.upstream.pipe(0).send(event(n));
        quiet().await;
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.event().await.id);
    }
    // Events 3 and 4 were seen, and are not known to anybody any more.
    world.shelf.lose(2);
    one.desk.kill();
    let two = world.process(layer());
    let mut other = two.app.get("/e", &ids[1]).await;
    quiet().await;
    world.upstream.pipe(1).send(event(5) + &event(6));
    let fifth = other.event().await;
    assert_eq!(fifth.data, "5");
    assert!(!ids.contains(&fifth.id));
    assert_eq!(two.seen.gaps(), [GapReason::Upstream]);
    // One who saw them is told that what follows may not be all.
    let lost = two.app.get("/e", &ids[3]).await;
    assert_eq!(lost.resumed().to_owned(), "gap");
}

#[tokio::test(start_paused = true)]
async fn while_the_journal_is_away_nothing_is_delivered_nor_lost() {
    let world = World::new();
    let layer = || resumable().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(first.data(1).await, ["1"]);
    one.desk.away(true);
    two.desk.away(true);
    // One that comes meanwhile is held: for an `EventSource`, any other answer
    // is the end.
    let mut waiting = two.app.get("/e", "").await;
    assert_eq!(waiting.status(), 200);
    world.upstream.pipe(0).send(numbered(2..=2));
    tokio::time::timeout(secs(40), first.event())
        .await
        .unwrap_err();
    assert!(first.bytes.ends_with(b":\n:\n"));
    assert_eq!(world.upstream.open(), 0, "others might connect");
    one.desk.away(false);
    quiet().await;
    assert_eq!(world.upstream.calls()[1].last_event_id(), "1");
    world.upstream.pipe(1).send(numbered(2..=3));
    assert_eq!(first.data(2).await, numbers(2..=3));
    // There is a stream: whoever was held comes back and is told.
    two.desk.away(false);
    assert!(matches!(waiting.rest().await.1, End::Aborted(_)));
    assert_eq!((world.upstream.count(), world.upstream.open()), (2, 1));
    assert_eq!(one.seen.gaps(), []);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_by_itself_gives_the_journal_what_it_missed() {
    let world = World::new();
    let layer = || resumable().shared().ids(Ids::Assign);
    let one = world.process_that(layer(), OnLoss::Continue);
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    let before = client.event().await.id;
    one.desk.away(true);
    world.upstream.pipe(0).send(numbered(2..=2));
    let alone = client.event().await;
    assert_eq!(alone.data, "2");
    assert_ne!(epoch(&alone.id), epoch(&before));
    one.desk.away(false);
    quiet().await;
    world.upstream.pipe(0).send(numbered(3..=3));
    assert_eq!(client.data(1).await, ["3"]);
    let two = world.process(layer());
    let mut other = two.app.get("/e", &alone.id).await;
    assert_eq!(
        (other.resumed().to_owned(), other.data(1).await),
        ("exact".to_owned(), numbers(3..=3))
    );
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_went_on_while_another_did_is_cut() {
    let world = World::new();
    let layer = || resumable().shared();
    let one = world.process_that(layer(), OnLoss::Continue);
    let two = world.process_that(layer(), OnLoss::Continue);
    let mut first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(
        (first.data(1).await, second.data(1).await),
        (numbers(1..=1), numbers(1..=1))
    );
    // Only one of them cannot reach it: the other takes over.
    one.desk.away(true);
    quiet().await;
    assert_eq!(world.upstream.count(), 2);
    world.upstream.pipe(0).send(numbered(2..=2));
    world.upstream.pipe(1).send(numbered(2..=2));
    let id = first.event().await.id;
    assert_eq!(second.data(1).await, ["2"]);
    one.desk.away(false);
    assert!(matches!(first.rest().await.1, End::Aborted(_)));
    // By the upstream's id, it goes on exactly where it was.
    let mut again = one.app.get("/e", &id).await;
    world.upstream.pipe(1).send(numbered(3..=3));
    assert_eq!(
        (again.resumed().to_owned(), again.data(1).await),
        ("exact".to_owned(), numbers(3..=3))
    );
    assert_eq!(world.upstream.open(), 1);
}

/// Layers are told apart by name, so a stream is found although another layer
/// was added before its own.
#[tokio::test(start_paused = true)]
async fn a_named_layer_finds_its_streams_wherever_it_stands() {
    let world = World::new();
    let one = world.process(resumable().name("events"));
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=2));
    let id = client.event().await.id;
    quiet().await;
    let engine = Engine::with_journal(1 << 20, Arc::new(world.shelf.desk(OnLoss::Pause)));
    let first = SseLayer::new().engine(engine.clone());
    let second = resumable().name("events").engine(engine);
    let mut other = App::new(&second, &world.upstream).get("/e", &id).await;
    assert_eq!(other.data(1).await, ["2"]);
    let stranger = App::new(&first, &world.upstream).get("/e", &id).await;
    assert_eq!(world.upstream.count(), 2);
    drop(stranger);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_ahead_of_a_follower_is_waited_for() {
    let world = World::new();
    let layer = || resumable().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut first = one.app.get("/e", "").await;
    let _second = two.app.get("/e", "").await;
    quiet().await;
    two.desk.deaf(true);
    world.upstream.pipe(0).send(event(1) + &event(2));
    let _first = first.event().await;
    let ahead = first.event().await.id;
    let app = two.app.clone();
    let back = tokio::spawn(async move { app.get("/e", &ahead).await });
    quiet().await;
    assert!(!back.is_finished());
    two.desk.deaf(false);
    let mut back = back.await.unwrap();
    world.upstream.pipe(0).send(event(3));
    assert_eq!(
        (back.resumed().to_owned(), back.data(1).await),
        ("exact".to_owned(), numbers(3..=3))
    );
}
