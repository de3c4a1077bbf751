//! How streams come to an end, and that nothing stays behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tower_sse::log::Position;
use tower_sse::observe::{Observer, Signal};
use tower_sse::stream::policy::{Kind, Linger};
use tower_sse::stream::registry::Registry;
use tower_sse::stream::stream::Phase;

use crate::support::{CLEAN, Pipe, Rig, Setup, Step, data, events, idle, is_aborted, pass};

/// Forgotten, and every byte given back.
fn assert_forgotten(rig: &Rig) {
    assert!(rig.is_gone());
    assert!(rig.pump.is_finished());
    assert!(rig.try_attach(Position::Live).is_none());
    assert_eq!(rig.registry.bytes(), 0);
    assert_eq!(rig.registry.streams().len(), 0);
    assert_eq!(rig.signals.buffered(), 0);
    assert_eq!(rig.signals.count(Signal::StreamOpened), 1);
    assert_eq!(rig.signals.count(Signal::StreamClosed), 1);
    let opened = rig.signals.count(Signal::UpstreamOpened);
    assert_eq!(rig.signals.count(Signal::UpstreamClosed), opened);
    let clients = rig.signals.count(Signal::ClientOpened);
    assert_eq!(rig.signals.count(Signal::ClientClosed), clients);
}

#[tokio::test(start_paused = true)]
async fn linger_closes_the_upstream_and_retention_forgets() {
    let (rig, client) = Setup::new(Kind::Private).read();
    rig.pipe.send(&events(0, 10));
    idle().await;
    assert!(rig.registry.bytes() > 10 * 20);
    drop(client);
    pass(29).await;
    assert!(!rig.pipe.is_dropped());
    pass(2).await;
    assert!(rig.pipe.is_dropped());
    assert_eq!(rig.stream.phase(), Phase::Resting);
    assert!(rig.script.asked().is_empty());
    pass(598).await;
    assert!(!rig.is_gone());
    pass(2).await;
    assert_forgotten(&rig);
}

#[tokio::test(start_paused = true)]
async fn a_client_in_time_finds_what_came_meanwhile() {
    let second = Pipe::new();
    let (rig, client) = Setup::new(Kind::Private)
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("id: 1\ndata: 0\n\n");
    idle().await;
    drop(client);
    rig.pipe.send("id: 2\ndata: 1\n\n");
    pass(20).await;
    let mut client = rig.attach(Position::After(1));
    assert_eq!(data(&client.text()), ["1"]);
    pass(100).await;
    assert!(!rig.pipe.is_dropped(), "somebody reads again");
    drop(client);
    pass(100).await;
    assert_eq!(rig.stream.phase(), Phase::Resting);
    let mut client = rig.attach(Position::After(2));
    assert!(rig.stream.doubtful());
    idle().await;
    assert_eq!(rig.script.asked(), [Some("2".to_owned())]);
    second.send("id: 3\ndata: 2\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn no_linger_is_a_cancellation() {
    let (rig, client) = Setup::new(Kind::OneShot)
        .with(|policy| policy.linger = Linger::For(Duration::ZERO))
        .read();
    rig.pipe.send(&events(0, 1));
    idle().await;
    drop(client);
    idle().await;
    assert!(rig.pipe.is_dropped());
    assert!(matches!(rig.stream.phase(), Phase::Ended(_)));
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_ends_as_its_upstream_did() {
    let (rig, mut client) = Setup::new(Kind::OneShot).read();
    rig.pipe.send(&events(0, 2)).end();
    idle().await;
    assert_eq!(data(&client.text()), ["0", "1"]);
    assert_eq!(client.now(), CLEAN);
    drop(client);
    pass(500).await;
    let mut back = rig.attach(Position::After(1));
    assert_eq!(data(&back.text()), ["1"]);
    assert_eq!(back.now(), CLEAN);
    // Kept for as long again after its last reader.
    pass(500).await;
    drop(back);
    pass(599).await;
    assert!(!rig.is_gone());
    pass(2).await;
    assert_forgotten(&rig);

    let (rig, mut client) = Setup::new(Kind::OneShot).read();
    rig.pipe.send(&events(0, 1)).send("data: half").cut();
    idle().await;
    assert_eq!(data(&client.text()), ["0"]);
    assert!(
        is_aborted(&client.now()),
        "fetch clients take a clean end for success"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_polled_while_nothing_happens() {
    for kind in [Kind::Private, Kind::Shared, Kind::OneShot] {
        let (rig, mut client) = Setup::new(kind)
            .with(|policy| policy.limits.events = 8)
            .read();
        rig.pipe.send(&events(0, 4));
        idle().await;
        client.text();
        pass(400).await;
        let before = rig.polls();
        pass(100_000).await;
        assert_eq!(rig.polls(), before, "{kind:?}, read");

        // Blocked, or not slowed: either way, at rest.
        rig.pipe.send(&events(4, 100));
        pass(400).await;
        let before = rig.polls();
        pass(100_000).await;
        assert!(rig.polls() <= before + 2, "{kind:?}, stalled");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_in_few_polls() {
    let (rig, client) = Setup::new(Kind::Private).read();
    rig.pipe.send(&events(0, 4));
    idle().await;
    drop(client);
    let before = rig.polls();
    pass(10_000).await;
    assert_forgotten(&rig);
    // Its reader left, the data aged, the linger ended, it is forgotten.
    assert!(rig.polls() - before <= 12, "{} polls", rig.polls() - before);
}

/// A chunk, and a token held as long as it is.
struct Held(
    String,
    #[expect(dead_code, reason = "counted, never read")] Arc<()>,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_decoded_goes_with_the_connection() {
    let (rig, client) = Setup::new(Kind::OneShot)
        .with(|policy| policy.limits.bytes = 200)
        .read();
    let token = Arc::new(());
    let chunk = Held(events(0, 100), Arc::clone(&token));
    rig.pipe.send_bytes(Bytes::from_owner(chunk));
    pass(1).await;
    assert!(rig.high() < 100, "the buffer is full");
    assert_eq!(Arc::strong_count(&token), 2);
    drop(client);
    pass(31).await;
    assert!(rig.pipe.is_dropped());
    assert!(!rig.is_gone());
    assert_eq!(Arc::strong_count(&token), 1);
}

/// Over the cap, what is not read gives way, the longest unread first, and no
/// more than is needed.
#[tokio::test(start_paused = true)]
async fn the_cap_evicts_the_longest_unread() {
    let registry = Arc::new(Registry::new(100_000));
    let start = || {
        let mut setup = Setup::new(Kind::Shared);
        setup.registry = Arc::clone(&registry);
        setup.policy.linger = Linger::For(Duration::from_secs(10_000));
        setup.read()
    };
    let mut unread = Vec::new();
    for _ in 0..5 {
        let (rig, client) = start();
        rig.pipe.send(&format!("data: {}\n\n", "x".repeat(9_000)));
        pass(1).await;
        drop(client);
        unread.push(rig);
    }
    let (reading, mut client) = start();
    reading
        .pipe
        .send(&format!("data: {}\n\n", "x".repeat(20_000)));
    idle().await;
    client.text();
    assert!(registry.bytes() < 100_000, "{}", registry.bytes());
    assert!(unread.iter().all(|rig| !rig.is_gone()));

    reading
        .pipe
        .send(&format!("data: {}\n\n", "x".repeat(11_000)));
    idle().await;
    let gone: Vec<_> = unread.iter().map(Rig::is_gone).collect();
    assert_eq!(gone, [true, false, false, false, false], "as few as needed");
    assert!(registry.bytes() < 100_000);
    assert_eq!(reading.high(), 2);
    assert_eq!(reading.data().len(), 2, "what is read keeps its history");
    assert_eq!(data(&client.text()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_nobody_unread_a_stream_gives_up_its_own() {
    let registry = Arc::new(Registry::new(50_000));
    let mut setup = Setup::new(Kind::Shared);
    setup.registry = Arc::clone(&registry);
    let (rig, mut client) = setup.read();
    for _ in 0..100 {
        rig.pipe.send(&format!("data: {}\n\n", "x".repeat(2_000)));
        idle().await;
        assert!(registry.bytes() <= 50_000);
        assert_eq!(
            data(&client.text()).len(),
            1,
            "those that keep up see nothing of it"
        );
    }
    let retained = rig.stream.log().with(tower_sse::log::Ring::bytes) as u64;
    assert_eq!(registry.bytes(), retained + 4096);
    assert_eq!(rig.signals.buffered(), i64::try_from(retained).unwrap());
}

/// Does something just when bytes are given up.
struct Hook(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for Hook {
    fn observe(&self, signal: Signal) {
        if matches!(signal, Signal::Buffered(..=0)) {
            let hook = self.0.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
        }
    }
}

/// Whoever comes just as a stream is evicted keeps it.
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_in_time_stops_an_eviction() {
    let registry = Arc::new(Registry::new(30_000));
    let mut setup = Setup::new(Kind::Shared);
    setup.registry = Arc::clone(&registry);
    let (rig, client) = setup.read();
    let rig = Arc::new(rig);
    rig.pipe.send(&events(0, 1));
    idle().await;
    drop(client);
    idle().await;

    // Another stream needs the room, and more: it evicts this one, then gives
    // up what it holds itself. Now somebody comes, before the one evicted has
    // had its turn.
    let (coming, came) = std::sync::mpsc::channel();
    let there = Arc::clone(&rig);
    let hook = move || coming.send(there.try_attach(Position::Live)).unwrap();
    let mut other = Setup::new(Kind::Shared)
        .with(|policy| policy.observer = Arc::new(Hook(Mutex::new(Some(Box::new(hook))))));
    other.registry = Arc::clone(&registry);
    let (other, _reader) = other.read();
    let large = format!("data: {}\n\n", "x".repeat(40_000));
    other.pipe.send(&large);
    idle().await;
    let client = came.try_recv().unwrap();
    assert!(client.is_some() && !rig.is_gone());
    assert_eq!(rig.data(), ["0"]);
    drop(client);
    idle().await;
    assert!(!rig.is_gone(), "the order was for then");
    other.pipe.send(&large);
    idle().await;
    assert!(rig.is_gone());
}

/// The service that is asked is the application's: it may panic.
#[tokio::test(start_paused = true)]
async fn a_panic_upstream_leaves_no_ghost() {
    let (rig, mut client) = Setup::new(Kind::Shared).then(Step::Panic).read();
    rig.pipe.send(&events(0, 3)).end();
    pass(2).await;
    assert!(rig.pump.is_finished());
    assert_eq!(data(&client.text()).len(), 0, "its memory is given back");
    assert!(!client.now().is_pending(), "nobody would ever wake it");
    assert!(rig.try_attach(Position::Live).is_none());
    assert_eq!(rig.registry.streams().len(), 0);
    assert_eq!(rig.registry.bytes(), 0);
    assert_eq!(rig.signals.count(Signal::StreamClosed), 1);
}
