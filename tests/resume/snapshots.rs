//! Upstreams that restate their whole state whenever they are connected to.

use tower_sse::SseLayer;
use tower_sse::stream::policy::UpstreamResume;

use crate::support::{App, Seen, Upstream, event, quiet, secs};

fn layer() -> SseLayer {
    SseLayer::new().resume(UpstreamResume::Snapshot)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_missed_a_snapshot_is_given_it() {
    let seen = Seen::new();
    let upstream = Upstream::piped();
    let app = App::new(&layer().observer(seen.clone()), &upstream);
    let mut client = app.get("/e", "").await;
    upstream.pipe(0).send(event("state 1") + &event("+1"));
    let first = client.event().await.id;
    drop(client);
    upstream.pipe(0).send(event("+2"));
    quiet().await;
    let exact = app.get("/e", &first).await;
    assert_eq!(exact.resumed(), "exact");
    upstream.pipe(0).cut();
    tokio::time::sleep(secs(2)).await;
    upstream.pipe(1).send(event("state 2") + &event("+1"));
    quiet().await;
    let mut back = app.get("/e", &first).await;
    assert_eq!(back.resumed(), "snapshot");
    assert_eq!(back.data(2).await, ["state 2", "+1"]);
    assert_eq!(seen.gaps(), []);
}

/// A late client of a shared stream needs the state, not what comes next.
#[tokio::test(start_paused = true)]
async fn who_joins_begins_at_the_snapshot() {
    let upstream = Upstream::piped();
    let app = App::new(&layer().shared(), &upstream);
    let _first = app.get("/e", "").await;
    upstream.pipe(0).send(event("state 1"));
    quiet().await;
    upstream.pipe(0).cut();
    tokio::time::sleep(secs(2)).await;
    upstream.pipe(1).send(event("state 2") + &event("+1"));
    quiet().await;
    let mut late = app.get("/e", "").await;
    assert_eq!(late.data(2).await, ["state 2", "+1"]);
    assert_eq!(late.resumed(), "snapshot");
}

/// The first connection begins with a snapshot, too.
#[tokio::test(start_paused = true)]
async fn who_joins_early_begins_at_the_first_snapshot() {
    let upstream = Upstream::piped();
    let app = App::new(&layer().shared(), &upstream);
    let mut first = app.get("/e", "").await;
    assert_eq!(first.resumed(), "new");
    upstream.pipe(0).send(event("state 1") + &event("+1"));
    assert_eq!(first.data(2).await, ["state 1", "+1"]);
    let mut late = app.get("/e", "").await;
    assert_eq!(late.data(2).await, ["state 1", "+1"]);
    let back = app.get("/e", &first.page.last_id).await;
    assert_eq!(back.resumed(), "exact");
}

/// Nothing changed: the snapshot repeats the last event.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_says_the_same_is_not_sent_again() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let mut client = app.get("/e", "").await;
    upstream.pipe(0).send(event("state"));
    let first = client.event().await.id;
    upstream.pipe(0).cut();
    tokio::time::sleep(secs(2)).await;
    upstream.pipe(1).send(event("state") + &event("+1"));
    assert_eq!(client.event().await.data, "+1");
    assert_eq!(app.get("/e", &first).await.event().await.data, "+1");
}
