//! Units: what readers that share another form of the blocks get.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use std::task::Poll;
use tokio::time::Instant;
use tower_sse::log::{Hold, Limits, Log, Next, Position, Reader, Ring};

use crate::support::{batch, drain, poll_idly};

fn publish(log: &Log, sizes: &[usize]) -> i64 {
    let first = log.with(Ring::high) + 1;
    let blocks: Vec<_> = sizes.iter().map(|size| (*size, None)).collect();
    let batch = batch(first, &blocks, Vec::new());
    log.publish(&batch, Hold::Nothing, Instant::now())
}

fn by_unit(log: &Arc<Log>, position: Position) -> Reader {
    log.attach(position).reader.by_unit()
}

/// Reads what there is, makes the form of each unit where there is a place for
/// it, and counts those made.
fn read(reader: &mut Reader, made: &AtomicUsize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Poll::Ready(Next::Data { chunk, .. }) = poll_idly(reader) {
        bytes.extend_from_slice(&chunk.bytes);
        let form = chunk.form.unwrap();
        let twice = form.get(|| {
            made.fetch_add(1, Ordering::Relaxed);
            chunk.bytes.iter().flat_map(|b| [*b, *b]).collect()
        });
        let plain: Bytes = twice.iter().copied().step_by(2).collect();
        assert_eq!(plain, chunk.bytes, "the form of these blocks");
    }
    bytes
}

#[test]
fn a_unit_s_form_is_made_once_for_all_who_follow() {
    let log = Arc::new(Log::new(Limits::NONE));
    let made = AtomicUsize::new(0);
    let mut readers: Vec<_> = (0..100).map(|_| by_unit(&log, Position::Live)).collect();
    for round in 1..=200 {
        publish(&log, &[100, 200]);
        for reader in &mut readers {
            assert!(!read(reader, &made).is_empty());
        }
        assert_eq!(made.load(Ordering::Relaxed), round);
    }
}

#[test]
fn those_who_return_make_little_more_than_is_there() {
    let log = Arc::new(Log::new(Limits::NONE));
    for _ in 0..2000 {
        publish(&log, &[500]);
    }
    let made = AtomicUsize::new(0);
    let mut readers: Vec<_> = (0..100)
        .map(|back| by_unit(&log, Position::After(back)))
        .collect();
    for (reader, back) in readers.iter_mut().zip(0..) {
        let (plain, _) = drain(&mut log.attach(Position::After(back)).reader);
        let mut bytes = Vec::new();
        let mut begun = false;
        while let Poll::Ready(Next::Data { chunk, .. }) = poll_idly(reader) {
            bytes.extend_from_slice(&chunk.bytes);
            match &chunk.form {
                Some(form) => drop(
                    form.get(|| {
                        made.fetch_add(1, Ordering::Relaxed);
                        Bytes::new()
                    })
                    .clone(),
                ),
                // So many rests of one unit are not kept.
                None => assert!(!std::mem::replace(&mut begun, true)),
            }
            begun = true;
        }
        assert_eq!(bytes, plain);
    }
    // A million bytes are some sixty units. Of the first four, which the readers
    // begin in, a few rests are kept.
    let made = made.load(Ordering::Relaxed);
    assert!((60..200).contains(&made), "{made}");
}

#[test]
fn one_reader_alone_leaves_nothing_behind() {
    let log = Arc::new(Log::new(Limits::NONE));
    publish(&log, &[100; 50]);
    let mut reader = by_unit(&log, Position::Oldest);
    let Poll::Ready(Next::Data { chunk, .. }) = poll_idly(&mut reader) else {
        panic!("blocks to read")
    };
    assert_eq!(chunk.form, None);
    assert_eq!(log.with(Ring::form_bytes), 0);
}

#[test]
fn forms_are_counted_as_retained_and_go_with_their_blocks() {
    let log = Arc::new(Log::new(Limits {
        events: 40,
        ..Limits::NONE
    }));
    let mut readers = [(); 2].map(|()| by_unit(&log, Position::Live));
    let made = AtomicUsize::new(0);
    let mut counted = 0;
    for _ in 0..500 {
        counted += publish(&log, &[300]);
        for reader in &mut readers {
            read(reader, &made);
        }
    }
    let (plain, forms) = log.with(|ring| (ring.bytes(), ring.form_bytes()));
    // Each doubled, and only of what lies in pieces of its own.
    assert!(forms > 600 && forms < 40 * 2 * 400, "{forms}");
    counted += log.trim(Hold::Nothing, Instant::now());
    assert_eq!(counted, i64::try_from(plain + forms).unwrap());
    counted += log.give_up(true);
    assert_eq!(counted, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is published, and whenever it is read: by units or not, it is
    /// the same bytes.
    #[test]
    fn units_are_what_was_published(
        rounds in proptest::collection::vec(
            (proptest::collection::vec(1..40_000usize, 1..4), any::<u8>()),
            1..20,
        ),
    ) {
        let log = Arc::new(Log::new(Limits::NONE));
        let mut readers = Vec::new();
        let made = AtomicUsize::new(0);
        for (number, (sizes, who)) in rounds.iter().enumerate() {
            publish(&log, sizes);
            if who % 4 == 0 || readers.is_empty() {
                let position = if who % 8 == 0 { Position::Oldest } else { Position::Tail(2) };
                let pair = log.attach(position);
                readers.push((by_unit(&log, Position::After(pair.after)), pair.reader));
            }
            let at = usize::from(*who) % readers.len();
            if number % 3 != 0 {
                let (units, plain) = &mut readers[at];
                prop_assert_eq!(read(units, &made), drain(plain).0);
            }
        }
        for (units, plain) in &mut readers {
            prop_assert_eq!(read(units, &made), drain(plain).0);
        }
    }
}
