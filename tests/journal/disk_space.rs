//! What is kept, for how long, and how much.

use bytes::Bytes;
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Appended, Claim, Journal, News};

use crate::disk_power::each_seed;
use crate::sim::Machine;
use crate::support::{
    RETAIN, append, begin, find, name, news, open, owned, record, runtime, settings, settled,
};
use crate::world::{End, World};

fn small() -> DiskSettings {
    let mut settings = settings(Sync::Never);
    settings.segment_bytes = 1 << 10;
    settings
}

fn size(machine: &Machine) -> u64 {
    machine
        .files()
        .values()
        .map(|bytes| bytes.len() as u64)
        .sum()
}

#[test]
fn a_stream_that_trims_takes_little_and_keeps_its_head() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = Disk::open_in(small(), machine.mount()).unwrap();
        let mut busy = begin(&disk, "busy");
        let mut idle = begin(&disk, "idle");
        append(&mut idle, record(1, 0, &["once"])).await.unwrap();
        let alias = disk
            .alias(&name("alias"), &name("idle"), RETAIN, None)
            .unwrap();
        assert_eq!(alias.await.unwrap(), None);
        for at in 1..1000 {
            append(&mut busy, record(at, at - 1, &["again"]))
                .await
                .unwrap();
        }
        settled(&disk).await;
        assert!(size(&machine) < 5 << 10, "{}", size(&machine));
        assert!(!machine.files().contains_key("0000000001.segment"));
        machine.kill();
        let disk = Disk::open_in(small(), machine.mount()).unwrap();
        let mut kept = find(&disk, "alias").await.unwrap();
        assert_eq!(kept.head, "head of idle");
        assert_eq!(kept.records, [record(1, 0, &["once"])]);
        assert_eq!(owned(&mut kept.replica), (true, 1));
        let mut kept = find(&disk, "busy").await.unwrap();
        assert_eq!(owned(&mut kept.replica), (true, 999));
    });
}

/// Nothing is trimmed, and there is room for a little: streams begin later.
#[test]
fn the_cap_is_kept_and_leaves_no_hole() {
    each_seed(30, |seed| {
        runtime().block_on(async {
            let mut settings = small();
            settings.max_bytes = 64 << 10;
            settings.segment_bytes = 4 << 10;
            let mut world = World::new(seed, settings);
            world.capped = true;
            for _ in 0..5 {
                world.create().await;
            }
            for _ in 0..2 {
                for _ in 0..1000 {
                    world.append_to_one().await;
                }
                assert!(size(&world.machine) <= 64 << 10, "{}", size(&world.machine));
                assert!(world.disk().health().durable);
                world.restart(End::Kill).await;
            }
        });
    });
}

#[test]
fn streams_that_nobody_uses_make_room_for_others() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let mut settings = small();
        settings.max_bytes = 64 << 10;
        let disk = Disk::open_in(settings, machine.mount()).unwrap();
        for at in 0..200 {
            let mut replica = disk.create(&name(&format!("stream {at}"))).unwrap();
            replica.begin(Bytes::from(vec![b'h'; 1000]), RETAIN);
            append(&mut replica, record(1, 0, &["x"])).await.unwrap();
        }
        settled(&disk).await;
        assert!(size(&machine) <= 64 << 10, "{}", size(&machine));
        assert!(disk.health().durable, "{:?}", disk.health());
        assert!(find(&disk, "stream 199").await.is_some());
        assert!(find(&disk, "stream 0").await.is_none());
    });
}

#[test]
fn a_record_that_no_room_can_be_made_for_is_refused() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let mut settings = small();
        settings.max_bytes = 64 << 10;
        let disk = Disk::open_in(settings, machine.mount()).unwrap();
        let mut replica = begin(&disk, "a");
        let large = "x".repeat(17 << 10);
        let error = append(&mut replica, record(1, 0, &[&large]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("max_bytes"), "{error}");
        let large = "x".repeat(15 << 10);
        append(&mut replica, record(1, 0, &[&large])).await.unwrap();
        assert!(disk.health().durable);
    });
}

#[test]
fn a_stream_goes_when_nobody_has_used_it_for_its_time() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let mut held = begin(&disk, "held");
        append(&mut held, record(1, 0, &["x"])).await.unwrap();
        let mut left = begin(&disk, "left");
        append(&mut left, record(1, 0, &["x"])).await.unwrap();
        drop(left);
        settled(&disk).await;
        machine.advance(RETAIN / 10 * 9);
        // This is a use of it.
        drop(find(&disk, "left").await.unwrap());
        settled(&disk).await;
        machine.advance(RETAIN / 10 * 9);
        machine.kill();
        let disk = open(&machine, Sync::Never);
        machine.advance(RETAIN / 10 * 9);
        drop(find(&disk, "left").await.unwrap());
        settled(&disk).await;
        machine.advance(RETAIN);
        assert!(find(&disk, "left").await.is_none());
        assert!(find(&disk, "held").await.is_none());
        settled(&disk).await;
        machine.kill();
        assert!(find(&open(&machine, Sync::Never), "left").await.is_none());
    });
}

#[test]
fn an_alias_is_given_once_and_lives_with_its_stream() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let give = |stream: &str| {
            disk.alias(&name("key"), &name(stream), RETAIN, None)
                .unwrap()
        };
        // Both at once: one of them is the answer to the other.
        let (one, other) = (give("one"), give("other"));
        assert_eq!(one.await.unwrap(), None);
        assert_eq!(other.await.unwrap(), Some(name("one")));
        assert_eq!(give("one").await.unwrap(), None);
        let mut replica = begin(&disk, "one");
        append(&mut replica, record(1, 0, &["x"])).await.unwrap();
        machine.advance(RETAIN * 3);
        settled(&disk).await;
        assert_eq!(give("other").await.unwrap(), Some(name("one")));
        replica.forget().unwrap().await.unwrap();
        assert!(find(&disk, "key").await.is_none());
        assert_eq!(give("other").await.unwrap(), Some(name("one")));
        machine.advance(RETAIN);
        settled(&disk).await;
        assert_eq!(give("other").await.unwrap(), None);
    });
}

#[test]
fn one_replica_at_a_time() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let mut first = begin(&disk, "a");
        append(&mut first, record(1, 0, &["x"])).await.unwrap();
        let mut second = find(&disk, "a").await.unwrap();
        assert_eq!(news(&mut first), Some(News::Disowned));
        let refused = append(&mut first, record(2, 0, &["y"])).await.unwrap();
        assert_eq!(refused, Appended::Disowned);
        drop(first);
        assert_eq!(owned(&mut second.replica), (true, 1));
        append(&mut second.replica, record(2, 0, &["z"]))
            .await
            .unwrap();
        drop(second);
        let kept = find(&disk, "a").await.unwrap();
        assert_eq!(kept.records, [record(1, 0, &["x"]), record(2, 0, &["z"])]);
    });
}

#[test]
fn a_claim_is_for_one_until_it_is_begun() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let claim = || disk.claim(&name("a")).unwrap();
        let Claim::Mine(dropped) = claim().await.unwrap() else {
            panic!("nobody has it");
        };
        assert!(find(&disk, "a").await.is_none());
        drop(dropped);
        let Claim::Mine(mut mine) = claim().await.unwrap() else {
            panic!("nobody has it any more");
        };
        mine.begin(Bytes::from_static(b"head"), RETAIN);
        drop(mine);
        let Claim::Kept(kept) = claim().await.unwrap() else {
            panic!("it was begun");
        };
        assert_eq!(kept.head, "head");
        assert!(kept.records.is_empty());
    });
}

/// An answer that nobody waits for leaves nothing behind that holds the stream.
#[test]
fn a_look_that_is_given_up_is_none() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let mut replica = begin(&disk, "a");
        append(&mut replica, record(1, 0, &["x"])).await.unwrap();
        drop(replica);
        for _ in 0..20 {
            drop(disk.find(&name("a")).unwrap());
        }
        settled(&disk).await;
        machine.advance(RETAIN);
        assert!(find(&disk, "a").await.is_none());
    });
}

/// A name goes from one stream to another, and only from the one that has it.
#[test]
fn an_alias_passes_on() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let disk = open(&machine, Sync::Never);
        let key = name("key");
        let give = |stream: &str, instead: Option<&str>| {
            let instead = instead.map(name);
            let given = disk.alias(&key, &name(stream), RETAIN, instead.as_ref());
            given.unwrap()
        };
        let resolve = || disk.resolve(&key).unwrap();
        assert_eq!(resolve().await.unwrap(), None);
        assert_eq!(give("one", None).await.unwrap(), None);
        assert_eq!(give("two", Some("one")).await.unwrap(), None);
        assert_eq!(give("three", Some("one")).await.unwrap(), Some(name("two")));
        disk.unalias(&key, &name("one"));
        assert_eq!(resolve().await.unwrap(), Some(name("two")));
        drop(disk);
        machine.kill();
        let disk = open(&machine, Sync::Never);
        assert_eq!(
            disk.resolve(&key).unwrap().await.unwrap(),
            Some(name("two"))
        );
        disk.unalias(&key, &name("two"));
        assert_eq!(disk.resolve(&key).unwrap().await.unwrap(), None);
    });
}
