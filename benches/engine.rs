//! What the engine costs per event: `cargo bench --bench engine -- --quick`.
//!
//! One core, events of 200 bytes, no I/O: encoding and publishing, replay to a
//! client that returns, and one event to many clients.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::time::Instant;
use tower_sse::log::{Batch, Entry, Hold, Limits, Log, Next, Position, Reader};
use tower_sse::stream::id::{Epoch, IdWriter};
use tower_sse::wire::{Block, Decoder, Frame, Trailer, encode_block};

const EVENTS: u64 = 10_000;

fn block() -> Block {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::from(format!("data: {}\n\n", "x".repeat(192))));
    match decoder.next_frame() {
        Ok(Some(Frame::Block(block))) => block,
        other => panic!("{other:?}"),
    }
}

/// The appending side, without a task around it.
struct Appender {
    log: Arc<Log>,
    block: Block,
    ids: IdWriter,
    arena: BytesMut,
    next: u64,
    now: Instant,
}

impl Appender {
    fn new(limits: Limits) -> Self {
        Self {
            log: Arc::new(Log::new(limits)),
            block: block(),
            ids: IdWriter::new(Epoch::private().unwrap_or_else(|error| panic!("{error}"))),
            arena: BytesMut::new(),
            next: 1,
            now: Instant::now(),
        }
    }

    fn append(&mut self, hold: Hold) {
        let trailer = Trailer {
            id: Some(self.ids.write(self.next)),
            ..Trailer::default()
        };
        encode_block(&mut self.arena, &self.block, trailer);
        let bytes = self.arena.split().freeze();
        let batch = Batch {
            first: self.next,
            entries: vec![Entry {
                end: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                id: None,
            }],
            bytes,
            seams: Vec::new(),
        };
        self.next += 1;
        self.log.publish(&batch, hold, self.now);
    }
}

fn read(reader: &mut Reader) -> Poll<Next> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn drain(reader: &mut Reader) -> u64 {
    let mut events = 0;
    while let Poll::Ready(Next::Data {
        chunk, events: n, ..
    }) = read(reader)
    {
        black_box(chunk.bytes);
        events += n;
    }
    events
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));

    let mut alone = Appender::new(Limits::default());
    group.bench_function("no_reader", |bencher| {
        bencher.iter(|| alone.append(Hold::Unread));
    });

    let mut read_by_one = Appender::new(Limits::default());
    let mut reader = read_by_one.log.attach(Position::Live).reader;
    group.bench_function("one_reader", |bencher| {
        bencher.iter(|| {
            read_by_one.append(Hold::Unread);
            while read(&mut reader).is_ready() {}
        });
    });
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(EVENTS));
    let mut appender = Appender::new(Limits::NONE);
    for _ in 0..EVENTS {
        appender.append(Hold::UntilRead);
    }
    group.bench_function("10000_events", |bencher| {
        bencher.iter(|| {
            let mut reader = appender.log.attach(Position::After(0)).reader;
            assert_eq!(drain(&mut reader), EVENTS);
        });
    });
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out");
    group.throughput(Throughput::Elements(1000));
    let mut appender = Appender::new(Limits {
        age: Duration::MAX,
        ..Limits::default()
    });
    let attach = |_| appender.log.attach(Position::Live).reader;
    let mut readers: Vec<_> = (0..1000).map(attach).collect();
    group.bench_function("1000_readers", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                appender.append(Hold::Nothing);
                for reader in &mut readers {
                    assert_eq!(drain(reader), 1);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, append, replay, fan_out);
criterion_main!(benches);
