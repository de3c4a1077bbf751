//! How fast events are read and written: `cargo bench --bench wire -- --quick`.
//!
//! One core, events of 200 bytes, chunks of 16 KiB, the way they come from a
//! socket. Throughput is counted in bytes as read.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tower_sse::wire::{Block, Boundary, Decoder, Frame, Trailer, encode_block, same_payload};

const CHUNK: usize = 16 * 1024;
const EVENTS: usize = 8192;
const LIMIT: usize = 1024 * 1024;

fn stream(eol: &str) -> Bytes {
    let text = "x".repeat(200 - "data: ".len() - 2 * eol.len());
    Bytes::from(format!("data: {text}{eol}{eol}").repeat(EVENTS))
}

fn chunks(stream: &Bytes) -> Vec<Bytes> {
    let starts = (0..stream.len()).step_by(CHUNK);
    starts
        .map(|start| stream.slice(start..stream.len().min(start + CHUNK)))
        .collect()
}

fn decode(chunks: &[Bytes], mut each: impl FnMut(Block)) {
    let mut decoder = Decoder::new(LIMIT);
    for chunk in chunks {
        decoder.push(chunk.clone());
        while let Ok(Some(frame)) = decoder.next_frame() {
            if let Frame::Block(block) = frame {
                each(block);
            }
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let lf = chunks(&stream("\n"));
    let crlf = chunks(&stream("\r\n"));
    let mut blocks = Vec::new();
    decode(&lf, |block| blocks.push(block));
    assert_eq!(blocks.len(), EVENTS);

    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Bytes(200 * EVENTS as u64));

    for (name, chunks) in [("decode_lf", &lf), ("decode_crlf", &crlf)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                decode(chunks, |block| {
                    black_box(block);
                });
            });
        });
    }

    group.bench_function("encode", |bencher| {
        let mut out = BytesMut::with_capacity(64 * 1024);
        let mut id = Vec::new();
        bencher.iter(|| {
            for (seq, block) in blocks.iter().enumerate() {
                id.clear();
                id.extend_from_slice(b"s1.AAAAAAAAAAAAAAAAAAAAAA.");
                put_decimal(&mut id, 1_000_000 + seq);
                let trailer = Trailer {
                    id: Some(&id),
                    ..Trailer::default()
                };
                if out.len() > 32 * 1024 {
                    out.clear();
                }
                encode_block(&mut out, black_box(block), trailer);
            }
        });
    });

    group.bench_function("boundary", |bencher| {
        bencher.iter(|| {
            let mut boundary = Boundary::default();
            for chunk in &lf {
                boundary.feed(black_box(chunk));
            }
            boundary.between_blocks()
        });
    });

    group.bench_function("same_payload", |bencher| {
        let mut out = BytesMut::new();
        encode_block(&mut out, &blocks[0], Trailer::default());
        bencher.iter(|| {
            blocks
                .iter()
                .all(|block| same_payload(black_box(&out), block))
        });
    });
}

/// The price of the sequence number is part of the encoder's figure, but not
/// that of `format!`.
fn put_decimal(out: &mut Vec<u8>, mut number: usize) {
    let start = out.len();
    while number > 0 {
        out.push(b"0123456789"[number % 10]);
        number /= 10;
    }
    out[start..].reverse();
}

criterion_group!(benches, bench);
criterion_main!(benches);
