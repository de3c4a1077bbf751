//! Who is slowed by whom, and what a stalled client may cost.

use std::task::Poll;
use std::time::Duration;

use tower_sse::log::{Limits, Next, Position};
use tower_sse::stream::policy::{Kind, Linger};

use crate::support::{CLEAN, Setup, data, events, idle, is_aborted, numbers, pass};

fn small(kind: Kind) -> Setup {
    Setup::new(kind).with(|policy| policy.limits.events = 8)
}

#[tokio::test(start_paused = true)]
async fn a_private_upstream_is_as_fast_as_its_client() {
    let (rig, mut client) = small(Kind::Private).read();
    for n in 0..100 {
        rig.pipe.send(&events(n, 1));
    }
    pass(10).await;
    let taken = rig.pipe.taken();
    assert!(
        taken <= 10,
        "{taken} events read for a client that reads none"
    );
    let mut all = Vec::new();
    while all.len() < 100 {
        let text = client.text();
        assert!(!text.is_empty(), "stuck after {}", all.len());
        all.extend(data(&text));
        idle().await;
        let ahead = rig.pipe.taken() - all.len();
        assert!(ahead <= 10, "{ahead} events ahead");
    }
    assert_eq!(all, numbers(0, 100), "nothing is lost for it");
}

#[tokio::test(start_paused = true)]
async fn one_large_chunk_is_taken_in_parts() {
    let (rig, mut client) = small(Kind::Private).read();
    rig.pipe.send(&events(0, 100));
    idle().await;
    assert!(rig.high() <= 10, "{} events for a buffer of 8", rig.high());
    let mut all = Vec::new();
    while all.len() < 100 {
        let text = client.text();
        assert!(!text.is_empty(), "stuck after {}", all.len());
        all.extend(data(&text));
        idle().await;
    }
    assert_eq!(all, numbers(0, 100));
}

#[tokio::test(start_paused = true)]
async fn a_private_upstream_is_not_slowed_by_nobody() {
    let (rig, client) = small(Kind::Private).read();
    rig.pipe.send(&events(0, 20));
    idle().await;
    let cursor = client.cursor();
    drop(client);
    for n in 20..100 {
        rig.pipe.send(&events(n, 1));
    }
    idle().await;
    assert_eq!(rig.pipe.taken(), 81, "it lingers, and is read");
    assert_eq!(rig.data(), numbers(92, 8));
    let mut back = rig.attach(Position::After(cursor));
    assert_eq!(back.lost, 92);
    assert_eq!(data(&back.text()), numbers(92, 8));
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_waits_for_its_reader() {
    let (rig, client) = Setup::new(Kind::OneShot)
        .with(|policy| {
            policy.linger = Linger::Complete;
            policy.limits.bytes = 2000;
        })
        .read();
    drop(client);
    for n in 0..100 {
        rig.pipe
            .send(&format!("data: {n}\n: {}\n\n", "x".repeat(200)));
        rig.pipe.send(&format!("data: {}{n}\n\n", "y".repeat(200)));
    }
    rig.pipe.end();
    pass(60).await;
    let taken = rig.pipe.taken();
    assert!(taken < 30, "{taken} frames read into a full buffer");
    assert_eq!(
        rig.stream.log().with(tower_sse::log::Ring::low),
        0,
        "untrimmed"
    );

    let back = tokio::spawn(rig.attach(Position::Oldest).drain());
    let (all, end) = back.await.unwrap();
    assert_eq!(all.len(), 200);
    assert_eq!(Poll::Ready(end), CLEAN);
}

/// Its reader has taken all there is, and leaves; whoever comes back with the
/// last id has nothing to read, and must not wait for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_read_everything_unblocks_a_one_shot() {
    let (rig, client) = Setup::new(Kind::OneShot)
        .with(|policy| policy.limits.bytes = 200)
        .read();
    drop(client);
    for n in 0..20 {
        rig.pipe.send(&events(n, 1));
    }
    rig.pipe.end();
    idle().await;
    let high = rig.high();
    assert!(high < 20);
    let (all, end) = rig.attach(Position::After(high)).drain().await;
    assert_eq!(all, numbers(usize::try_from(high).unwrap(), all.len()));
    assert_eq!(high + all.len() as u64, 20);
    assert_eq!(Poll::Ready(end), CLEAN);
}

/// The buffer filled up while there was a reader, who then left for good.
#[tokio::test(start_paused = true)]
async fn a_one_shot_that_is_stuck_is_let_go_of() {
    let (rig, client) = Setup::new(Kind::OneShot)
        .with(|policy| {
            policy.linger = Linger::Complete;
            policy.limits.bytes = 200;
        })
        .read();
    for n in 0..20 {
        rig.pipe.send(&events(n, 1));
    }
    pass(1).await;
    assert!(rig.pipe.taken() < 20);
    drop(client);
    pass(599).await;
    assert!(!rig.pipe.is_dropped(), "a client may come back");
    pass(2).await;
    assert!(rig.pipe.is_dropped());
    assert!(is_aborted(&rig.attach(Position::Live).now()));
    pass(601).await;
    assert!(rig.is_gone());
    assert_eq!(rig.registry.bytes(), 0);
}

/// Not reading an upstream is no reason to call it silent.
#[tokio::test(start_paused = true)]
async fn a_stalled_client_does_not_make_its_upstream_silent() {
    for kind in [Kind::OneShot, Kind::Private] {
        let (rig, mut client) = Setup::new(kind)
            .with(|policy| {
                policy.upstream_idle = Some(Duration::from_secs(45));
                policy.limits.bytes = 200;
            })
            .read();
        for n in 0..20 {
            rig.pipe.send(&events(n, 1));
        }
        pass(300).await;
        assert!(!rig.pipe.is_dropped(), "{kind:?}");
        let mut all = Vec::new();
        while all.len() < 20 {
            let text = client.text();
            assert!(!text.is_empty(), "stuck after {}", all.len());
            all.extend(data(&text));
            idle().await;
        }
        assert_eq!(all, numbers(0, 20), "{kind:?}");
        pass(46).await;
        assert!(rig.pipe.is_dropped(), "now it is");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_slows_a_shared_upstream() {
    let (rig, mut stalled) = small(Kind::Shared).read();
    let mut brisk = rig.attach(Position::Live);
    for n in 0..100 {
        rig.pipe.send(&events(n, 1));
        idle().await;
        assert_eq!(data(&brisk.text()), numbers(n, 1));
    }
    assert_eq!(rig.pipe.taken(), 100);
    assert_eq!(stalled.now(), Poll::Ready(Next::Lagged(92)));
    assert!(
        rig.stream.log().with(tower_sse::log::Ring::events) <= 8,
        "bounded"
    );
}

/// Whoever reads whenever there is something must not be outrun, however the
/// upstream's bytes are cut, and though all of them are there at once.
#[tokio::test(start_paused = true)]
async fn a_burst_does_not_outrun_those_that_keep_up() {
    for per_frame in [1, 3, 500] {
        let (rig, client) = small(Kind::Shared).read();
        let reader = tokio::spawn(async move {
            let mut client = client;
            let mut all = Vec::new();
            while all.len() < 500 {
                match client.next().await {
                    Next::Data { chunk, .. } => {
                        all.extend(data(std::str::from_utf8(&chunk.bytes).unwrap()));
                    }
                    other => panic!("{other:?} after {}", all.len()),
                }
            }
            all
        });
        idle().await;
        for first in (0..500).step_by(per_frame) {
            rig.pipe.send(&events(first, per_frame.min(500 - first)));
        }
        assert_eq!(
            reader.await.unwrap(),
            numbers(0, 500),
            "{per_frame} events a frame"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn age_is_kept_to_though_nothing_comes() {
    let (rig, mut client) = Setup::new(Kind::Private)
        .with(|policy| {
            policy.limits = Limits {
                age: Duration::from_secs(60),
                ..policy.limits
            };
        })
        .read();
    rig.pipe.send(&events(0, 3));
    idle().await;
    client.text();
    pass(59).await;
    assert_eq!(rig.data().len(), 3);
    pass(2).await;
    assert_eq!(rig.data().len(), 0, "read by now, and too old");
}
