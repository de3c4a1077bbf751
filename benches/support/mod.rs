//! What several benches share: one side that appends, one that reads.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tower_sse::log::{Batch, Entry, Hold, Limits, Log, Next, Reader};
use tower_sse::stream::id::{Epoch, IdWriter};
use tower_sse::wire::{Block, Decoder, Frame, Trailer, encode_block};

/// The first block of an event stream.
pub(crate) fn block(stream: &str) -> Block {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::copy_from_slice(stream.as_bytes()));
    match decoder.next_frame() {
        Ok(Some(Frame::Block(block))) => block,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ids() -> IdWriter {
    IdWriter::new(Epoch::private().unwrap_or_else(|error| panic!("{error}")))
}

/// The appending side, without a task around it: events of 200 bytes.
pub(crate) struct Appender {
    pub(crate) log: Arc<Log>,
    block: Block,
    ids: IdWriter,
    arena: BytesMut,
    next: u64,
    now: Instant,
}

impl Appender {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            log: Arc::new(Log::new(limits)),
            block: block(&format!("data: {}\n\n", "x".repeat(192))),
            ids: ids(),
            arena: BytesMut::new(),
            next: 1,
            now: Instant::now(),
        }
    }

    pub(crate) fn append(&mut self, hold: Hold) {
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

pub(crate) fn read(reader: &mut Reader) -> Poll<Next> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// Reads on to the head; how many events that were.
pub(crate) fn drain(reader: &mut Reader) -> u64 {
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
