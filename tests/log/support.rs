//! Batches made by hand, readers polled by hand, wakers that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use tower_sse::log::{Batch, Entry, Log, Next, Reader, Seam};

/// A waker that only counts.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A block of this many bytes that names its position, so that no two are the
/// same and none can be taken for another.
pub(crate) fn block(seq: u64, len: usize) -> Vec<u8> {
    let mut block = format!("data: {seq} ").into_bytes();
    block.resize(len.max(block.len()), b'.');
    block.extend_from_slice(b"\n\n");
    block
}

/// A batch that begins at `first`: sizes and upstream ids.
pub(crate) fn batch(first: u64, blocks: &[(usize, Option<&str>)], seams: Vec<Seam>) -> Batch {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for (seq, (len, id)) in (first..).zip(blocks) {
        bytes.extend(block(seq, *len));
        entries.push(Entry {
            end: u32::try_from(bytes.len()).unwrap(),
            id: id.map(|id| Bytes::copy_from_slice(id.as_bytes())),
        });
    }
    Batch {
        first,
        bytes: bytes.into(),
        entries,
        seams,
    }
}

/// A batch of one block without an id, at the log's next position.
pub(crate) fn one(log: &Log, len: usize) -> Batch {
    batch(
        log.with(tower_sse::log::Ring::high) + 1,
        &[(len, None)],
        Vec::new(),
    )
}

pub(crate) fn poll(reader: &mut Reader, count: &Arc<Count>) -> Poll<Next> {
    let waker = Waker::from(Arc::clone(count));
    reader.poll_next(&mut Context::from_waker(&waker))
}

pub(crate) fn poll_idly(reader: &mut Reader) -> Poll<Next> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// Everything there is to read now, and in how many reads.
pub(crate) fn drain(reader: &mut Reader) -> (Vec<u8>, usize) {
    let (mut bytes, mut reads) = (Vec::new(), 0);
    while let Poll::Ready(Next::Data { chunk, .. }) = poll_idly(reader) {
        bytes.extend_from_slice(&chunk.bytes);
        reads += 1;
    }
    (bytes, reads)
}
