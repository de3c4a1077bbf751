use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Journal, Name, Replica};

use crate::store::{GROUP, Result, Store, record};

/// The journal itself: with its queue, its thread, and an answer for each
/// record. It syncs on its own.
pub struct Own {
    runtime: Runtime,
    disk: Disk,
    replicas: Vec<Box<dyn Replica>>,
}

impl Own {
    pub fn open(path: &Path) -> Result<Self> {
        let mut settings = DiskSettings::new(path);
        settings.sync = Sync::Interval(Duration::from_secs(1));
        settings.max_bytes = 8 << 30;
        Ok(Self {
            runtime: Runtime::new()?,
            disk: Disk::open(settings)?,
            replicas: Vec::new(),
        })
    }

    fn begin(&mut self) -> Result<()> {
        for at in 0..GROUP {
            let replica = self.disk.create(&name(at)).ok_or("no place")?;
            self.replicas.push(replica);
            self.replicas[at].begin(Bytes::from_static(b"head"), Duration::from_secs(600));
        }
        Ok(())
    }
}

fn name(at: usize) -> Name {
    Name(Bytes::from(format!("stream {at}")))
}

impl Store for Own {
    fn append(&mut self, position: u64, low: u64) -> Result<()> {
        if self.replicas.is_empty() {
            self.begin()?;
        }
        let append = |replica: &mut Box<dyn Replica>| replica.append(record(position, low));
        let replies: Vec<_> = self.replicas.iter_mut().filter_map(append).collect();
        self.runtime.block_on(async {
            for reply in replies {
                reply.await?;
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    /// Each record says what is not needed any more.
    fn trim(&mut self, _low: u64) -> Result<()> {
        Ok(())
    }

    fn replay(&mut self, stream: usize, _events: u64) -> Result<u64> {
        let found = self.disk.find(&name(stream)).ok_or("no answer")?;
        let kept = self.runtime.block_on(found)?.ok_or("a stream is gone")?;
        Ok(kept.records.len() as u64)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.replicas.clear();
        if let Some(closed) = self.disk.close() {
            let _ = self.runtime.block_on(closed);
        }
    }
}
