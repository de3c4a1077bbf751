//! Wake-ups: none lost, none in vain, none under the lock.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower_sse::log::{Ending, Hold, Limits, Log, Next, Position, Reader};

use crate::support::{Count, drain, one, poll, poll_idly};

/// Only there to turn a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

#[test]
fn each_publication_wakes_each_waiting_reader_once() {
    let log = Arc::new(Log::new(Limits::default()));
    let now = Instant::now();
    let counts: Vec<Arc<Count>> = (0..10).map(|_| Arc::default()).collect();
    let mut readers: Vec<_> = counts
        .iter()
        .map(|_| log.attach(Position::Live).reader)
        .collect();
    for round in 1..=3 {
        for (reader, count) in readers.iter_mut().zip(&counts) {
            // Asking twice is not waiting twice.
            assert!(poll(reader, count).is_pending());
            assert!(poll(reader, count).is_pending());
        }
        log.publish(&one(&log, 10), Hold::Nothing, now);
        log.publish(&one(&log, 10), Hold::Nothing, now);
        assert!(counts.iter().all(|count| count.get() == round));
        for reader in &mut readers {
            drain(reader);
        }
    }
}

#[test]
fn asking_again_to_end_wakes_nobody() {
    let log = Arc::new(Log::new(Limits::default()));
    let now = Instant::now();
    let mut reader = log.attach(Position::Live).reader;
    let count: Arc<Count> = Arc::default();
    assert!(poll(&mut reader, &count).is_pending());
    for _ in 0..3 {
        log.close_readers(|| now);
    }
    assert_eq!(poll(&mut reader, &count), Poll::Ready(Next::CloseAt(now)));
    assert!(poll(&mut reader, &count).is_pending());
    log.close_readers(|| now);
    assert!(poll(&mut reader, &count).is_pending());
    assert_eq!(count.get(), 1);
    // An abort is heard by those, too.
    log.abort_readers("test");
    assert_eq!(count.get(), 2);
}

#[test]
fn the_last_waker_counts() {
    let log = Arc::new(Log::new(Limits::default()));
    let (old, new): (Arc<Count>, Arc<Count>) = Default::default();
    let mut reader = log.attach(Position::Live).reader;
    assert!(poll(&mut reader, &old).is_pending());
    assert!(poll(&mut reader, &new).is_pending());
    log.end(Ending::Complete);
    assert_eq!((old.get(), new.get()), (0, 1));
}

fn poll_room(log: &Log, hold: Hold, count: &Arc<Count>) -> bool {
    let waker = Waker::from(Arc::clone(count));
    log.poll_room(hold, &mut Context::from_waker(&waker))
        .is_ready()
}

fn full() -> Arc<Log> {
    let limits = Limits {
        events: 2,
        ..Limits::NONE
    };
    let log = Arc::new(Log::new(limits));
    for _ in 0..4 {
        log.publish(&one(&log, 10), Hold::UntilRead, Instant::now());
    }
    log
}

#[test]
fn a_reader_that_moves_or_leaves_makes_room() {
    let log = full();
    let count: Arc<Count> = Arc::default();
    let mut reader = log.attach(Position::Oldest).reader;
    assert!(!poll_room(&log, Hold::Unread, &count));
    assert!(matches!(
        poll_idly(&mut reader),
        Poll::Ready(Next::Data { .. })
    ));
    assert_eq!(count.get(), 1);

    let second = log.attach(Position::Oldest).reader;
    log.publish(&one(&log, 10), Hold::UntilRead, Instant::now());
    log.publish(&one(&log, 10), Hold::UntilRead, Instant::now());
    log.publish(&one(&log, 10), Hold::UntilRead, Instant::now());
    assert!(!poll_room(&log, Hold::Unread, &count));
    drop(second);
    assert_eq!(count.get(), 2);
}

/// A client comes back that has read everything: it will not read, so it must
/// make room by coming.
#[test]
fn a_reader_that_comes_makes_room() {
    let log = full();
    let count: Arc<Count> = Arc::default();
    assert!(!poll_room(&log, Hold::UntilRead, &count));
    let _reader = log.attach(Position::After(4)).reader;
    assert_eq!(count.get(), 1, "nobody else would wake the appending side");
    assert!(poll_room(&log, Hold::UntilRead, &count));
}

/// A waker that does at once what it was woken for, and takes what it wakes
/// along when it is dropped.
struct Inline {
    log: Arc<Log>,
    woken: AtomicBool,
    kept: Mutex<Option<Reader>>,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.log.readers();
        self.woken.store(true, Ordering::SeqCst);
    }
}

fn inline(log: &Arc<Log>, kept: Option<Reader>) -> (Arc<Inline>, Waker) {
    let inline = Arc::new(Inline {
        log: Arc::clone(log),
        woken: AtomicBool::new(false),
        kept: Mutex::new(kept),
    });
    (Arc::clone(&inline), Waker::from(inline))
}

/// Hangs if foreign code runs under the lock.
#[test]
fn wakers_may_use_the_log() {
    let log = full();
    let mut reader = log.attach(Position::Oldest).reader;
    let (room, waker) = inline(&log, None);
    assert!(
        log.poll_room(Hold::Unread, &mut Context::from_waker(&waker))
            .is_pending()
    );
    drain(&mut reader);
    assert!(room.woken.load(Ordering::SeqCst));

    let (reading, waker) = inline(&log, None);
    assert!(
        reader
            .poll_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    log.publish(&one(&log, 10), Hold::Nothing, Instant::now());
    assert!(reading.woken.load(Ordering::SeqCst));
}

/// Hangs if a waker is dropped under the lock and owns another reader.
#[test]
fn a_waker_may_own_a_reader() {
    let log = Arc::new(Log::new(Limits::default()));
    let mut reader = log.attach(Position::Live).reader;
    let other = log.attach(Position::Live).reader;
    let (owner, waker) = inline(&log, Some(other));
    assert!(
        reader
            .poll_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(owner.kept.lock().unwrap().is_some());
    drop((owner, waker));
    drop(reader);
    assert_eq!(log.readers(), 0);
}

/// A publication may fall between any two steps of a reader that goes to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost() {
    const EVENTS: u64 = 20_000;
    let log = Arc::new(Log::new(Limits::NONE));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = log.attach(Position::Live).reader;
            tokio::spawn(async move {
                let mut events = 0;
                loop {
                    match poll_fn(|cx| reader.poll_next(cx)).await {
                        Next::Data { events: n, .. } => events += n,
                        Next::Ended(Ending::Complete) => return events,
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let publisher = tokio::spawn(async move {
        for n in 0..EVENTS {
            log.publish(&one(&log, 10), Hold::Unread, Instant::now());
            if n % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
        log.end(Ending::Complete);
    });
    timeout(HANG, publisher).await.expect("hangs").unwrap();
    for reader in readers {
        assert_eq!(timeout(HANG, reader).await.expect("hangs").unwrap(), EVENTS);
    }
}

/// The same for the appending side: it waits for room, readers come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_room_is_lost() {
    const EVENTS: u64 = 20_000;
    let limits = Limits {
        events: 4,
        ..Limits::NONE
    };
    let log = Arc::new(Log::new(limits));
    let appending = Arc::clone(&log);
    let publisher = tokio::spawn(async move {
        for _ in 0..EVENTS {
            poll_fn(|cx| appending.poll_room(Hold::UntilRead, cx)).await;
            appending.publish(&one(&appending, 10), Hold::UntilRead, Instant::now());
        }
        appending.end(Ending::Complete);
    });
    let reader = tokio::spawn(async move {
        let mut cursor = 0;
        loop {
            let attached = log.attach(Position::After(cursor));
            assert_eq!(attached.lost, 0, "unread blocks were trimmed");
            let mut reader = attached.reader;
            for _ in 0..7 {
                match poll_fn(|cx| reader.poll_next(cx)).await {
                    Next::Data { events, .. } => cursor += events,
                    Next::Ended(Ending::Complete) => return cursor,
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    timeout(HANG, publisher).await.expect("hangs").unwrap();
    assert_eq!(timeout(HANG, reader).await.expect("hangs").unwrap(), EVENTS);
}
