use bytes::{Bytes, BytesMut};
use tower_sse::journal::Record;
use tower_sse::log::{Batch, Entry};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Streams, and events in a group.
pub const GROUP: usize = 64;

/// What keeps records. Dropping it closes it in order.
pub trait Store {
    /// Takes an event of each stream, all at this position. It must outlive the
    /// process, but not yet the machine.
    fn append(&mut self, position: u64, low: u64) -> Result<()>;

    /// Makes sure of what was taken.
    fn sync(&mut self) -> Result<()>;

    /// Events up to this position are not needed.
    fn trim(&mut self, low: u64) -> Result<()>;

    /// Reads a stream with so many events. Returns how many there were.
    fn replay(&mut self, stream: usize, events: u64) -> Result<u64>;
}

pub fn record(first: u64, low: u64) -> Record {
    static BLOCK: [u8; 200] = [b'x'; 200];
    Record {
        batch: Batch {
            first,
            bytes: Bytes::from_static(&BLOCK),
            entries: vec![Entry { end: 200, id: None }],
            seams: Vec::new(),
        },
        state: Bytes::from_static(b"some state"),
        at: 1_700_000_000_000,
        low,
    }
}

/// The bytes of such a record.
pub fn event(first: u64, low: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    record(first, low).encode(&mut bytes);
    bytes.freeze()
}

/// Reads a record back, as each of them has to be.
pub fn decode(bytes: Bytes) -> Result<Record> {
    Ok(Record::decode(bytes)?)
}
