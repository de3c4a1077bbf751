use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Appended, Journal, JournalError, Kept, Name, News, Record, Replica};
use tower_sse::log::{Batch, Entry};

use crate::sim::Machine;

pub(crate) const RETAIN: Duration = Duration::from_secs(600);

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn settings(sync: Sync) -> DiskSettings {
    let mut settings = DiskSettings::new("unused");
    settings.sync = sync;
    settings
}

/// What a new process finds on a machine.
pub(crate) fn open(machine: &Machine, sync: Sync) -> Disk {
    Disk::open_in(settings(sync), machine.mount()).unwrap()
}

/// A record of blocks with this text each.
pub(crate) fn record(first: u64, low: u64, blocks: &[&str]) -> Record {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for block in blocks {
        bytes.extend_from_slice(block.as_bytes());
        let end = u32::try_from(bytes.len()).unwrap();
        entries.push(Entry { end, id: None });
    }
    Record {
        batch: Batch {
            first,
            bytes: bytes.into(),
            entries,
            seams: Vec::new(),
        },
        state: Bytes::from_static(b"state"),
        at: 1,
        low,
    }
}

pub(crate) async fn append(
    replica: &mut Box<dyn Replica>,
    record: Record,
) -> Result<Appended, JournalError> {
    replica.append(record).unwrap().await
}

/// A stream with a head.
pub(crate) fn begin(disk: &Disk, stream: &str) -> Box<dyn Replica> {
    let mut replica = disk.create(&name(stream)).unwrap();
    replica.begin(Bytes::from(format!("head of {stream}")), RETAIN);
    replica
}

pub(crate) async fn find(disk: &Disk, stream: &str) -> Option<Kept> {
    disk.find(&name(stream)).unwrap().await.unwrap()
}

/// What a replica is told, if it is told anything now.
pub(crate) fn news(replica: &mut Box<dyn Replica>) -> Option<News> {
    let mut cx = Context::from_waker(Waker::noop());
    match replica.poll_news(&mut cx) {
        Poll::Ready(news) => Some(news),
        Poll::Pending => None,
    }
}

/// Whether the journal claims continuity, and its last block.
pub(crate) fn owned(replica: &mut Box<dyn Replica>) -> (bool, u64) {
    match news(replica) {
        Some(News::Owned { continuous, last }) => (continuous, last),
        other => panic!("{other:?} instead of ownership"),
    }
}

/// Once this returns, the journal has done what it was told before, and what
/// follows from that.
pub(crate) async fn settled(disk: &Disk) {
    for _ in 0..3 {
        let _ = disk.find(&name("no such stream")).unwrap().await;
    }
}
