//! What owners and followers of a stream owe each other, where it is easily
//! forgotten.

use tower_sse::SseLayer;
use tower_sse::journal::OnLoss;
use tower_sse::resume::settings::BufferSettings;
use tower_sse::stream::policy::Reconnect;

use crate::journal::{World, numbered, resumable};
use crate::support::{End, Upstream, event, numbers, post, quiet, secs, status, with_id};

/// Of an ended stream that a journal has.
async fn ended(layer: fn() -> SseLayer) -> (World, String) {
    let mut over = false;
    let upstream = Upstream::piped_unless(move |call| {
        // The second answer ends the stream, later ones begin another.
        let end = call.number == 1 && !std::mem::replace(&mut over, true);
        end.then(|| status(204).into())
    });
    let world = World {
        upstream,
        ..World::new()
    };
    let one = world.process(layer());
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    quiet().await;
    world.upstream.pipe(0).cut();
    assert_eq!(client.rest_data().await, (numbers(2..=2), End::Clean));
    (world, id)
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_makes_room_whoever_has_it() {
    let (world, id) = ended(|| SseLayer::new().shared()).await;
    let two = world.process(SseLayer::new().shared());
    let mut late = two.app.get("/e", &id).await;
    assert_eq!(late.rest_data().await, (numbers(2..=2), End::Clean));
    // One who has an id of another stream than this.
    let other = "s1.AAAAAAAAAAA.3";
    let three = world.process(SseLayer::new().shared());
    let back = tokio::time::timeout(secs(20), three.app.get("/e", other)).await;
    let mut back = back.expect("an answer");
    assert_eq!(back.resumed(), "gap");
    world.upstream.pipe(1).send(event(3));
    assert_eq!(back.data(1).await, ["3"]);
    assert_eq!(world.upstream.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_makes_room_for_one_who_brings_nothing() {
    let (world, _) = ended(|| SseLayer::new().shared()).await;
    let two = world.process(SseLayer::new().shared());
    let new = tokio::time::timeout(secs(20), two.app.get("/e", "")).await;
    let mut new = new.expect("an answer");
    world.upstream.pipe(1).send(event(3));
    assert_eq!(new.data(1).await, ["3"]);
}

/// A stream is asked for again as it was at first: never by another method.
#[tokio::test(start_paused = true)]
async fn a_post_with_the_id_of_a_get_is_not_sent() {
    let world = World::new();
    let one = world.process(resumable());
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=2));
    let id = client.event().await.id;
    quiet().await;
    drop(client);
    tokio::time::sleep(secs(60)).await;
    let two = world.process(resumable());
    let answer = two.app.post("/e", &id).await;
    assert_eq!(answer.status(), 410);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(world.upstream.count(), 1);
    let mut again = two.app.get("/e", &id).await;
    assert_eq!(again.data(1).await, ["2"]);
}

/// An owner gives back what the journal lost, and dies before it is through.
#[tokio::test(start_paused = true)]
async fn what_was_only_given_back_in_part_is_not_gone_on_from() {
    for alone in [false, true] {
        let world = World::new();
        let one = world.process(SseLayer::new());
        let mut client = one.app.get("/e", "").await;
        if alone {
            world.upstream.pipe(0).send(event(0));
            client.event().await;
            world.shelf.fail_next(1);
        }
        let mut ids = Vec::new();
        for n in 1..=5 {
            world.upstream.pipe(0).send(event(n));
            ids.push(client.event().await.id);
        }
        world.shelf.stall_after(1);
        if alone {
            world.shelf.mend();
        } else {
            world.shelf.lose(3);
        }
        quiet().await;
        one.desk.kill();
        world.shelf.flow();
        world.shelf.trust();
        let two = world.process(SseLayer::new());
        let mut other = two.app.get("/e", &ids[0]).await;
        quiet().await;
        world
            .upstream
            .pipe(1)
            .send((6..=12).map(event).collect::<String>());
        quiet().await;
        other.drain().unwrap();
        for event in other.page.take() {
            let known = ids.iter().position(|id| *id == event.id);
            let before = known.map(|at| (at + 1).to_string());
            assert!(before.is_none_or(|b| b == event.data), "{event:?}");
        }
        // One who saw what nobody has any more is not told that it has all.
        let lost = two.app.get("/e", &ids[4]).await;
        assert_eq!(lost.resumed(), "gap", "alone: {alone}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_lost_its_stream_to_others_does_not_follow_for_ever() {
    let world = World::new();
    let layer = || resumable().shared();
    let (one, two) = (world.process(layer()), world.process(layer()));
    let first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(second.data(1).await, ["1"]);
    drop(first);
    quiet().await;
    // Nobody reads the first one, which goes on for the second.
    one.desk.away(true);
    quiet().await;
    one.desk.away(false);
    quiet().await;
    world.upstream.pipe(1).send(numbered(2..=2));
    assert_eq!(second.data(1).await, ["2"]);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(one.engine.buffered_bytes(), 0);
    assert_eq!(world.upstream.open(), 1);
}

/// An upstream that is gone is gone for those who read elsewhere, too.
#[tokio::test(start_paused = true)]
async fn a_given_up_upstream_is_made_known_to_those_who_follow() {
    let upstream = Upstream::piped_unless(|call| (call.number > 0).then(|| status(503).into()));
    let world = World {
        upstream,
        ..World::new()
    };
    let layer = || {
        resumable().shared().reconnect(Reconnect {
            give_up_after: secs(30),
            ..Reconnect::default()
        })
    };
    let (one, two) = (world.process(layer()), world.process(layer()));
    let first = one.app.get("/e", "").await;
    let mut second = two.app.get("/e", "").await;
    world.upstream.pipe(0).send(numbered(1..=1));
    assert_eq!(second.data(1).await, ["1"]);
    drop(first);
    quiet().await;
    world.upstream.pipe(0).cut();
    let end = tokio::time::timeout(secs(120), second.rest()).await;
    assert!(matches!(end.expect("an end").1, End::Aborted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_that_is_read_elsewhere_does_not_wait_for_readers_here() {
    let world = World::new();
    let layer = || {
        SseLayer::new().buffer(BufferSettings {
            bytes: Some(200),
            ..BufferSettings::default()
        })
    };
    let (one, two) = (world.process(layer()), world.process(layer()));
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    drop(client);
    let mut other = two.app.post("/chat", &id).await;
    for n in 2..=50 {
        world.upstream.pipe(0).send(event(n));
        let next = tokio::time::timeout(secs(100), other.event()).await;
        assert_eq!(next.expect("it goes on").data, n.to_string());
    }
    world.upstream.end();
    assert_eq!(other.rest().await.1, End::Clean);
}

/// What waits for its reader is not trimmed by a restart.
#[tokio::test(start_paused = true)]
async fn a_one_shot_that_filled_its_buffer_is_given_back_whole() {
    let world = World::new();
    let layer = || {
        SseLayer::new().buffer(BufferSettings {
            bytes: Some(200),
            ..BufferSettings::default()
        })
    };
    let one = world.process(layer());
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    drop(client);
    quiet().await;
    for n in ["2", "3", "4", "5", "6"] {
        world.upstream.pipe(0).send(event(n.repeat(150)));
    }
    quiet().await;
    one.desk.kill();
    let two = world.process(layer());
    let mut other = two.app.post("/chat", &id).await;
    assert_eq!(other.resumed(), "exact");
    let (data, end) = other.rest_data().await;
    assert!(data[0].starts_with('2'), "{data:?}");
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_counts_against_the_cap() {
    let world = World::new();
    let one = world.process(SseLayer::new());
    let mut client = one.app.post("/chat", "").await;
    world
        .upstream
        .pipe(0)
        .send(event(1) + &event("x".repeat(20_000)));
    let id = client.event().await.id;
    world.upstream.end();
    client.rest().await;
    let two = world.process(SseLayer::new());
    let _held = two.app.post("/chat", &id).await;
    quiet().await;
    assert!(two.engine.buffered_bytes() > 20_000);
}

/// Nobody has the upstream of a stream that rests, nor of one whose process
/// died: what it sent meanwhile is lost, unless it can go on from an id.
#[tokio::test(start_paused = true)]
async fn exact_is_not_said_of_a_stream_without_an_upstream() {
    for rests in [true, false] {
        let world = World::new();
        let one = world.process(SseLayer::new());
        let mut client = one.app.get("/e", "").await;
        world.upstream.pipe(0).send(event(1) + &event(2));
        client.event().await;
        let id = client.event().await.id;
        if rests {
            drop(client);
            tokio::time::sleep(secs(60)).await;
        } else {
            one.desk.kill();
        }
        let two = world.process(SseLayer::new());
        let back = two.app.get("/e", &id).await;
        assert_eq!(back.resumed(), "gap", "rests: {rests}");
    }
}

/// Nor is it called a gap that another process has the upstream.
#[tokio::test(start_paused = true)]
async fn exact_is_said_where_another_process_has_the_upstream() {
    let world = World::new();
    let (one, two) = (
        world.process(SseLayer::new()),
        world.process(SseLayer::new()),
    );
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    quiet().await;
    let mut back = two.app.get("/e", &id).await;
    assert_eq!(back.resumed(), "exact");
    assert_eq!(back.data(1).await, ["2"]);
    assert_eq!(two.seen.gaps(), []);
}

/// A one-shot's follower cannot go on by itself, and does not know its end.
#[tokio::test(start_paused = true)]
async fn a_one_shot_is_not_truncated_by_a_follower_that_is_cut_off() {
    let world = World::new();
    let one = world.process_that(SseLayer::new(), OnLoss::Continue);
    let two = world.process_that(SseLayer::new(), OnLoss::Continue);
    let mut client = one.app.post("/chat", "").await;
    world.upstream.pipe(0).send(event(1) + &event(2));
    let id = client.event().await.id;
    let mut other = two.app.post("/chat", &id).await;
    assert_eq!(other.data(1).await, ["2"]);
    two.desk.away(true);
    assert!(matches!(other.rest().await.1, End::Aborted(_)));
    let refused = two.app.send(with_id(post("/chat"), &id)).await;
    assert_eq!(refused.status(), 503);
    two.desk.away(false);
    world.upstream.pipe(0).send(event(3));
    world.upstream.end();
    let mut again = two.app.post("/chat", &id).await;
    assert_eq!(again.rest_data().await, (numbers(2..=3), End::Clean));
    assert_eq!(world.upstream.count(), 1);
}

/// A batch whose journal was not waited for is not published, and nothing is
/// published in its place, whenever a client comes.
#[tokio::test(start_paused = true)]
async fn one_that_comes_while_its_stream_is_evicted_misses_nothing() {
    for turns in 0..30 {
        let world = World::new();
        let one = world.process(resumable().buffer(BufferSettings {
            events: Some(4),
            ..BufferSettings::default()
        }));
        let mut client = one.app.get("/e", "").await;
        world.upstream.pipe(0).send(numbered(1..=1));
        let id = client.event().await.id;
        world.shelf.stall_after(0);
        world.upstream.pipe(0).send(numbered(2..=2));
        quiet().await;
        drop(client);
        quiet().await;
        world.shelf.flow();
        // Another stream takes all the room.
        let _greedy = one.app.get("/big", "").await;
        let app = one.app.clone();
        let back = tokio::spawn(async move {
            for _ in 0..turns {
                // Whatever is ready has its turn, but not what has yielded.
                tokio::spawn(async {}).await.unwrap();
            }
            app.get("/e", &id).await
        });
        for _ in 0..15 {
            world.upstream.pipe(1).send(event("x".repeat(300_000)));
        }
        let mut back = back.await.unwrap();
        quiet().await;
        // A cut comes after what was written before it.
        if back.drain().is_err() || back.drain().is_err() {
            continue;
        }
        world.shelf.catch_up();
        quiet().await;
        world.upstream.pipe(0).send(numbered(3..=3));
        if world.upstream.count() > 2 {
            world.upstream.pipe(2).send(numbered(2..=3));
        }
        quiet().await;
        back.drain().unwrap();
        let events = back.page.take().into_iter();
        let data: Vec<_> = events.map(|event| event.data).collect();
        assert_eq!(data, numbers(2..=3), "after {turns} turns");
    }
}
