//! What is held, for how long, and in how many pieces.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tower_sse::log::{Batch, Entry, Hold, Limits, Log, Next, Position, Seam, SeamKind};

use crate::support::{batch, drain, one, poll_idly};

/// The memory of a block, which is held as long as a token for it.
struct Held(
    Vec<u8>,
    #[expect(dead_code, reason = "counted, never read")] Arc<()>,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn tracked(log: &Log, token: &Arc<()>, len: usize) -> Batch {
    let mut batch = one(log, len);
    batch.bytes = Bytes::from_owner(Held(batch.bytes.to_vec(), Arc::clone(token)));
    batch
}

fn limits(events: usize) -> Limits {
    Limits {
        events,
        ..Limits::NONE
    }
}

#[test]
fn a_slow_trickle_holds_no_more_than_is_retained() {
    let log = Arc::new(Log::new(limits(5)));
    let token = Arc::new(());
    let now = Instant::now();
    for _ in 0..200 {
        log.publish(&tracked(&log, &token, 100), Hold::Nothing, now);
        // What is retained, and what lies in one merged piece with it.
        assert!(
            Arc::strong_count(&token) <= 1 + 5 + 16,
            "trimmed blocks are held"
        );
    }
}

#[test]
fn giving_up_everything_frees_everything() {
    let log = Arc::new(Log::new(Limits::NONE));
    let token = Arc::new(());
    let now = Instant::now();
    let mut total = 0;
    for len in [10, 100, 70_000, 10, 200_000, 10] {
        total += log.publish(&tracked(&log, &token, len), Hold::UntilRead, now);
    }
    assert_eq!(log.give_up(true), -total);
    assert_eq!(Arc::strong_count(&token), 1);
    assert_eq!(
        log.with(|ring| (ring.low(), ring.high(), ring.bytes())),
        (6, 6, 0)
    );
}

#[test]
fn a_stalled_reader_holds_nothing_it_is_not_entitled_to() {
    let log = Arc::new(Log::new(limits(8)));
    let token = Arc::new(());
    let now = Instant::now();
    let mut stalled = log.attach(Position::Live).reader;
    let mut brisk = log.attach(Position::Live).reader;
    for _ in 0..1000 {
        log.publish(&tracked(&log, &token, 100), Hold::Nothing, now);
        assert_eq!(drain(&mut brisk).1, 1, "a stalled reader slows another");
        assert!(Arc::strong_count(&token) <= 1 + 8 + 16);
        assert!(log.with(tower_sse::log::Ring::events) <= 8);
    }
    assert_eq!(poll_idly(&mut stalled), Poll::Ready(Next::Lagged(992)));
}

#[test]
fn what_a_reader_has_not_read_is_held_for_it_alone() {
    let log = Arc::new(Log::new(limits(2)));
    let now = Instant::now();
    let mut reader = log.attach(Position::Live).reader;
    for _ in 0..10 {
        log.publish(&one(&log, 50), Hold::Unread, now);
    }
    assert_eq!(log.with(tower_sse::log::Ring::events), 10);
    assert!(!log.has_room(Hold::Unread));
    assert!(log.has_room(Hold::Nothing));
    assert_eq!(poll_idly(&mut reader), Poll::Ready(Next::Lagged(8)));
}

#[test]
fn small_batches_become_few_reads() {
    let log = Arc::new(Log::new(Limits::NONE));
    let now = Instant::now();
    let mut reader = log.attach(Position::Live).reader;
    let mut sent = Vec::new();
    for _ in 0..10_000 {
        let batch = one(&log, 198);
        sent.extend_from_slice(&batch.bytes);
        log.publish(&batch, Hold::UntilRead, now);
    }
    let (bytes, reads) = drain(&mut reader);
    assert_eq!(bytes, sent);
    // Two per sealed segment at most (one may be a little over a chunk), and
    // in the open one a piece per 16 batches and 15 that are not merged yet.
    let sealed = bytes.len() / (64 << 10);
    let open = (64 << 10) / 200 / 16 + 15;
    assert!(reads <= 2 * sealed + open, "{reads} reads");
}

#[test]
fn a_large_batch_is_one_segment_of_its_own() {
    let log = Arc::new(Log::new(Limits::NONE));
    let now = Instant::now();
    log.publish(&one(&log, 100), Hold::Nothing, now);
    log.publish(&one(&log, 300_000), Hold::Nothing, now);
    log.publish(&one(&log, 100), Hold::Nothing, now);
    let mut reader = log.attach(Position::Oldest).reader;
    let lengths: Vec<_> = std::iter::from_fn(|| match poll_idly(&mut reader) {
        Poll::Ready(Next::Data { chunk, .. }) => Some(chunk.bytes.len()),
        _ => None,
    })
    .collect();
    assert_eq!(lengths, [102, 300_002, 102]);
}

#[test]
fn a_sealed_segment_is_contiguous() {
    let log = Arc::new(Log::new(Limits::NONE));
    let now = Instant::now();
    while log.with(tower_sse::log::Ring::bytes) < 64 << 10 {
        log.publish(&one(&log, 1000), Hold::Nothing, now);
    }
    let read = |after| log.with(|ring| ring.read(after, 64 << 10));
    let first = read(0).unwrap();
    assert_eq!(first.last, 65, "64 KiB of blocks of 1002 bytes");
    let second = read(first.last).unwrap();
    assert_eq!(second.last, 66);
    assert_eq!(read(second.last), None);
}

#[test]
fn age_alone_empties_the_log() {
    let age = Duration::from_secs(256);
    let log = Arc::new(Log::new(Limits {
        age,
        ..Limits::NONE
    }));
    let start = Instant::now();
    log.publish(&one(&log, 100), Hold::Nothing, start);
    // The stamp of the first is alone; these share one.
    for millis in [500, 900, 1300] {
        let now = start + Duration::from_millis(millis);
        log.publish(&one(&log, 100), Hold::Nothing, now);
    }
    let left = |now: Instant| {
        log.trim(Hold::Nothing, now);
        log.with(tower_sse::log::Ring::events)
    };
    assert_eq!(left(start + age), 4);
    assert_eq!(left(start + age + Duration::from_millis(1)), 3);
    // 1/256 of the age after they were too old, at the latest, they are gone.
    assert_eq!(left(start + age + Duration::from_millis(1301)), 0);
    assert_eq!(log.with(|ring| (ring.low(), ring.bytes())), (4, 0));
    assert_eq!(log.next_expiry(Hold::Nothing, start), None);
}

#[test]
fn what_is_unread_outlives_its_age_and_nobody_waits_for_it() {
    let age = Duration::from_secs(1);
    let log = Arc::new(Log::new(Limits {
        age,
        ..Limits::NONE
    }));
    let now = Instant::now();
    let mut reader = log.attach(Position::Live).reader;
    log.publish(&one(&log, 100), Hold::Unread, now);
    let late = log.next_expiry(Hold::Unread, now).unwrap();
    assert_eq!(log.trim(Hold::Unread, late), 0);
    assert_eq!(log.next_expiry(Hold::Unread, late), None, "would spin");
    drain(&mut reader);
    assert_eq!(log.trim(Hold::Unread, late), -102);
}

#[test]
fn the_same_seam_again_is_no_further_seam() {
    let log = Arc::new(Log::new(Limits::NONE));
    let now = Instant::now();
    log.publish(&one(&log, 10), Hold::Nothing, now);
    let seam = Seam {
        after: 0,
        kind: SeamKind::Snapshot,
    };
    for _ in 0..1000 {
        log.publish(&batch(2, &[], vec![seam]), Hold::Nothing, now);
    }
    // Debug output is the only place where seams are listed.
    let listed = log
        .with(|ring| format!("{ring:?}"))
        .matches("Snapshot")
        .count();
    assert_eq!(listed, 1);
}

#[test]
fn a_base_id_is_a_place_before_the_first_block() {
    let log = Arc::new(Log::new(limits(1)));
    let base = Bytes::from_static(b"base");
    log.with_mut(|ring| ring.index_base(&base));
    assert_eq!(log.with(|ring| ring.find(b"base")), Some(0));
    let now = Instant::now();
    log.publish(&one(&log, 10), Hold::Nothing, now);
    assert_eq!(log.with(|ring| ring.find(b"base")), Some(0));
    log.publish(&one(&log, 10), Hold::Nothing, now);
    assert_eq!(
        log.with(|ring| ring.find(b"base")),
        None,
        "replay would be incomplete"
    );
}

#[test]
fn empty_batches_and_wrong_places_are_harmless() {
    let log = Arc::new(Log::new(Limits::default()));
    let now = Instant::now();
    let empty = Batch {
        first: 1,
        bytes: Bytes::new(),
        entries: Vec::<Entry>::new(),
        seams: Vec::new(),
    };
    assert_eq!(empty.last(), 0);
    assert_eq!(log.publish(&empty, Hold::Nothing, now), 0);
    for after in [0, 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(log.with(|ring| ring.read(after, 1)), None);
        assert_eq!(log.attach(Position::After(after)).after, 0);
    }
}
