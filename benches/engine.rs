//! What the engine costs per event: `cargo bench --bench engine -- --quick`.
//!
//! One core, events of 200 bytes, no I/O: encoding and publishing, replay to a
//! client that returns, and one event to many clients.

mod support;

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tower_sse::log::{Hold, Limits, Position};

use support::{Appender, drain, read};

const EVENTS: u64 = 10_000;

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
