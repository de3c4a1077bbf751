//! Disks that fail, for a time.

use std::time::Duration;

use tower_sse::journal::disk::{Disk, Sync};
use tower_sse::journal::{Journal, News};

use crate::disk_power::each_seed;
use crate::sim::{Faults, Machine};
use crate::support::{
    append, begin, find, name, news, open, owned, record, runtime, settings, settled,
};
use crate::world::{End, World};

/// Some steps with faults, then without, and then a look at everything.
async fn failing(seed: u64, sync: Sync, faults: impl Fn(&mut fastrand::Rng) -> Faults) {
    let mut settings = settings(sync);
    settings.segment_bytes = 1 << 10;
    let mut world = World::new(seed, settings);
    world.blocks = 1;
    for _ in 0..10 {
        world.create().await;
    }
    for _ in 0..4 {
        let faults = faults(&mut world.rng);
        world.exact = faults.syncs.is_none();
        world.machine.set_faults(faults);
        for _ in 0..world.rng.u8(..60) {
            world.append_to_one().await;
            let seconds = world.rng.u64(..3);
            world.advance(seconds);
        }
        world.machine.set_faults(Faults::default());
        world.recover().await;
        for _ in 0..world.rng.u8(..20) {
            world.append_to_one().await;
        }
        if world.rng.bool() {
            let end = if world.rng.bool() {
                End::Kill
            } else {
                End::Close
            };
            world.restart(end).await;
        }
    }
    world.restart(End::Kill).await;
}

fn any(rng: &mut fastrand::Rng) -> (u64, u64) {
    (rng.u64(1..30), rng.u64(1..4))
}

#[test]
fn writes_may_be_short() {
    each_seed(40, |seed| {
        let short = |_: &mut fastrand::Rng| Faults {
            short: true,
            ..Faults::default()
        };
        runtime().block_on(failing(seed, Sync::Always, short));
    });
}

#[test]
fn a_write_that_fails_takes_nothing_with_it() {
    for sync in [
        Sync::Always,
        Sync::Interval(Duration::from_secs(1)),
        Sync::Never,
    ] {
        each_seed(100, |seed| {
            let writes = |rng: &mut fastrand::Rng| Faults {
                writes: Some(any(rng)),
                truncate: rng.bool(),
                ..Faults::default()
            };
            runtime().block_on(failing(seed, sync, writes));
        });
    }
}

#[test]
fn a_sync_that_fails_is_not_believed_later() {
    for sync in [Sync::Always, Sync::Interval(Duration::from_secs(1))] {
        each_seed(100, |seed| {
            let syncs = |rng: &mut fastrand::Rng| Faults {
                syncs: Some(any(rng)),
                ..Faults::default()
            };
            runtime().block_on(failing(seed, sync, syncs));
        });
    }
}

#[test]
fn the_operator_is_told_and_so_is_the_stream() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Always);
        let mut replica = begin(&disk, "a");
        append(&mut replica, record(1, 0, &["one"])).await.unwrap();
        machine.set_faults(Faults {
            writes: Some((1, u64::MAX)),
            ..Faults::default()
        });
        let error = append(&mut replica, record(2, 0, &["two"]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        let health = disk.health();
        assert!(!health.durable);
        for part in ["0000000001.segment", "no space left", "since", "free space"] {
            assert!(health.detail.contains(part), "{}", health.detail);
        }
        // It fails again when it is tried again, and is still the same outage.
        machine.advance(Duration::from_secs(6));
        settled(&disk).await;
        assert!(!disk.health().durable);
        assert_eq!(news(&mut replica), None);

        machine.set_faults(Faults::default());
        machine.advance(Duration::from_secs(6));
        settled(&disk).await;
        assert!(disk.health().durable);
        let owned = News::Owned {
            continuous: true,
            last: 1,
        };
        assert_eq!(news(&mut replica), Some(owned));
        let two = record(2, 0, &["again"]);
        append(&mut replica, two.clone()).await.unwrap();
        drop(disk);
        machine.kill();
        let kept = find(&open(&machine, Sync::Always), "a").await.unwrap();
        assert_eq!(kept.records, [record(1, 0, &["one"]), two]);
    });
}

#[test]
fn a_directory_that_fails_takes_nothing_with_it() {
    for sync in [Sync::Always, Sync::Interval(Duration::from_secs(1))] {
        each_seed(100, |seed| {
            let names = |rng: &mut fastrand::Rng| Faults {
                names: Some(any(rng)),
                ..Faults::default()
            };
            runtime().block_on(failing(seed, sync, names));
        });
    }
}

/// A segment is gone from the directory, but not for good: it is not there to
/// be removed again.
#[test]
fn a_removal_that_fails_is_not_done_twice() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let mut settings = settings(Sync::Never);
        settings.segment_bytes = 1 << 10;
        let disk = Disk::open_in(settings, machine.mount()).unwrap();
        let mut replica = begin(&disk, "a");
        let filler = "x".repeat(300);
        machine.set_faults(Faults {
            // The first segments are made, and one of them removed.
            names: Some((3, 1)),
            ..Faults::default()
        });
        let mut at = 1;
        while disk.health().durable {
            let record = record(at, at - 1, &[&filler]);
            append(&mut replica, record).await.unwrap();
            settled(&disk).await;
            at += 1;
        }
        assert!(disk.health().detail.contains("could not be removed"));
        machine.advance(Duration::from_secs(6));
        settled(&disk).await;
        assert!(disk.health().durable, "{:?}", disk.health());
    });
}

/// Whoever waits for an answer gets one, whatever happens to the writer.
#[test]
fn a_writer_that_is_gone_keeps_nobody_waiting() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let mut replica = begin(&disk, "a");
        append(&mut replica, record(1, 0, &["one"])).await.unwrap();
        machine.set_faults(Faults {
            panic: true,
            ..Faults::default()
        });
        let two = append(&mut replica, record(2, 0, &["two"])).await;
        assert!(two.is_err());
        let three = append(&mut replica, record(2, 0, &["three"])).await;
        assert!(three.is_err());
        assert!(disk.find(&name("a")).unwrap().await.is_err());
        while disk.health().durable {
            std::thread::yield_now();
        }
    });
}

/// The disk fails a sync, and is too full for a note of it.
#[test]
fn a_failed_sync_outlives_the_process_on_a_full_disk() {
    a_failed_sync(Some((1, u64::MAX)));
}

/// The process dies before it could write down what a failed sync took: the
/// kernel is the same, and yet proves nothing.
#[test]
fn a_failed_sync_outlives_the_process() {
    a_failed_sync(None);
}

fn a_failed_sync(writes: Option<(u64, u64)>) {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let sync = Sync::Interval(Duration::from_secs(1));
        let disk = open(&machine, sync);
        let mut replica = begin(&disk, "a");
        append(&mut replica, record(1, 0, &["one"])).await.unwrap();
        machine.set_faults(Faults {
            syncs: Some((1, 1)),
            writes,
            ..Faults::default()
        });
        machine.advance(Duration::from_secs(2));
        while disk.health().durable {
            settled(&disk).await;
        }
        // It is known a little before it is noted.
        settled(&disk).await;
        machine.kill();
        machine.set_faults(Faults::default());
        drop((replica, disk));
        let disk = open(&machine, sync);
        if let Some(mut kept) = find(&disk, "a").await {
            assert!(!owned(&mut kept.replica).0);
        }
    });
}
