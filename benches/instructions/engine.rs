//! The engine without a task around it: decoder, encoder, log.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tower_sse::log::{Hold, Limits, Position};
use tower_sse::wire::{Decoder, Trailer, encode_block};

use crate::case::{Case, event, event_with_fields};
use crate::support::{Appender, block, drain, ids, read};

/// Events in one pass of the decoder: 25 chunks of 16 KiB, the way they come
/// from a socket.
const EVENTS: u16 = 2048;
const CHUNK: usize = 16 * 1024;

const RETAINED: u64 = 10_000;
const READERS: u16 = 1000;

pub(crate) const CASES: &[Case] = &[
    Case::new("decode_lf", "event", 1, |n| decode(n, &event())).each(EVENTS),
    Case::new("decode_crlf", "event", 1, |n| {
        decode(
            n,
            &event().replace("xx\n", "\r\n").replace("\n\n", "\n\r\n"),
        );
    })
    .each(EVENTS),
    Case::new("decode_fields", "event", 1, |n| {
        decode(n, &event_with_fields(1));
    })
    .each(EVENTS),
    Case::new("encode", "event", 3000, |n| encode(n, &event())),
    // The upstream's id line is left out: the rest is copied in two runs.
    Case::new("encode_fields", "event", 3000, |n| {
        encode(n, &event_with_fields(1));
    }),
    Case::new("append", "event", 2000, append),
    Case::new("append_read", "event", 2000, append_read),
    Case::new("fan_out", "delivery", 10, fan_out).each(READERS),
    Case::new("replay", "10,000 events", 100, replay),
    Case::new("attach", "come and go", 1000, attach),
    Case::new("poll_idle", "poll", 4000, poll_idle),
];

fn decode(rounds: u64, event: &str) {
    assert_eq!(event.len(), 200);
    let stream = Bytes::from(event.repeat(EVENTS.into()));
    let starts = (0..stream.len()).step_by(CHUNK);
    let chunks: Vec<_> = starts.map(|at| stream.slice(at..at + CHUNK)).collect();
    let mut decoder = Decoder::new(1 << 20);
    for _ in 0..rounds {
        for chunk in &chunks {
            decoder.push(chunk.clone());
            while let Ok(Some(frame)) = decoder.next_frame() {
                black_box(frame);
            }
        }
    }
}

fn encode(rounds: u64, event: &str) {
    let block = block(event);
    let mut out = BytesMut::with_capacity(64 * 1024);
    let mut ids = ids();
    for seq in 0..rounds {
        if out.len() > 32 * 1024 {
            out.clear();
        }
        let trailer = Trailer {
            id: Some(ids.write(1_000_000 + seq)),
            ..Trailer::default()
        };
        encode_block(&mut out, black_box(&block), trailer);
    }
}

/// From the 1025th on, each makes the log trim one.
fn append(rounds: u64) {
    let mut appender = Appender::new(Limits::default());
    for _ in 0..rounds {
        appender.append(Hold::Unread);
    }
}

fn append_read(rounds: u64) {
    let mut appender = Appender::new(Limits::default());
    let mut reader = appender.log.attach(Position::Live).reader;
    for _ in 0..rounds {
        appender.append(Hold::Unread);
        assert_eq!(drain(&mut reader), 1);
    }
}

fn fan_out(rounds: u64) {
    let mut appender = Appender::new(Limits {
        age: Duration::MAX,
        ..Limits::default()
    });
    let attach = |_| appender.log.attach(Position::Live).reader;
    let mut readers: Vec<_> = (0..READERS).map(attach).collect();
    for _ in 0..rounds {
        appender.append(Hold::Nothing);
        for reader in &mut readers {
            assert_eq!(drain(reader), 1);
        }
    }
}

fn replay(rounds: u64) {
    let mut appender = Appender::new(Limits::NONE);
    for _ in 0..RETAINED {
        appender.append(Hold::UntilRead);
    }
    for _ in 0..rounds {
        let mut reader = appender.log.attach(Position::After(0)).reader;
        assert_eq!(drain(&mut reader), RETAINED);
    }
}

fn attach(rounds: u64) {
    let appender = Appender::new(Limits::default());
    for _ in 0..rounds {
        black_box(appender.log.attach(Position::Live));
    }
}

fn poll_idle(rounds: u64) {
    let appender = Appender::new(Limits::default());
    let mut reader = appender.log.attach(Position::Live).reader;
    for _ in 0..rounds {
        assert!(read(&mut reader).is_pending());
    }
}
