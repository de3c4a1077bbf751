//! Sizes, and time to gather.

use std::time::Duration;

use tokio::time::Instant;
use tower_sse::resume::settings::BufferSettings;
use tower_sse::{Engine, SseLayer};

use crate::support::{App, End, Upstream, event, numbers, quiet, secs};

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_aborts_the_stream() {
    let big = "x".repeat(2000);
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().max_event_bytes(1000), &upstream);
    for (n, post) in [false, true].into_iter().enumerate() {
        let mut client = if post {
            app.post("/e", "").await
        } else {
            app.get("/e", "").await
        };
        upstream.pipe(n).send(event(1));
        assert_eq!(client.event().await.data, "1");
        upstream.pipe(n).send(event(&big) + &event(3));
        let (data, end) = client.rest_data().await;
        assert!(data.is_empty());
        assert!(matches!(end, End::Aborted(_)), "{end:?}");
    }
    quiet().await;
    assert_eq!((upstream.count(), upstream.open()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn batches_wait_for_more_and_no_longer() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().batch(Duration::from_millis(50));
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    client.chunk().await.unwrap();
    let begin = Instant::now();
    for n in 1..=5 {
        upstream.pipe(0).send(event(n));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.chunk().await.unwrap();
    let waited = begin.elapsed();
    assert_eq!(client.page.take().len(), 5);
    assert!(waited.as_millis().abs_diff(50) <= 2, "{waited:?}");
    // What is gathered when the upstream ends is not lost.
    upstream.pipe(0).send(event(6));
    upstream.pipe(0).cut();
    assert_eq!(client.event().await.data, "6");
}

#[tokio::test(start_paused = true)]
async fn without_a_batch_nothing_waits_for_a_timer() {
    let upstream = Upstream::piped();
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    let begin = Instant::now();
    for n in 1..=100 {
        upstream.pipe(0).send(event(n));
        client.event().await;
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// Streams nobody reads give way first; those that are read trim themselves.
#[tokio::test(start_paused = true)]
async fn an_engine_keeps_to_its_bytes() {
    let engine = Engine::new(256 << 10);
    let layer = SseLayer::new().engine(engine.clone());
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = app.get("/e", "").await;
        for _ in 0..40 {
            upstream.pipe(n).send(event("x".repeat(1000)));
            client.event().await;
        }
        if n % 2 == 0 {
            clients.push(client);
        }
        quiet().await;
        // Each may keep the batch it has just published.
        assert!(
            engine.buffered_bytes() <= 320 << 10,
            "{}",
            engine.buffered_bytes()
        );
    }
    // Those that are read go on.
    for (n, client) in clients.iter_mut().enumerate() {
        upstream.pipe(2 * n).send(event("more"));
        assert_eq!(client.event().await.data, "more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_forgotten_and_its_memory_given_back() {
    let engine = Engine::default();
    let layer = SseLayer::new().engine(engine.clone()).retain(secs(60));
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let mut client = app.get("/e", "").await;
    upstream
        .pipe(0)
        .send((1..=500).map(event).collect::<String>());
    assert_eq!(client.data(500).await, numbers(1..=500));
    assert!(engine.buffered_bytes() > 500 * 30);
    drop(client);
    tokio::time::sleep(secs(30 + 60 + 1)).await;
    assert_eq!(engine.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn old_events_are_forgotten_by_number_bytes_and_age() {
    let few = BufferSettings {
        events: Some(10),
        ..BufferSettings::default()
    };
    let small = BufferSettings {
        bytes: Some(700),
        ..BufferSettings::default()
    };
    let young = BufferSettings {
        age: Some(secs(10)),
        ..BufferSettings::default()
    };
    for buffer in [few, small, young] {
        let upstream = Upstream::piped();
        let app = App::new(&SseLayer::new().buffer(buffer), &upstream);
        let mut client = app.get("/e", "").await;
        let mut ids = Vec::new();
        for n in 1..=50 {
            upstream.pipe(0).send(event(n));
            ids.push(client.event().await.id);
            tokio::time::sleep(secs(1)).await;
        }
        assert_eq!(app.get("/e", &ids[48]).await.resumed(), "exact");
        assert_eq!(app.get("/e", &ids[30]).await.resumed(), "gap");
    }
}

/// Only as many streams give way as must.
#[tokio::test(start_paused = true)]
async fn those_unread_for_longest_are_forgotten_and_no_more() {
    let engine = Engine::new(400 << 10);
    let layer = SseLayer::new().engine(engine.clone());
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let mut ids = Vec::new();
    for n in 0..12 {
        let mut client = app.get("/e", "").await;
        for _ in 0..40 {
            upstream.pipe(n).send(event("x".repeat(1000)));
            ids.resize(n + 1, String::new());
            ids[n] = client.event().await.id;
        }
        drop(client);
        tokio::time::sleep(secs(1)).await;
    }
    assert!(engine.buffered_bytes() <= 400 << 10);
    let mut known = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        if app.get("/e", id).await.resumed() == "exact" {
            known.push(n);
        }
    }
    assert_eq!(known, [4, 5, 6, 7, 8, 9, 10, 11]);
}
