//! Histories in which the power goes and processes are killed, at any call to
//! the disk. `SEED=… cargo test` replays the one that failed.

use std::time::Duration;

use tower_sse::journal::Journal;
use tower_sse::journal::disk::{Disk, Sync};

use crate::sim::Machine;
use crate::support::{append, begin, find, open, owned, record, runtime, settings, settled};
use crate::world::{End, World};

/// Each with a seed of its own, or only the one that is asked for.
pub(crate) fn each_seed(count: u64, history: impl Fn(u64)) {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return history(seed);
    }
    for seed in 0..count {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history(seed)));
        if let Err(panic) = done {
            eprintln!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn histories(sync: Sync) {
    each_seed(300, |seed| runtime().block_on(history(seed, sync)));
}

async fn history(seed: u64, sync: Sync) {
    let mut settings = settings(sync);
    settings.segment_bytes = 1 << 10;
    let mut world = World::new(seed, settings);
    for _ in 0..world.rng.u8(1..6) {
        let fuse = world.rng.u64(..200);
        let end = match world.rng.u8(..8) {
            0 => End::Close,
            1..=3 => End::Kill,
            _ => End::Power,
        };
        if end != End::Close && world.rng.bool() {
            world.machine.set_fuse(fuse);
        }
        for _ in 0..world.rng.u8(..80) {
            let step = world.rng.u8(..);
            world.step(step).await;
        }
        world.restart(end).await;
    }
}

const INTERVAL: Sync = Sync::Interval(Duration::from_secs(1));

/// What was synced is not in danger again for being moved.
#[test]
fn what_an_interval_has_passed_over_is_not_lost() {
    each_seed(20, |seed| {
        runtime().block_on(async {
            let machine = Machine::new(seed);
            let mut settings = settings(INTERVAL);
            settings.segment_bytes = 1 << 10;
            let disk = Disk::open_in(settings.clone(), machine.mount()).unwrap();
            let mut quiet = begin(&disk, "quiet");
            let one = record(1, 0, &["one"]);
            append(&mut quiet, one.clone()).await.unwrap();
            let filler = "x".repeat(300);
            let mut gone = begin(&disk, "gone");
            for at in 1..3 {
                let record = record(at, 0, &[&filler]);
                append(&mut gone, record).await.unwrap();
            }
            gone.forget().unwrap().await.unwrap();
            // An orderly end leaves all of it synced.
            disk.close().unwrap().await.unwrap();
            let disk = Disk::open_in(settings.clone(), machine.mount()).unwrap();
            let mut busy = begin(&disk, "busy");
            for at in 1..20 {
                let record = record(at, at - 1, &[&filler]);
                append(&mut busy, record).await.unwrap();
                settled(&disk).await;
            }
            assert!(!machine.files().contains_key("0000000001.segment"));
            machine.cut_power();
            let disk = Disk::open_in(settings, machine.mount()).unwrap();
            let kept = find(&disk, "quiet").await.unwrap();
            assert_eq!(kept.records, [one]);
        });
    });
}

#[test]
fn an_orderly_end_outlives_the_power() {
    each_seed(20, |seed| {
        runtime().block_on(async {
            let machine = Machine::new(seed);
            for at in 1..6 {
                let disk = open(&machine, INTERVAL);
                let mut replica = match find(&disk, "a").await {
                    Some(mut kept) => {
                        assert_eq!(owned(&mut kept.replica), (true, at - 1));
                        kept.replica
                    }
                    None => begin(&disk, "a"),
                };
                append(&mut replica, record(at, 0, &["x"])).await.unwrap();
                disk.close().unwrap().await.unwrap();
                machine.cut_power();
            }
            let disk = open(&machine, INTERVAL);
            let mut kept = find(&disk, "a").await.unwrap();
            assert_eq!(owned(&mut kept.replica), (true, 5));
            assert_eq!(kept.records.len(), 5);
        });
    });
}

#[test]
fn with_always_nothing_acknowledged_is_lost() {
    histories(Sync::Always);
}

#[test]
fn with_an_interval_nothing_is_lost_unnoticed() {
    histories(INTERVAL);
}

#[test]
fn without_syncs_nothing_is_lost_unnoticed() {
    histories(Sync::Never);
}
