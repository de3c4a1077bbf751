//! Clients that do not read. They slow nobody, and memory stays what it was.

use tower_sse::observe::GapReason;
use tower_sse::resume::settings::BufferSettings;
use tower_sse::{Engine, SseLayer};

use crate::support::{App, End, Seen, Upstream, event, numbers, quiet};

fn hundred() -> BufferSettings {
    BufferSettings {
        events: Some(100),
        ..BufferSettings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn one_among_fifty_slows_nobody_and_is_told() {
    let (engine, seen) = (Engine::default(), Seen::new());
    let layer = SseLayer::new()
        .shared()
        .buffer(hundred())
        .gap_event("gap")
        .engine(engine.clone())
        .observer(seen.clone());
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let mut stalled = app.get("/e", "").await;
    let mut others = Vec::new();
    for _ in 1..50 {
        others.push(app.get("/e", "").await);
    }
    upstream.pipe(0).send(event(1));
    let last = stalled.event().await.id;
    for n in 1..=1000 {
        if n > 1 {
            upstream.pipe(0).send(event(n));
        }
        for client in &mut others {
            assert_eq!(client.event().await.data, n.to_string());
        }
        assert!(engine.buffered_bytes() < 16 << 10);
    }
    let lagged = "event stream cut: the client fell 899 events behind what is retained";
    assert_eq!(
        stalled.rest_data().await,
        (vec![], End::Aborted(lagged.into()))
    );
    assert_eq!(seen.gaps(), [GapReason::Lagged]);

    let mut back = app.get("/e", &last).await;
    assert_eq!(back.resumed(), "gap");
    let gap = back.event().await;
    assert_eq!(
        (&*gap.kind, &*gap.data),
        ("gap", r#"{"reason":"trimmed","lost":899}"#)
    );
    assert_eq!(back.data(100).await, numbers(901..=1000));
    assert!(
        back.page
            .comments
            .contains(&" sse-resume gap reason=trimmed lost=899".to_owned())
    );
    assert_eq!(upstream.count(), 1);
    // The id of the gap event is the place before the events that are left.
    assert_eq!(app.get("/e", &gap.id).await.resumed(), "exact");
}

/// The one client of a private stream sets the pace of its upstream, as it
/// would without anything in between.
#[tokio::test(start_paused = true)]
async fn the_only_reader_of_a_stream_sets_its_pace() {
    let engine = Engine::default();
    let layer = SseLayer::new().buffer(hundred()).engine(engine.clone());
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let mut client = app.get("/e", "").await;
    (1..=5000).for_each(|n| upstream.pipe(0).send(event(n)));
    quiet().await;
    assert!(
        engine.buffered_bytes() < 32 << 10,
        "{}",
        engine.buffered_bytes()
    );
    assert_eq!(client.data(5000).await, numbers(1..=5000));
}

/// A connection that is dead, but not known to be, does not hold up the one
/// that came in its place.
#[tokio::test(start_paused = true)]
async fn a_dead_connection_does_not_hold_up_its_successor() {
    for post in [false, true] {
        let upstream = Upstream::piped();
        let bytes = BufferSettings {
            bytes: Some(4 << 10),
            ..BufferSettings::default()
        };
        let app = App::new(&SseLayer::new().buffer(bytes), &upstream);
        let mut dead = if post {
            app.post("/e", "").await
        } else {
            app.get("/e", "").await
        };
        upstream.pipe(0).send(event(1));
        let id = dead.event().await.id;
        let mut alive = if post {
            app.post("/e", &id).await
        } else {
            app.get("/e", &id).await
        };
        (2..=1000).for_each(|n| upstream.pipe(0).send(event(n)));
        let read = tokio::time::timeout(crate::support::secs(5), alive.data(999)).await;
        assert_eq!(read.expect("held up"), numbers(2..=1000));
        assert!(matches!(dead.rest().await.1, End::Aborted(_)));
    }
}
