//! Going down: who reads is sent away gently, who cannot come back is let finish.

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_sse::resume::settings::Mode;
use tower_sse::{Engine, SseLayer};

use crate::support::{App, Client, End, Upstream, event, numbers, quiet, secs};

fn drain(engine: &Engine, spread: u64, deadline: u64) -> JoinHandle<f64> {
    let engine = engine.clone();
    tokio::spawn(async move {
        let begin = Instant::now();
        engine.drain(secs(spread), secs(deadline)).await;
        begin.elapsed().as_secs_f64()
    })
}

/// Reads to the end, and says when that was.
fn watch(mut client: Client) -> JoinHandle<(f64, End)> {
    tokio::spawn(async move {
        let begin = Instant::now();
        let (_, end) = client.rest().await;
        (begin.elapsed().as_secs_f64(), end)
    })
}

#[tokio::test(start_paused = true)]
async fn get_readers_end_cleanly_spread_over_time() {
    for shared in [false, true] {
        let engine = Engine::default();
        let mut layer = SseLayer::new().engine(engine.clone());
        if shared {
            layer = layer.shared();
        }
        let upstream = Upstream::piped();
        let app = App::new(&layer, &upstream);
        let mut readers = Vec::new();
        for _ in 0..100 {
            readers.push(watch(app.get("/e", "").await));
        }
        let drained = drain(&engine, 10, 30);
        let mut tenths = [0; 10];
        for reader in readers {
            let (at, end) = reader.await.unwrap();
            assert_eq!(end, End::Clean);
            let tenth = (0..10).rfind(|n| at >= f64::from(*n)).unwrap_or(0);
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        // A hundred at random moments: none of ten seconds is theirs alone.
        assert!(tenths.iter().all(|count| *count < 40), "{tenths:?}");
        assert!(drained.await.unwrap() < 10.2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_may_finish() {
    let engine = Engine::default();
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().engine(engine.clone()), &upstream);
    let mut client = app.post("/chat", "").await;
    let drained = drain(&engine, 10, 30);
    for n in 1..=20 {
        tokio::time::sleep(secs(1)).await;
        upstream.pipe(0).send(event(n));
    }
    upstream.end();
    assert_eq!(client.rest_data().await, (numbers(1..=20), End::Clean));
    drop(client);
    assert!(drained.await.unwrap() < 20.2);
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_is_aborted_at_the_deadline() {
    let engine = Engine::default();
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().engine(engine.clone()), &upstream);
    let client = watch(app.post("/chat", "").await);
    let drained = drain(&engine, 10, 30);
    let (at, end) = client.await.unwrap();
    assert_eq!(end, End::Aborted("event stream cut: shutting down".into()));
    assert!((30.0..30.2).contains(&at), "{at}");
    assert!((30.0..30.2).contains(&drained.await.unwrap()));
}

/// Connections stay open for a while, and clients come on them.
#[tokio::test(start_paused = true)]
async fn clients_that_come_during_the_drain_are_sent_away_too() {
    let engine = Engine::default();
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().engine(engine.clone()), &upstream);
    let first = watch(app.get("/e", "").await);
    let drained = drain(&engine, 5, 30);
    tokio::time::sleep(secs(1) / 10).await;
    let late = watch(app.get("/e", "").await);
    assert_eq!(first.await.unwrap().1, End::Clean);
    let (at, end) = late.await.unwrap();
    assert_eq!(end, End::Clean);
    assert!(at < 5.2, "{at}");
    assert!(drained.await.unwrap() < 5.2);
}

/// A client is sent away between events, with the id of the last one it got.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_by_it() {
    let engine = Engine::default();
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().engine(engine.clone()), &upstream);
    let mut client = app.get("/e", "").await;
    upstream.pipe(0).send(event(1) + &event(2) + "data: ha");
    quiet().await;
    let drained = drain(&engine, 5, 30);
    let (data, end) = client.rest_data().await;
    assert_eq!((data, end), (numbers(1..=2), End::Clean));
    let id = client.page.last_id.clone();
    drop(client);
    drained.await.unwrap();
    upstream.pipe(0).send("lf\n\n");
    let mut back = app.get("/e", &id).await;
    assert_eq!(back.event().await.data, "half");
}

#[tokio::test(start_paused = true)]
async fn no_time_is_too_long() {
    let engine = Engine::default();
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().engine(engine.clone()), &upstream);
    let client = watch(app.get("/e", "").await);
    let drained = drain(&engine, u64::MAX, 30);
    assert!(client.await.unwrap().0 <= 30.2);
    assert!(drained.await.unwrap() <= 30.2);
}

#[tokio::test(start_paused = true)]
async fn with_nobody_there_it_is_done_at_once() {
    assert!(drain(&Engine::default(), 10, 30).await.unwrap() < 0.1);
}

/// They are in nobody's list, and end like the others, but not amid an event.
#[tokio::test(start_paused = true)]
async fn passthrough_readers_end_too_and_posts_do_not() {
    let engine = Engine::default();
    let layer = SseLayer::new()
        .engine(engine.clone())
        .mode(Mode::Passthrough);
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let between = app.get("/e", "").await;
    let amid = app.get("/e", "").await;
    let mut post = app.post("/chat", "").await;
    upstream.pipe(0).send("data: 1\n\n");
    upstream.pipe(1).send("data: 1\n");

    let drained = drain(&engine, 10, 30);
    let (between, amid) = (watch(between), watch(amid));
    let (at, end) = between.await.unwrap();
    assert!(at <= 10.0 && end == End::Clean);
    tokio::time::sleep(secs(10)).await;
    assert!(!amid.is_finished());
    upstream.pipe(1).send("\n");
    assert_eq!(amid.await.unwrap().1, End::Clean);
    upstream.pipe(2).send(event(1));
    assert_eq!(post.event().await.data, "1");
    drained.await.unwrap();
}
