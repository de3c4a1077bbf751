//! Clients whose place in a stream this process does not know yet: the journal
//! is out of reach, or what others published has not arrived.

use tower_sse::journal::OnLoss;
use tower_sse::observe::GapReason;
use tower_sse::stream::policy::Ids;

use crate::journal::{World, numbered, resumable};
use crate::support::{End, event, numbers, quiet, secs};

#[tokio::test(start_paused = true)]
async fn an_id_that_is_ahead_of_a_follower_is_waited_for() {
    // Ours, and the upstream's own: for that one, the upstream would be asked.
    for ids in [Ids::Assign, Ids::Preserve] {
        let world = World::new();
        let layer = || resumable().shared().ids(ids);
        let (one, two) = (world.process(layer()), world.process(layer()));
        let mut first = one.app.get("/e", "").await;
        let _second = two.app.get("/e", "").await;
        quiet().await;
        two.desk.deaf(true);
        world.upstream.pipe(0).send(numbered(1..=2));
        let _first = first.event().await;
        let ahead = first.event().await.id;
        let app = two.app.clone();
        let back = tokio::spawn(async move { app.get("/e", &ahead).await });
        quiet().await;
        assert!(!back.is_finished(), "{ids:?}");
        two.desk.deaf(false);
        let mut back = back.await.unwrap();
        world.upstream.pipe(0).send(numbered(3..=3));
        assert_eq!(
            (back.resumed().to_owned(), back.data(1).await),
            ("exact".to_owned(), numbers(3..=3))
        );
        assert_eq!(world.upstream.count(), 1, "{ids:?}");
    }
}

/// A stream that is here, but not all of it: it is not taken for all there is.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_waits_while_the_journal_is_away() {
    for ids in [Ids::Assign, Ids::Preserve] {
        let world = World::new();
        let layer = || resumable().shared().ids(ids);
        let (one, two) = (world.process(layer()), world.process(layer()));
        let mut first = one.app.get("/e", "").await;
        let _second = two.app.get("/e", "").await;
        quiet().await;
        two.desk.away(true);
        world.upstream.pipe(0).send(numbered(1..=2));
        first.event().await;
        let ahead = first.event().await.id;
        let mut held = two.app.get("/e", &ahead).await;
        assert_eq!((held.status(), held.header("sse-resume")), (200, ""));
        let silence = tokio::time::timeout(secs(40), held.event());
        silence.await.unwrap_err();
        assert!(held.bytes.ends_with(b":\n:\n"), "{ids:?}");
        two.desk.away(false);
        assert_eq!(held.rest().await, (Vec::new(), End::Clean));
        let mut back = two.app.get("/e", &ahead).await;
        world.upstream.pipe(0).send(numbered(3..=3));
        assert_eq!(
            (back.resumed().to_owned(), back.data(1).await),
            ("exact".to_owned(), numbers(3..=3))
        );
        assert_eq!((two.seen.gaps(), world.upstream.count()), (vec![], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_stream_that_is_elsewhere_waits_while_the_journal_is_away() {
    let world = World::new();
    let (one, two) = (world.process(resumable()), world.process(resumable()));
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    two.desk.away(true);
    let mut held = two.app.get("/e", &id).await;
    assert_eq!((held.status(), held.header("sse-resume")), (200, ""));
    world.upstream.pipe(0).send(event(2));
    two.desk.away(false);
    assert_eq!(held.rest().await, (Vec::new(), End::Clean));
    let mut back = two.app.get("/e", &id).await;
    assert_eq!(
        (back.resumed().to_owned(), back.data(1).await),
        ("exact".to_owned(), numbers(2..=2))
    );
    assert_eq!((two.seen.gaps(), world.upstream.count()), (vec![], 1));
}

/// Any other request might have been executed: nobody waits with it.
#[tokio::test(start_paused = true)]
async fn a_post_is_refused_while_the_journal_is_away() {
    let world = World::new();
    let (one, two) = (world.process(resumable()), world.process(resumable()));
    let mut client = one.app.post("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    two.desk.away(true);
    let refused = two.app.post("/e", &id).await;
    assert_eq!(refused.status(), 503);
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(world.upstream.count(), 1);
}

/// Where streams go on without their journal, so do clients.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_journal_that_streams_do_without() {
    let world = World::new();
    let process = || world.process_that(resumable(), OnLoss::Continue);
    let (one, two) = (process(), process());
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    two.desk.away(true);
    let mut back = two.app.get("/e", &id).await;
    assert_eq!(back.resumed().to_owned(), "gap");
    world.upstream.pipe(1).send(event(2));
    assert_eq!(back.data(1).await, ["2"]);
    assert_eq!(two.seen.gaps(), [GapReason::UnknownId]);
}

/// A held client does not keep a process from ending.
#[tokio::test(start_paused = true)]
async fn a_client_that_waits_is_drained() {
    let world = World::new();
    let (one, two) = (world.process(resumable()), world.process(resumable()));
    let mut client = one.app.get("/e", "").await;
    world.upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    two.desk.away(true);
    let mut held = two.app.get("/e", &id).await;
    let drained = two.engine.drain(secs(1), secs(5));
    let (rest, ()) = tokio::join!(held.rest(), drained);
    assert_eq!(rest, (Vec::new(), End::Clean));
}
